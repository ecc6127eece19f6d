"""An execution that was dropped from memory is loaded again from the newest status, also if that is being written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from propeller.embedded.server import Forward
from propeller.errors import Unavailable
from propeller.kube import Request, Response
from propeller.workflow import Decision, decide
from tests.unit.controller.bench import Bench, bench
from tests.unit.workflow.drive import task

HELD = 20.0
"""Seconds that a write takes, less than a client waits."""


class SlowStatuses:
    """Writes of statuses take their time while it is `slow`."""

    def __init__(self) -> None:
        self.slow = False
        self.under_way = 0

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if self.slow and request.path.endswith("/status"):
            self.under_way += 1
            await asyncio.sleep(HELD)
            self.under_way -= 1
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def give_up(of: Bench, link: SlowStatuses) -> None:
    """Let the first attempt of `a`, before `b`, be given up; the status that says so is under way at the end."""
    await of.create(task("a", executionDeadline="60s", retry={"minAttempts": 2}), task("b"), edges=[("a", "b")])
    await asyncio.sleep(1.0)
    await of.report("w-a-0", phase="Running")
    await asyncio.sleep(50.0)
    link.slow = True
    while not link.under_way:
        await asyncio.sleep(0.1)


async def test_nothing_is_done_by_an_older_status_while_one_that_was_decided_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Regression: an attempt was given up, the execution was loaded again, and the attempt's late end started another
    node, just before the status came through that had given it up.
    """
    link, defects = SlowStatuses(), [RuntimeError("a defect")]

    def failing(*arguments: Any) -> Decision:
        if link.under_way and defects:
            raise defects.pop()
        return decide(*arguments)

    async with bench() as of, of.controller(link):
        await give_up(of, link)
        monkeypatch.setattr("propeller.controller._controller.decide", failing)
        await of.report("w-a-0", phase="Succeeded")
        await asyncio.sleep(HELD / 2)
        assert not defects, "the execution was not dropped"
        assert link.under_way, "the status is written already"
        assert not await of.has_pod("w-b-0")
        link.slow = False
        await asyncio.sleep(2 * HELD)
        assert (await of.status())["state"] in {"Failed", "Running"}


class LostAnswers(SlowStatuses):
    """While it is `slow`, statuses are written, nobody hears so, and watches of workflows bring nothing."""

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if self.slow and request.path.endswith("/status"):
            self.under_way += 1
            await forward(request)
            await asyncio.sleep(HELD)
            self.under_way -= 1
            raise Unavailable("the connection is gone")
        return await forward(request)

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            while self.slow and "flyteworkflows" in request.path:
                await asyncio.sleep(0.1)
            yield chunk


@pytest.mark.parametrize("dropped_later", [False, True])
async def test_nothing_is_done_by_an_older_status_after_a_write_without_an_answer(
    monkeypatch: pytest.MonkeyPatch, *, dropped_later: bool
) -> None:
    """Regression: the status that gave an attempt up was written, its answer was lost, the execution was loaded again
    from a cache that lagged behind, and the attempt's late end started another node.
    """
    link, defects = LostAnswers(), [RuntimeError("a defect")]

    def failing(*arguments: Any) -> Decision:
        if defects and link.slow:
            raise defects.pop()
        return decide(*arguments)

    async with bench() as of, of.controller(link):
        await give_up(of, link)
        while link.under_way and dropped_later:
            await asyncio.sleep(0.1)
        monkeypatch.setattr("propeller.controller._controller.decide", failing)
        await of.report("w-a-0", phase="Succeeded")
        await asyncio.sleep(2 * HELD)
        assert not defects, "the execution was not dropped"
        assert not await of.has_pod("w-b-0")
        link.slow = False
        await asyncio.sleep(2 * HELD)
        assert (await of.status())["state"] in {"Failed", "Running"}
