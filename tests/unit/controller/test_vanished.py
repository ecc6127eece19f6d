"""Pods that are gone before their end was seen, and others that have taken their names since."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from propeller.embedded.server import Forward
from propeller.errors import Unavailable
from propeller.kube import Request, Response
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import task

AGAIN = {"retry": {"minAttempts": 3}}


class _Link:
    """Loses the answer to the first create of a pod, and can hold back what watches of pods bring."""

    def __init__(self, *, loses: bool = False) -> None:
        self.loses = loses
        self.creates = 0
        self.opened = asyncio.Event()
        self.opened.set()
        self.answered = asyncio.Event()
        self.answered.set()

    async def exchange(self, request: Request, forward: Forward) -> Response:
        response = await forward(request)
        if request.method == "POST" and request.path.endswith("/pods"):
            self.creates += 1
            if self.loses and self.creates == 1:
                raise Unavailable("the answer was lost")
            await self.answered.wait()
        return response

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if request.path.endswith("/pods"):
                await self.opened.wait()
            yield chunk


async def _vanish(of: Bench, pod: str) -> None:
    await of.user.delete(RAW_PODS, pod, "ns", grace_seconds=0)


async def _vanishes_before_it_is_answered(of: Bench, link: _Link) -> None:
    """The pod of the first create; nobody hears of it yet."""
    link.opened.clear()
    await of.create(task("a", **AGAIN))
    while link.creates == 0:
        await asyncio.sleep(0.1)
    await _vanish(of, "w-a-0")


async def _succeeds(of: Bench, pod: str) -> None:
    await of.report(pod, phase="Succeeded")
    await asyncio.sleep(5.0)


async def test_the_late_news_of_a_pod_that_vanished_are_not_those_of_the_one_that_was_made_in_its_place() -> None:
    link = _Link(loses=True)
    async with bench() as of, of.controller(link):
        await _vanishes_before_it_is_answered(of, link)
        while link.creates == 1:  # the create whose answer was lost is made again
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)
        link.opened.set()
        await asyncio.sleep(10.0)
        assert sorted(await of.pods()) == ["w-a-0"]
        await _succeeds(of, "w-a-0")
        assert (await of.status())["state"] == "Succeeded"


async def test_news_that_come_while_the_second_create_is_under_way_wait_for_its_answer() -> None:
    link = _Link(loses=True)
    async with bench() as of, of.controller(link):
        await _vanishes_before_it_is_answered(of, link)
        link.answered.clear()
        while link.creates == 1:
            await asyncio.sleep(0.1)
        link.opened.set()
        await asyncio.sleep(1.0)
        link.answered.set()
        await asyncio.sleep(10.0)
        assert sorted(await of.pods()) == ["w-a-0"]
        await _succeeds(of, "w-a-0")
        assert (await of.status())["state"] == "Succeeded"


@pytest.mark.parametrize("during", [True, False], ids=["while it is under way", "before it"])
async def test_the_failure_of_a_pod_that_was_created_unseen_is_not_that_of_the_one_in_its_place(during: bool) -> None:
    """Regression: the next attempt began beside the pod that the second create had made."""
    link = _Link(loses=True)
    async with bench() as of, of.controller(link):
        link.opened.clear()
        await of.create(task("a", **AGAIN))
        while link.creates == 0:
            await asyncio.sleep(0.1)
        await of.report("w-a-0", phase="Failed", reason="Evicted")
        await _vanish(of, "w-a-0")
        link.answered.clear()
        while link.creates == 1:  # the create whose answer was lost is made again
            await asyncio.sleep(0.1)
        if during:
            link.opened.set()
            await asyncio.sleep(1.0)
        link.answered.set()
        await asyncio.sleep(1.0)
        link.opened.set()
        await asyncio.sleep(10.0)
        assert sorted(await of.pods()) == ["w-a-0"]
        await _succeeds(of, "w-a-0")
        assert (await of.status())["state"] == "Succeeded"


async def test_a_pod_that_vanishes_while_its_create_is_not_answered_fails_its_attempt() -> None:
    link = _Link()
    async with bench() as of, of.controller(link):
        link.answered.clear()
        await of.create(task("a", **AGAIN))
        while link.creates == 0:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)
        await _vanish(of, "w-a-0")
        await asyncio.sleep(1.0)
        link.answered.set()
        await asyncio.sleep(10.0)
        assert sorted(await of.pods()) == ["w-a-1"]


async def test_a_pod_that_vanishes_fails_its_attempt_and_the_next_one_runs() -> None:
    async with bench() as of, of.controller():
        await of.create(task("a", **AGAIN))
        await asyncio.sleep(5.0)
        await _vanish(of, "w-a-0")
        await asyncio.sleep(10.0)
        assert sorted(await of.pods()) == ["w-a-1"]


async def test_a_pod_that_was_stopped_on_purpose_is_not_asked_for() -> None:
    class Reads(_Link):
        reads = 0

        async def exchange(self, request: Request, forward: Forward) -> Response:
            self.reads += request.method == "GET" and "/pods/" in request.path
            return await super().exchange(request, forward)

    link = Reads()
    async with bench() as of, of.controller(link):
        await of.create(task("a"), task("b"))
        await asyncio.sleep(5.0)
        exited = {"name": "w-a-0", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
        exited["state"] = {"terminated": {"exitCode": 1, "reason": "Error"}}
        await of.report("w-a-0", phase="Failed", containerStatuses=[exited])
        await asyncio.sleep(10.0)
        assert (await of.status())["state"] == "Failed"
        assert sorted(await of.pods()) == ["w-a-0"]
        assert link.reads == 0


async def test_late_events_of_a_pod_of_an_earlier_workflow_of_the_same_name_mean_nothing() -> None:
    link = _Link()
    async with bench() as of, of.controller(link):
        link.opened.clear()
        await of.create(task("a", **AGAIN))
        await asyncio.sleep(5.0)
        await of.report("w-a-0", phase="Failed")
        await of.user.delete(WORKFLOWS, "w", "ns")  # and its pod with it
        await asyncio.sleep(5.0)
        await of.create(task("a", **AGAIN))
        await asyncio.sleep(5.0)
        assert link.creates == 2
        link.opened.set()
        await asyncio.sleep(60.0)
        assert list(await of.pods()) == ["w-a-0"]
        await _succeeds(of, "w-a-0")
        assert (await of.status())["state"] == "Succeeded"
