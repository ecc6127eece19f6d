"""What follows when somebody else writes a status."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

from propeller.clock import LoopClock
from propeller.config import Checkpoint, Settings
from propeller.config import Storage as StorageSettings
from propeller.controller import WorkflowController, workflow_crd
from propeller.embedded.server import ApiServer, Forward
from propeller.kube import (
    CUSTOM_RESOURCE_DEFINITIONS,
    FLYTE_WORKFLOWS,
    NAMESPACES,
    PODS,
    Client,
    Raw,
    Request,
    Response,
)
from propeller.storage import MemoryStore, Storage
from tests.unit.workflow.drive import TASK, graph, task

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
LATE = 10.0


class _LateWatches:
    """Counts requests; events come late."""

    def __init__(self) -> None:
        self.requests = 0

    async def exchange(self, request: Request, forward: Forward) -> Response:
        self.requests += 1
        return await forward(request)

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            await asyncio.sleep(LATE)
            yield chunk


async def test_an_execution_is_loaded_again_once_the_cache_has_the_foreign_write_and_not_before() -> None:
    clock = LoopClock()
    link = _LateWatches()
    settings = Settings(checkpoint=Checkpoint(max_lag=0.0), storage=StorageSettings(metadata_prefix="memory://m"))
    async with (
        ApiServer(clock=clock, randomness=random.Random(0)) as server,
        Storage(settings.storage, stores={"memory": MemoryStore()}) as storage,
    ):
        user = Client(server.transport(), clock=clock)
        await user.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
        await user.create(NAMESPACES, {"metadata": {"name": "ns"}})
        workflow = {"metadata": {"name": "w"}, "spec": graph(task("a")), "tasks": {"t": TASK}}
        await user.create(WORKFLOWS, workflow, "ns")
        foreign = {"status": {"phase": 1, "nodes": None}}
        await user.patch(WORKFLOWS, "w", "ns", body=foreign, subresource="status")
        client = Client(server.transport(interceptor=link), clock=clock)
        async with WorkflowController(client, storage, settings, clock=clock).running():
            await asyncio.sleep(1.0)
            meddled = {"status": {"nodes": "", "note": "nobody's business"}}
            await user.patch(WORKFLOWS, "w", "ns", body=meddled, subresource="status")
            before = link.requests
            await user.patch(
                PODS.typed(Raw), "w-a-0", "ns", body={"status": {"phase": "Running"}}, subresource="status"
            )
            await asyncio.sleep(5 * LATE)
            assert link.requests - before < 20
            status = (await user.get(WORKFLOWS, "w", "ns"))["status"]
            assert status["counts"] == {"running": 1}
            assert status["nodes"]
