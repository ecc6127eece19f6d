"""Command lines of the peers, and their prerequisites: kopf's virtual environment, client-go's binary.

Both live in the per-user cache, so that the project's own environment and lock do not know them.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from tools import assets

ROOT = Path(__file__).parent.parent
_GO_SOURCES = ("main.go", "go.mod", "go.sum")


class Missing(Exception):
    """A peer cannot be measured here; the text says why, and how to get it."""


class Peer(msgspec.Struct, frozen=True):
    """`command` gives its command line, to be followed by KUBECONFIG, PODS, EVENTS and `options`; raises Missing."""

    name: str
    command: Callable[[], list[str]]
    options: tuple[str, ...] = ()


def here(name: str) -> Peer:
    """A peer of this environment."""
    return Peer(name, lambda: [sys.executable, "-m", "loadtest._informer_peers", name])


def kopf() -> list[str]:
    home = cache_directory() / "kopf"
    python = home / "bin" / "python"
    if not python.exists():
        raise Missing(f"kopf is not here; get it with: python3 -m venv {home} && {home}/bin/pip install kopf uvloop")
    return [str(python), "-m", "loadtest._informer_kopf"]


def client_go() -> list[str]:
    """Built once for each state of its sources."""
    source = ROOT / "loadtest" / "clientgo"
    digest = hashlib.sha256(b"".join((source / name).read_bytes() for name in _GO_SOURCES)).hexdigest()[:16]
    binary = cache_directory() / f"clientgo-{digest}"
    if not binary.exists():
        log = cache_directory() / "clientgo.log"
        aside = binary.with_suffix(f".{os.getpid()}")
        try:
            cache_directory().mkdir(parents=True, exist_ok=True)
            go = assets.Go(assets.go_command(log), log)
            go.run("build", "-o", str(aside), ".", cwd=source, GOFLAGS="-mod=readonly -buildvcs=false")
        except assets.BuildFailed as error:
            raise Missing(f"client-go could not be built: {error}") from error
        aside.replace(binary)  # atomically, as another process may build it, too
    return [str(binary)]


def cache_directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "propeller" / "loadtest"


PEERS = (
    here("floor"),
    here("ours"),
    Peer("client-go", client_go, ("application/vnd.kubernetes.protobuf",)),
    Peer("client-go, JSON", client_go, ("application/json",)),
    here("kubernetes-asyncio"),
    Peer("kopf", kopf),
)
