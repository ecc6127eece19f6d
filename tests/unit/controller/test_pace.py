"""How often statuses are written, and what becomes of those in the object store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import orjson
import pytest

from propeller.config import CheckpointOptions, ResourceOptions
from propeller.embedded.server import Forward
from propeller.kube import Request, Response
from propeller.resourcemgr import Pool, Rule
from propeller.storage import MemoryStore
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.things import create
from tests.unit.workflow.drive import task

NODES = 40


class _Statuses:
    """Counts the writes of statuses, and their bytes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.path.endswith("/status"):
            self.sizes.append(len(orjson.loads(request.body)["status"].get("nodes") or ""))
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


def checkpointed(of: Bench, **settings: Any) -> Bench:
    settings = {"checkpoint": CheckpointOptions(**settings)}
    return Bench(of.user, of.clock, of.server, of.storage, msgspec.structs.replace(of.settings, **settings))


async def run_pods(of: Bench, seconds_each: float) -> None:
    """Forty tasks, of which one fails every few seconds and is tried again: something to write each time."""
    await of.create(*(task(f"n{number}", retry={"minAttempts": 2}) for number in range(NODES)), onFailurePolicy=1)
    await asyncio.sleep(1.0)
    for number in range(NODES):
        await of.report(f"w-n{number}-0", phase="Failed")
        await asyncio.sleep(seconds_each)


@pytest.mark.parametrize(("pace", "at_most"), [(1_000_000, 2 * NODES + 5), (10, 12)])
async def test_the_larger_a_status_the_rarer_it_is_written(pace: int, at_most: int) -> None:
    async with bench() as plain:
        of, statuses = checkpointed(plain, max_lag=1.0, pace=pace), _Statuses()
        async with of.controller(statuses):
            await run_pods(of, 2.0)
            seconds = 2.0 * NODES
            assert len(statuses.sizes) <= at_most
            assert sum(statuses.sizes) <= max(statuses.sizes) + pace * seconds
            assert len(statuses.sizes) >= min(NODES, pace * seconds / max(statuses.sizes)) / 2


@pytest.mark.parametrize(("progress_rate", "longest_lag", "between"), [(100, 30, 1), (0.1, 30, 10), (0.01, 30, 30)])
async def test_the_more_run_the_rarer_each_ones_progress_is_written(
    progress_rate: float, longest_lag: float, between: float
) -> None:
    """One runs: with a rate of a tenth of a status a second it has its turn every ten seconds."""
    async with bench() as plain:
        of, statuses = (
            checkpointed(plain, max_lag=1.0, progress_rate=progress_rate, longest_lag=longest_lag),
            _Statuses(),
        )
        async with of.controller(statuses):
            await run_pods(of, 2.0)
            seconds = 2.0 * NODES
            assert seconds / max(between, 2.0) - 2 <= len(statuses.sizes) <= 2 * seconds / max(between, 2.0) + 2


async def test_an_end_is_written_at_once_however_many_run() -> None:
    async with bench() as plain:
        of = checkpointed(plain, progress_rate=1e-6)
        async with of.controller():
            await of.create(task("n0"))
            await asyncio.sleep(0.5)
            await of.report("w-n0-0", phase="Succeeded")
            await asyncio.sleep(0.5)
            assert (await of.status())["phase"] == 3


async def test_what_only_waits_writes_more_rarely_until_its_first_pod() -> None:
    """Two workflows, and tokens for one of them: the other one's status says that it waits after 100 s only; from its
    first pod on it is written as any other's.
    """
    one_at_a_time = ResourceOptions(pools=(Pool(name="slots", capacity=1),), rules=(Rule(pools={"slots": 1}),))
    async with bench(resources=one_at_a_time) as plain:
        of = checkpointed(plain, progress_rate=0.001, longest_lag=10.0, longest_wait_lag=100.0)
        async with of.controller():
            for name in ("w", "waits"):
                await create(of, task("n0"), task("n1"), name=name)
                await asyncio.sleep(1.0)

            async def phases() -> list[int | None]:
                resources = [await of.user.get(WORKFLOWS, name, "ns") for name in ("w", "waits")]
                return [resource.get("status", {}).get("phase") for resource in resources]

            await asyncio.sleep(12.0)
            assert await phases() == [1, None]
            await asyncio.sleep(100.0)
            assert await phases() == [1, 1]


async def test_the_status_of_what_waited_is_no_older_than_its_first_pod() -> None:
    one_at_a_time = ResourceOptions(pools=(Pool(name="slots", capacity=1),), rules=(Rule(pools={"slots": 1}),))
    async with bench(resources=one_at_a_time) as plain:
        of, statuses = checkpointed(plain, progress_rate=0.001, longest_lag=10.0), _Statuses()
        async with of.controller(statuses):
            await create(of, task("n0"))
            await asyncio.sleep(1.0)
            await create(of, task("n0"), name="waits")
            await asyncio.sleep(60.0)
            await of.report("w-n0-0", phase="Succeeded")
            await asyncio.sleep(2.0)
            written = len(statuses.sizes)  # two of `w`
            assert await of.has_pod("waits-n0-0")
            await asyncio.sleep(6.0)
            await of.report("waits-n0-0", phase="Succeeded")
            await asyncio.sleep(2.0)
            assert (written, len(statuses.sizes)) == (2, 3), "the end alone, as with a pod that has not waited"


async def test_of_statuses_in_the_object_store_the_last_one_alone_stays_and_a_note_of_which_that_is() -> None:
    async with bench() as plain:
        of = checkpointed(plain, budget=1)
        store = of.storage._store_of("memory://m")
        assert isinstance(store, MemoryStore)
        most = 0
        async with of.controller():
            running = asyncio.create_task(run_pods(of, 2.0))
            while not running.done():
                await asyncio.sleep(0.5)
                most = max(most, sum(uri.endswith(".zst") for uri in store.blobs))
            await running
            await asyncio.sleep(10.0)
            kept = {uri: data for uri, data in store.blobs.items() if "/status/" in uri}
            last = (await of.status())["nodesReference"]["uri"]
            note = f"{last.rpartition('/')[0]}/newest"
            assert kept.keys() == {last, note}
            assert kept[note].decode() == last
            assert 1 <= most <= 2
