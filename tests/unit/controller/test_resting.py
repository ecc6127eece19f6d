"""Executions without news leave memory, and come back with the next news as if they had never been away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from propeller.config import ControllerOptions
from propeller.controller import FLYTE_WORKFLOWS
from propeller.embedded.server import Forward
from propeller.kube import Request, Response
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import task

IDLE = 100.0


class _Requests:
    """Notes what the controller asks for, but for its lists and watches."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method != "GET" or request.path.startswith(f"{FLYTE_WORKFLOWS.path('ns')}/"):
            self.made.append(f"{request.method} {request.path.rpartition('/')[2]}")
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


def resting(of: Bench, idle: float = IDLE) -> Bench:
    """The bench, with another time until executions leave memory."""
    settings = msgspec.structs.replace(of.settings, controller=ControllerOptions(idle=idle))
    return Bench(of.user, of.clock, of.server, of.storage, settings)


async def report(of: Bench, pod: str, phase: str) -> None:
    """What a kubelet says of a pod a second after it was asked for; one more second, and all is done that follows."""
    await asyncio.sleep(1.0)
    await of.report(pod, phase=phase)
    await asyncio.sleep(1.0)


async def test_an_idle_execution_leaves_memory_and_goes_on_without_another_request() -> None:
    async with bench() as plain:
        of, requests = resting(plain), _Requests()
        async with of.controller(requests) as controller:
            await of.create(task("n0"), task("n1"), edges=[("n0", "n1")])
            await report(of, "w-n0-0", phase="Running")
            await asyncio.sleep(IDLE / 2)
            assert controller.execution("ns/w") is not None
            await asyncio.sleep(IDLE)
            assert controller.execution("ns/w") is None
            before = list(requests.made)
            await report(of, "w-n0-0", phase="Succeeded")
            assert requests.made == [*before, "POST pods"]
            assert await of.has_pod("w-n1-0")
            await report(of, "w-n1-0", phase="Succeeded")
            assert (await of.status())["phase"] == 3
            assert requests.made == [*before, "POST pods", "PATCH status", "PATCH status"]


async def test_an_execution_of_which_nothing_is_heard_stays_away_for_hours_and_writes_nothing() -> None:
    async with bench() as plain:
        of, requests = resting(plain), _Requests()
        async with of.controller(requests) as controller:
            await of.create(task("n0"))
            await report(of, "w-n0-0", phase="Running")
            await asyncio.sleep(2 * IDLE)
            before = list(requests.made)
            for _ in range(20):
                await asyncio.sleep(1000.0)
                assert controller.execution("ns/w") is None
            assert requests.made == before


async def test_a_deadline_brings_an_execution_back() -> None:
    async with bench() as plain:
        of = resting(plain)
        async with of.controller() as controller:
            await of.create(task("n0", executionDeadline="1000s"))
            await report(of, "w-n0-0", phase="Running")
            await asyncio.sleep(900.0)
            assert controller.execution("ns/w") is None
            await asyncio.sleep(200.0)
            status = await of.status()
            assert (status["phase"], status["error"]["code"]) == (5, "TimeoutExpired")
            assert not await of.pods()


async def test_an_execution_that_rests_is_aborted_when_it_is_deleted() -> None:
    async with bench() as plain:
        of = resting(plain)
        async with of.controller() as controller:
            await of.create(task("n0"))
            await report(of, "w-n0-0", phase="Running")
            await asyncio.sleep(2 * IDLE)
            assert controller.execution("ns/w") is None
            await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
            await asyncio.sleep(10.0)
            assert not await of.pods()
            assert not of.measured("propeller_executions", state="resting")
            assert not controller._loader._plans._kept


async def test_a_foreign_status_of_an_execution_that_rests_counts() -> None:
    async with bench() as plain:
        of = resting(plain)
        async with of.controller() as controller:
            await of.create(task("n0"))
            await report(of, "w-n0-0", phase="Running")
            await asyncio.sleep(2 * IDLE)
            await of.user.patch(WORKFLOWS, "w", "ns", body={"status": {"phase": 5}}, subresource="status")
            await asyncio.sleep(10.0)
            assert not await of.pods()
            assert not of.measured("propeller_executions", state="resting")
            assert not controller._loader._plans._kept


@pytest.mark.parametrize(("idle", "stays"), [(0.0, True), (IDLE, False)])
async def test_with_no_time_to_rest_it_stays(idle: float, stays: bool) -> None:
    async with bench() as plain:
        of = resting(plain, idle)
        async with of.controller() as controller:
            await of.create(task("n0"))
            await report(of, "w-n0-0", phase="Running")
            await asyncio.sleep(50_000.0)
            assert (controller.execution("ns/w") is not None) is stays
