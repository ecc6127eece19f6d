"""The controller in FlytePropeller's place, on each server: finalizers, and what was left in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from propeller.config import CheckpointOptions, Settings
from propeller.controller import WorkflowController
from propeller.errors import NotFound
from propeller.kube import Client, Raw
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.testing import ServerUnderTest
from tests.contract.custom_resources import install_flyte_workflows
from tests.contract.objects import DEADLINE
from tests.unit.controller import flytes
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS
from tests.unit.controller.flytes import ended, left, node, pod
from tests.unit.workflow.drive import task

OTHERS = "example.org/audit"


@dataclass(frozen=True)
class Place:
    user: Client
    namespace: str

    async def workflow(self) -> Raw | None:
        try:
            return await self.user.get(WORKFLOWS, "w", self.namespace)
        except NotFound:
            return None

    async def state(self) -> str:
        found = await self.workflow()
        return "" if found is None else found.get("status", {}).get("state", "")

    async def report(self, name: str, phase: str) -> None:
        await self.user.patch(RAW_PODS, name, self.namespace, body={"status": {"phase": phase}}, subresource="status")

    async def pods(self) -> list[str]:
        return sorted(found["metadata"]["name"] for found in (await self.user.list(RAW_PODS, self.namespace)).items)


async def comes(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await what():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def controlled(server: ServerUnderTest, store: MemoryStore | None = None) -> AsyncIterator[Place]:
    await install_flyte_workflows(server.client)
    settings = Settings(checkpoint=CheckpointOptions(max_lag=0.1), storage=StorageOptions(metadata_prefix="memory://m"))
    async with Storage(settings.storage, stores={"memory": store or MemoryStore()}) as storage:
        controller = WorkflowController(server.client, storage, settings, namespace=server.namespace)
        async with controller.running():
            yield Place(server.client, server.namespace)


async def test_what_flytepropeller_left_in_flight_goes_on_and_is_released_at_its_end(server: ServerUnderTest) -> None:
    await install_flyte_workflows(server.client)
    place = Place(server.client, server.namespace)
    statuses = {"a": ended(), "b": node(flytes.RUNNING, task=5, attempts=1)}
    made = await left(place, (task("a"), task("b")), statuses, edges=[("a", "b")])
    body = {"metadata": {"finalizers": ["flyte.org/finalizer", OTHERS]}}
    await place.user.patch(WORKFLOWS, "w", place.namespace, body=body)
    await pod(place, made, "w-b-1", "b")
    body = {"metadata": {"finalizers": ["flyte.org/finalizer-k8s"]}}
    await place.user.patch(RAW_PODS, "w-b-1", place.namespace, body=body)
    async with controlled(server):
        await place.report("w-b-1", "Succeeded")

        async def released() -> bool:
            found = await place.workflow()
            return found is not None and found["metadata"]["finalizers"] == [OTHERS]

        await comes(released)
        assert await place.state() == "Succeeded"
        assert await place.pods() == ["w-b-1"]
        found = await place.user.get(RAW_PODS, "w-b-1", place.namespace)
        assert "finalizers" not in found["metadata"]
    await place.user.patch(WORKFLOWS, "w", place.namespace, body={"metadata": {"finalizers": []}})


async def test_a_workflow_of_flyteadmins_that_is_deleted_in_flight_is_stopped_and_goes(server: ServerUnderTest) -> None:
    async with controlled(server) as place:
        made = await left(place, (task("a"),), {"a": node(flytes.QUEUED)})
        await comes(lambda: _has(place, "w-a-0"))
        await place.user.delete(WORKFLOWS, "w", place.namespace, propagation="Background")

        async def gone() -> bool:
            return await place.workflow() is None

        await comes(gone)
        assert made["metadata"]["finalizers"] == ["flyte.org/finalizer"]

        async def stopped() -> bool:
            return not await place.pods()

        await comes(stopped)


async def _has(place: Place, name: str) -> bool:
    return name in await place.pods()
