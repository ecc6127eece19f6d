"""What a controller of ten clusters costs while there is nothing to do, each cluster an API server of its own."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import uvloop
import yaml

from loadtest._fleet import table
from loadtest._line import Line
from loadtest._process import ControllerProcess, started
from propeller.controller import workflow_crd
from propeller.embedded.server import ApiServer
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Client

CLUSTERS = 10
IDLE_SECONDS = 30.0
"""Six probes of each cluster."""
MAX_START = 60.0
"""Seconds until all are connected."""

_COMMAND = (
    f"{sys.executable} -m propeller.cli controller --kubeconfig {{kubeconfig}} --metrics-port {{port}} "
    "--config {directory}/settings.toml --log-level warning"
)


def measure() -> Iterator[Line]:
    memory, share = uvloop.run(_idle(CLUSTERS))
    name = f"controller of {CLUSTERS} idle clusters"
    yield Line(name=f"{name}, resident memory", value=memory / 1e6, unit="MB", budget=150)
    yield Line(name=f"{name}, of a core", value=100 * share, unit="%", budget=1)


async def _idle(count: int) -> tuple[float, float]:
    """Return the memory in bytes, and the share of a core."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        names = [f"c{number}" for number in range(count)]
        for name in ("control", *names):
            server = await stack.enter_async_context(ApiServer())
            front = await stack.enter_async_context(server.serve())
            (directory / name).write_text(yaml.safe_dump(front.kubeconfig()))
            if name == "control":
                client = Client(server.transport())
                await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
                await client.create(NAMESPACES, {"metadata": {"name": "flyte"}})  # of the lease
        connections = {name: {"kubeconfig": str(directory / name)} for name in names}
        (directory / "routes.yaml").write_text(yaml.safe_dump(table(connections)))
        settings = f'[routing]\nfile = "{directory}/routes.yaml"\n[clusters]\ncontrol = "control"\n'
        (directory / "settings.toml").write_text(settings)
        controller = await stack.enter_async_context(started(_COMMAND, directory / "control", directory))
        await controller.ready()
        await _connected(controller, count)
        await controller.quiet()
        before = controller.cpu
        await asyncio.sleep(IDLE_SECONDS)
        return float(controller.memory), (controller.cpu - before) / IDLE_SECONDS


async def _connected(controller: ControllerProcess, count: int) -> None:
    async with asyncio.timeout(MAX_START), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{controller.url}/clusters") as answer:
                found = await answer.json(content_type=None) if answer.status == 200 else []
            if sum(one["connected"] and one["healthy"] for one in found) == count:
                return
            await asyncio.sleep(0.2)
