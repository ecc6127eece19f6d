"""Whatever waits for a limit of the API server keeps workers from nothing that waits for another one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from propeller.embedded.faults import FaultyStore
from propeller.embedded.server import Forward
from propeller.kube import ClientOptions, Request, Response
from propeller.storage import MemoryStore
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import TASK, graph, task

FLOOD = 500
FOREVER = 1e6


class _Stuck:
    """Answers requests of one kind only when it is told to."""

    def __init__(self) -> None:
        self.method = ""
        self.under_way = 0
        self.released = asyncio.Event()

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method == self.method and not request.path.startswith("/apis/coordination"):
            self.under_way += 1
            await self.released.wait()
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


def _store() -> MemoryStore:
    return MemoryStore(is_local=False)


async def _create(of: Bench, name: str, nodes: int = 1, project: str = "one", **labels: str) -> None:
    metadata = {"name": name, "labels": {"project": project, "domain": "production"}}
    spec = graph(*(task(f"n{number}") for number in range(nodes)))
    await of.user.create(WORKFLOWS, {"metadata": metadata, "spec": spec, "tasks": {"t": TASK}}, "ns")


async def _fail(of: Bench, pod: str) -> None:
    terminated = {"exitCode": 1, "reason": "Error"}
    status = {"name": pod, "state": {"terminated": terminated}, "ready": False, "restartCount": 0}
    await of.report(pod, phase="Failed", containerStatuses=[status | {"image": "i", "imageID": "i"}])


async def _phase(of: Bench, name: str) -> int:
    phase: int = (await of.user.get(WORKFLOWS, name, "ns")).get("status", {}).get("phase", 0)
    return phase


@pytest.mark.parametrize("project", ["many", "one"])
async def test_outputs_are_read_and_ends_are_written_while_hundreds_of_launches_wait(project: str) -> None:
    """For good, and also those of the tenant whose launches they are."""
    link = _Stuck()
    async with bench(store=_store(), client=ClientOptions(deadline=FOREVER)) as of, of.controller(link):
        await _create(of, "small")
        await asyncio.sleep(1.0)
        link.method = "POST"
        for number in range(3):
            await _create(of, f"flood{number}", FLOOD, project)
        await asyncio.sleep(5.0)
        assert link.under_way == of.settings.client.writes_at_once
        await of.report("small-n0-0", phase="Succeeded")
        await asyncio.sleep(1.0)
        assert await _phase(of, "small") == 3
        link.released.set()


async def test_what_an_abort_stops_waits_for_no_launch() -> None:
    link = _Stuck()
    async with bench(client=ClientOptions(deadline=FOREVER)) as of, of.controller(link):
        await _create(of, "small", 20)
        await asyncio.sleep(1.0)
        link.method = "POST"
        await _create(of, "flood", FLOOD)
        await asyncio.sleep(5.0)
        await _fail(of, "small-n0-0")  # the others are stopped once the status has it
        await asyncio.sleep(2.0)
        assert not [name for name in await of.pods() if name.startswith("small-") and name != "small-n0-0"]
        link.released.set()


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_launches_and_reads_go_on_while_status_writes_or_stops_wait(method: str) -> None:
    link = _Stuck()
    async with bench(store=_store(), client=ClientOptions(deadline=FOREVER)) as of, of.controller(link):
        for number in range(100):
            await _create(of, f"w{number}", 2)
        await asyncio.sleep(5.0)
        link.method = method
        for number in range(100):
            await _fail(of, f"w{number}-n0-0")
        await asyncio.sleep(5.0)
        assert link.under_way > 0
        spec = graph(task("a"), task("b"), edges=[("a", "b")])
        await of.user.create(WORKFLOWS, {"metadata": {"name": "chain"}, "spec": spec, "tasks": {"t": TASK}}, "ns")
        await asyncio.sleep(1.0)
        await of.report("chain-a-0", phase="Succeeded")
        await asyncio.sleep(1.0)
        assert await of.has_pod("chain-b-0")
        link.released.set()


async def test_an_object_store_that_hangs_keeps_no_status_from_being_written() -> None:
    class Hanging(FaultyStore):
        hangs = False

        async def read(self, uri: str, limit: int) -> bytes:
            if self.hangs:
                await asyncio.sleep(FOREVER)
            return await super().read(uri, limit)

    store = Hanging(_store(), random.Random(0))
    async with bench(store=store) as of, of.controller():
        await _create(of, "w", 300)
        await asyncio.sleep(5.0)
        store.hangs = True
        for number in range(200):
            await of.report(f"w-n{number}-0", phase="Succeeded")
        await asyncio.sleep(5.0)
        await _create(of, "other")
        await asyncio.sleep(5.0)
        assert await _phase(of, "other") == 1
        assert await of.has_pod("other-n0-0")
