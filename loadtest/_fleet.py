"""API servers among which executions are divided: the first has the workflows, and is a cluster of the table, too."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import yaml

from loadtest._killed import NAMESPACE, prepare
from loadtest._ledger import Ledger
from propeller.kube import NAMESPACES, Client, connect
from propeller.testing import KubeApiserver, run_kube_apiserver

LEASE_NAMESPACE = "flyte"

MEMORY = "/dev/shm"


def in_memory() -> str | None:
    """A directory whose files are in memory, for blobs and etcd; None if there is none. On a disk the making of
    directories is half of what a controller's processor time is spent on, and more if several processes make them.
    """
    return MEMORY if os.access(MEMORY, os.W_OK | os.X_OK) else None


class Fleet:
    """`clients` of each server; `options` have `propeller controller` run the workflows of all."""

    def __init__(self, clients: Sequence[Client], options: Sequence[str], prefix: str) -> None:
        self.clients = clients
        self.options = options
        self.prefix = prefix

    @property
    def client(self) -> Client:
        """Of the server that has the workflows."""
        return self.clients[0]

    def ledger(self, seconds: Callable[[], float]) -> Ledger:
        """Of the pods on all servers."""
        return Ledger(self.client, NAMESPACE, seconds, others=self.clients[1:])


@contextmanager
def several(directory: Path, count: int) -> Iterator[list[KubeApiserver]]:
    """Run so many API servers."""
    with ExitStack() as stack:
        servers = []
        for number in range(count):
            own = directory / f"server-{number}"
            own.mkdir()
            servers.append(stack.enter_context(run_kube_apiserver(own)))
        yield servers


@asynccontextmanager
async def fleet(servers: Sequence[KubeApiserver], directory: Path) -> AsyncIterator[Fleet]:
    """Connect to servers that are empty, with the resource type on the first, and a table if there are more."""
    prefix = f"file://{directory}/metadata"
    options = ["--kubeconfig", str(servers[0].kubeconfig(directory / "kubeconfig"))]
    options += ["--namespace", NAMESPACE, "--metrics-port", "0", "--metadata-prefix", prefix]
    if len(servers) > 1:
        options += ["--config", str(_routed(servers, directory))]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(server.connection())) for server in servers]
        await prepare(clients[0])
        await clients[0].create(NAMESPACES, {"metadata": {"name": LEASE_NAMESPACE}})
        for client in clients[1:]:
            await client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        yield Fleet(clients, options, prefix)


def table(connections: Mapping[str, Mapping[str, object]]) -> dict[str, list[dict[str, object]]]:
    """A routing table of one pool, for everything, of the clusters with these names and connections."""
    return {
        "clusters": [{"name": name, "connection": connection} for name, connection in connections.items()],
        "pools": [{"name": "all", "clusters": list(connections)}],
        "rules": [{"name": "all", "pool": "all"}],
    }


def _routed(servers: Sequence[KubeApiserver], directory: Path) -> Path:
    """Write a table over the servers, and settings that name it."""
    connections: dict[str, dict[str, object]] = {"c0": {"inCluster": True}}
    for number, server in enumerate(servers[1:], 1):
        connections[f"c{number}"] = {"kubeconfig": str(server.kubeconfig(directory / f"kubeconfig-c{number}"))}
    routes, settings = directory / "routes.yaml", directory / "settings.yaml"
    routes.write_text(yaml.safe_dump(table(connections)))
    settings.write_text(yaml.safe_dump({"routing": {"file": str(routes)}}))
    return settings
