"""A whole cluster in this process: the API server, and a kubelet that is its one node.

Guarantees
    When the block is left, in whatever way, no process of a pod is left and no port is open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.config import Settings
from propeller.embedded._node import run_kubelet
from propeller.embedded.kubelet import Kubelet
from propeller.embedded.server import ApiServer
from propeller.kube import Client


class Cluster(msgspec.Struct, frozen=True):
    """The parts of a cluster: `client` calls `server` without a socket."""

    server: ApiServer
    client: Client
    kubelet: Kubelet


@asynccontextmanager
async def embedded_cluster(
    workdir: Path, settings: Settings = Settings(), *, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Cluster]:
    """Start both; pods run as processes below `workdir`."""
    async with ApiServer(settings.api_server, clock=clock) as server:
        client = Client(server.transport(), settings.client, clock=clock)
        async with run_kubelet(client, workdir, settings, clock=clock) as kubelet:
            server.logs = kubelet.logs
            yield Cluster(server, client, kubelet)
