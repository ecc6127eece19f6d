"""An API server that a large measurement runs on: kube-apiserver, or the embedded one in a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from loadtest import workflows
from loadtest._floor import server_process
from loadtest._process import cpu
from loadtest._scenarios import requests_so_far
from loadtest._statuses import Statuses
from loadtest.completer import Completer
from propeller.controller import FLYTE_WORKFLOWS, workflow_crd
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Client, connect, load_connection
from propeller.testing import KubeApiserver, eventually, run_kube_apiserver

NAMESPACE = "load"
DEADLINE = 60.0  # seconds for steps that take a few
WARM = "warm0"
"""The workflow that a controller runs before it is measured, as a first one has extra costs."""

SETTLE_SECONDS = 3.0
"""A watch that begins while kube-apiserver still sets a resource type up may stay silent."""


class Target(msgspec.Struct, frozen=True):
    """The server under load; measurements store in `directory`."""

    name: str
    kubeconfig: Path
    directory: Path
    process: int
    counts_requests: bool

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """With the resource type and the namespace made."""
        async with connect(load_connection(str(self.kubeconfig))) as client:
            await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
            await client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
            await eventually(lambda: client.list(FLYTE_WORKFLOWS, NAMESPACE))
            await asyncio.sleep(SETTLE_SECONDS)
            yield client

    @property
    def cpu(self) -> float:
        """Seconds of the server's CPU so far, without etcd's."""
        return cpu(psutil.Process(self.process))

    async def requests(self, client: Client, *, starting: bool = False) -> int:
        """Requests so far as `requests_so_far` counts them; 0 if the server does not."""
        return await requests_so_far(client, starting=starting) if self.counts_requests else 0


async def warm(client: Client, completer: Completer, statuses: Statuses) -> None:
    """Have a controller run one workflow of one pod to its end."""
    for resource in workflows.resources(workflows.parallel(1), 1, WARM[:-1]):
        await client.create(FLYTE_WORKFLOWS, in_namespace(resource), NAMESPACE)
    async with asyncio.timeout(DEADLINE):
        while not completer.appeared:
            await asyncio.sleep(0.05)
    completer.finish(list(completer.appeared))
    await statuses.wait_ended(1, DEADLINE)
    completer.forget()
    statuses.forget()


def in_namespace(resource: dict[str, Any]) -> dict[str, Any]:
    return resource | {"metadata": resource["metadata"] | {"namespace": NAMESPACE}}


def real(server: KubeApiserver, directory: Path) -> Target:
    kubeconfig = server.kubeconfig(directory / "kubeconfig")
    return Target("", kubeconfig, directory, server_process(server).pid, counts_requests=True)


@contextmanager
def target_of(server: str) -> Iterator[Target]:
    """A server of its own for each measurement, so that none pays for the objects of the one before. `server` is
    embedded or real.
    """
    with tempfile.TemporaryDirectory() as text:
        directory = Path(text)
        if server == "embedded":
            with embedded(directory) as target:
                yield target
        else:
            with run_kube_apiserver(directory) as started:
                yield real(started, directory)


@contextmanager
def embedded(directory: Path) -> Iterator[Target]:
    kubeconfig = directory / "kubeconfig"
    command = [sys.executable, "-m", "loadtest._embedded_server", str(kubeconfig)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline(), "the embedded server has ended"
        yield Target("embedded ", kubeconfig, directory, process.pid, counts_requests=False)
