"""A cluster that answers late, or never, takes nothing from the others: neither before its circuit opens nor after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from propeller.config import ControllerOptions
from propeller.embedded.server import Forward
from propeller.errors import Unavailable
from propeller.kube import Request, Response
from tests.unit.controller.far import RAW_PODS, WORKFLOWS, Far, far, table
from tests.unit.workflow.drive import task

SETTLED = 5.0
MANY = 40
WORKERS = 4
UNTIL_UNHEALTHY = 1e6
"""Seconds: the circuit stays closed, whatever is seen."""


class Slow:
    """Answers requests of a method after so many seconds, or gives up as a client does. `most` it had at once."""

    def __init__(self) -> None:
        self.method = ""
        self.seconds = 0.0
        self.most = self._under_way = 0

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if self._is_late(request):
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            try:
                async with asyncio.timeout(30.0):
                    await asyncio.sleep(self.seconds)
            except TimeoutError as error:
                raise Unavailable("there was no answer within 30 s") from error
            finally:
                self._under_way -= 1
        return await forward(request)

    def _is_late(self, request: Request) -> bool:
        is_probe = "labelSelector" in request.query
        return request.method == self.method and not is_probe

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


@asynccontextmanager
async def _with_few_workers(of: Far) -> AsyncIterator[Slow]:
    """A controller, and how the API server of the east answers it."""
    slow = of.opener.interceptors["east"] = Slow()
    settings = msgspec.structs.replace(of.settings, controller=ControllerOptions(effects_at_once=WORKERS))
    async with of.controller(table(), settings=settings):
        await asyncio.sleep(SETTLED)
        yield slow


async def _placed(of: Far) -> dict[str, set[str]]:
    """By cluster, the executions that are placed there."""
    found: dict[str, set[str]] = {"east": set(), "west": set()}
    for number in range(MANY):
        found[(await of.status(f"w{number}"))["cluster"]].add(f"w{number}")
    assert len(found["east"]) > WORKERS, "those of the east could occupy all workers"
    return found


def _failed(container: str) -> dict[str, Any]:
    state = {"terminated": {"exitCode": 1, "reason": "Error"}}
    return {"name": container, "state": state, "ready": False, "restartCount": 0, "image": "i", "imageID": "i"}


@pytest.mark.parametrize("seconds", [29.0, 60.0])
async def test_launches_elsewhere_do_not_wait_for_a_cluster_that_answers_after_half_a_minute(seconds: float) -> None:
    async with far(unhealthy_after=UNTIL_UNHEALTHY) as of, _with_few_workers(of) as east:
        east.method, east.seconds = "POST", seconds
        for number in range(MANY):
            await of.create(f"w{number}", task("a"))
        await asyncio.sleep(SETTLED)
        assert set(await of.pods("west")) == {f"{name}-a-0" for name in (await _placed(of))["west"]}
        assert east.most == WORKERS


async def test_looks_elsewhere_do_not_wait_for_a_cluster_that_answers_late() -> None:
    """A pod that vanishes is asked for, before its attempt has failed."""
    async with far(unhealthy_after=UNTIL_UNHEALTHY) as of, _with_few_workers(of) as east:
        for number in range(MANY):
            await of.create(f"w{number}", task("a", retry={"minAttempts": 3}))
        await asyncio.sleep(SETTLED)
        placed = await _placed(of)
        east.method, east.seconds = "GET", 60.0
        for cluster, names in placed.items():
            for name in names:
                await of.users[cluster].delete(RAW_PODS, f"{name}-a-0", "ns", grace_seconds=0)
        await asyncio.sleep(of.settings.checkpoint.max_lag + SETTLED)
        assert set(await of.pods("west")) == {f"{name}-a-1" for name in placed["west"]}
        assert east.most > 0


async def test_an_abort_elsewhere_does_not_wait_for_the_stops_of_a_cluster_that_answers_late() -> None:
    async with far(unhealthy_after=UNTIL_UNHEALTHY) as of, _with_few_workers(of) as east:
        for number in range(MANY):
            await of.create(f"w{number}", task("a"), task("b"))
        await asyncio.sleep(SETTLED)
        placed = await _placed(of)
        east.method, east.seconds = "DELETE", 60.0
        for cluster in ("east", "west"):
            for name in placed[cluster]:
                await of.report(cluster, f"{name}-a-0", phase="Failed", containerStatuses=[_failed(f"{name}-a-0")])
        await asyncio.sleep(2 * SETTLED)
        assert [name for name in await of.pods("west") if name.endswith("-b-0")] == []
        assert east.most == WORKERS


async def test_orphans_elsewhere_are_collected_while_a_cluster_answers_late_and_few_are_deleted_at_once() -> None:
    async with far(unhealthy_after=UNTIL_UNHEALTHY, orphans_at_once=2) as of, _with_few_workers(of) as east:
        for number in range(MANY):
            await of.create(f"w{number}", task("a"))
        await asyncio.sleep(SETTLED)
        placed = await _placed(of)
        east.method, east.seconds = "DELETE", 20.0
        for name in sorted(placed["east"]) + sorted(placed["west"]):
            await of.user.delete(WORKFLOWS, name, "ns")
        await asyncio.sleep(SETTLED)
        assert await of.pods("west") == {}
        assert east.most == 2
        await asyncio.sleep(20.0 * MANY)
        assert await of.pods("east") == {}, "the others follow"
        assert east.most == 2
