"""Command lines of the peers, and their prerequisites: kopf's virtual environment, client-go's binary.

Both live in the per-user cache, so that the project's own environment and lock do not know them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import msgspec

from loadtest._go_peers import Missing, built, cache_directory


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
    return [str(built("clientgo"))]


PEERS = (
    here("floor"),
    here("ours"),
    Peer("client-go", client_go, ("application/vnd.kubernetes.protobuf",)),
    Peer("client-go, JSON", client_go, ("application/json",)),
    here("kubernetes-asyncio"),
    Peer("kopf", kopf),
)
