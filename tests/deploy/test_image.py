"""The image: what is in it, and that a controller runs from it as an unprivileged user who can write nowhere."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, distributions
from pathlib import Path

import aiohttp
import pytest
from flyteidl.core import interface_pb2, literals_pb2, types_pb2
from packaging.utils import canonicalize_name

from propeller.controller import workflow_crd
from propeller.embedded.kubelet import _sandbox
from propeller.fairqueues import fair_queue_crd
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, connect
from propeller.testing import KubeApiserver, free_ports, run_kube_apiserver
from tests.deploy.conftest import ROOT, Image
from tests.unit.tools.test_locks import pins

LIMIT = 150_000_000
"""Bytes: what every node that may run a controller has to pull."""

NOT_IN_IT = re.compile(
    r"(cc|gcc|g\+\+|ld|as|make|go|sh|bash|dash|busybox|apt|apt-get|dpkg|pip3?|uv|git|perl|flytekit|pytest|hypothesis)"
)


def distributions_of(image: Image) -> dict[str, Distribution]:
    found = distributions(path=[str(image.packages)])
    return {canonicalize_name(one.metadata["Name"]): one for one in found}


@contextmanager
def running(
    image: Image, home: Path, *argv: str, mounts: tuple[tuple[Path, str], ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A program in the image, as a container runtime starts it: its user, a read-only root, an empty /tmp."""
    (home / "tmp").mkdir()
    spec = {
        "image": str(image.root),
        "scratch": str(home / "layer"),
        "mounts": [(str(home / "tmp"), "/tmp", False), *((str(path), at, True) for path, at in mounts)],
        "read_only": True,
        "user": 65532,
        "group": 65532,
        "cwd": "/",
        "argv": argv,
        "variables": ["PATH"],
    }
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", _sandbox.__file__, json.dumps(spec)],
        env={"PATH": "/usr/local/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
        (home / "layer" / "work" / "work").chmod(0o700)


def test_it_is_small_and_as_large_as_its_documentation_says(image: Image) -> None:
    assert image.size < LIMIT
    said = re.search(r"about (\d+) MB, with Python", (ROOT / "docs" / "deployment.md").read_text())
    assert said is not None
    assert abs(image.size / 1e6 - int(said[1])) < 10, image.size


def test_it_holds_the_locked_versions_and_nothing_else(image: Image) -> None:
    found = {name: one.version for name, one in distributions_of(image).items()}
    assert found.pop("propeller")
    locked = pins("requirements-image.lock")
    assert {name: version for name, version in found.items() if version not in locked.get(name, ())} == {}
    optional = {"async-timeout", "typing-extensions"}  # of older Pythons
    assert locked.keys() - found.keys() <= optional


def test_it_has_no_shell_no_compiler_no_package_manager_and_nothing_of_the_tests(image: Image) -> None:
    programs = [path for path in image.root.rglob("*") if path.is_file() and path.stat().st_mode & stat.S_IXUSR]
    named = [path.name for path in programs if ".so" not in path.name]
    assert [name for name in named if NOT_IN_IT.fullmatch(name)] == []
    assert not list(image.root.glob("**/include"))
    assert not list(image.root.glob("**/*.a"))
    assert [path.name for path in image.packages.iterdir() if NOT_IN_IT.fullmatch(path.name)] == []


def test_nothing_in_it_can_be_written_but_the_directory_for_temporary_files(image: Image) -> None:
    writable = [
        path
        for path in image.root.rglob("*")
        if not path.is_symlink() and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID)
    ]
    assert writable == [image.root / "tmp"]


def test_no_file_in_it_knows_where_it_was_built(image: Image) -> None:
    """Compiled files carry paths, for tracebacks."""
    mark = str(image.root).encode()
    assert [path for path in image.root.rglob("*.pyc") if mark in path.read_bytes()] == []


def test_every_module_of_the_package_that_a_controller_may_need_can_be_imported(image: Image, tmp_path: Path) -> None:
    modules = [
        ".".join(path.relative_to(image.packages).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((image.packages / "propeller").rglob("*.py"))
        if not {"flytekit_bridge", "testing", "embedded"} & set(path.parts) and path.name != "__main__.py"
    ]
    assert len(modules) > 200
    code = f"import importlib\nfor name in {modules}:\n    importlib.import_module(name)\nprint('all')"
    (python,) = image.root.glob("**/bin/python3*")
    with running(image, tmp_path, f"/{python.relative_to(image.root)}", "-I", "-c", code) as process:
        out, err = process.communicate(timeout=120)
    assert (out, process.returncode) == ("all\n", 0), err


def test_the_containers_beside_raw_containers_run_from_it(image: Image, tmp_path: Path) -> None:
    """As the uploader and the downloader: without a place to write but the volumes."""
    data = tmp_path / "data"
    data.mkdir()
    three = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=3)))
    (data / "inputs.pb").write_bytes(literals_pb2.LiteralMap(literals={"n": three}).SerializeToString())
    download = ("--from-remote", "file:///data/inputs.pb", "--to-local-dir", "/tmp/inputs", "--format", "YAML")
    home = tmp_path / "first"
    home.mkdir()
    with running(image, home, "propeller", "dataloader", "download", *download, mounts=((data, "/data"),)) as process:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert (home / "tmp" / "inputs" / "n").read_text() == "3"
    assert (home / "tmp" / "inputs" / "inputs.yaml").read_text().strip() == "n: 3"

    home = tmp_path / "second"
    home.mkdir()
    outputs = {"n": interface_pb2.Variable(type=types_pb2.LiteralType(simple=types_pb2.INTEGER))}
    interface = base64.b64encode(interface_pb2.VariableMap(variables=outputs).SerializeToString()).decode()
    where = ("--from-local-dir", "/data", "--to-output-prefix", "file:///tmp/out", "--to-raw-output", "file:///tmp/raw")
    (data / "n").write_text("4\n")
    (data / "ended").write_text("true")
    upload = (*where, "--interface", interface, "--ended-file", "/data/ended")
    with running(image, home, "propeller", "dataloader", "upload", *upload, mounts=((data, "/data"),)) as process:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    found = literals_pb2.LiteralMap.FromString((home / "tmp" / "out" / "outputs.pb").read_bytes())
    assert found.literals["n"].scalar.primitive.integer == 4


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiserver]:
    with run_kube_apiserver(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.mark.needs("kube-apiserver")
async def test_a_controller_runs_from_it_without_a_place_to_write(
    image: Image, server: KubeApiserver, tmp_path: Path
) -> None:
    server.kubeconfig(tmp_path / "kubeconfig")
    async with connect(server.connection()) as client:
        await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
        await client.create(CUSTOM_RESOURCE_DEFINITIONS, fair_queue_crd())
    config = tmp_path / "config"
    config.mkdir()
    (config / "propeller.yaml").write_text("storage: {metadata_prefix: 's3://bucket/metadata'}\n")
    kubeconfig = (tmp_path / "kubeconfig").read_text()
    authority = re.search(r"certificate-authority: (\S+)", kubeconfig)
    assert authority is not None
    (config / "ca.crt").write_text(Path(authority[1]).read_text())
    (config / "kubeconfig").write_text(kubeconfig.replace(authority[1], "/etc/propeller/ca.crt"))
    (port,) = free_ports(1)
    words = ("controller", "--kubeconfig=/etc/propeller/kubeconfig", "--config=/etc/propeller/propeller.yaml")
    where = ("--no-elect", f"--metrics-port={port}")
    with running(image, tmp_path, "propeller", *words, *where, mounts=((config, "/etc/propeller"),)) as process:
        async with asyncio.timeout(120):
            while not await is_ready(port):
                assert process.poll() is None, process.communicate()
                await asyncio.sleep(0.1)
        assert "CapEff:\t0000000000000000" in Path(f"/proc/{process.pid}/status").read_text()


async def is_ready(port: int) -> bool:
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/readyz") as answer,
        ):
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def test_the_dockerfile_makes_it_by_the_same_script() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    assert "RUN deploy/image/build.sh /image" in lines
    last = lines[lines.index("FROM scratch") :]
    assert last[1] == "COPY --from=build /image /"
    assert "USER 65532:65532" in last
    assert not [line for line in last if line.startswith(("RUN", "ADD"))]
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    script = (ROOT / "deploy" / "image" / "build.sh").read_text()
    needed = set(re.findall(r"requirements-\w+\.lock", script)) | {"propeller", "pyproject.toml"}
    assert {f"!{name}" for name in needed} <= set(ignored)
