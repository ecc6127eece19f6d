"""What follows when somebody else writes a status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from propeller.embedded.server import Forward
from propeller.errors import Unavailable
from propeller.kube import Request, Response
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, bench
from tests.unit.workflow.drive import task

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
    link = _LateWatches()
    async with bench(max_lag=0.0) as of:
        await of.create(task("a"))
        foreign = {"status": {"phase": 1, "nodes": None}}
        await of.user.patch(WORKFLOWS, "w", "ns", body=foreign, subresource="status")
        async with of.controller(link):
            await asyncio.sleep(1.0)
            meddled = {"status": {"nodes": "", "note": "nobody's business"}}
            await of.user.patch(WORKFLOWS, "w", "ns", body=meddled, subresource="status")
            before = link.requests
            await of.report("w-a-0", phase="Running")
            await asyncio.sleep(5 * LATE)
            assert link.requests - before < 20
            status = await of.status()
            assert status["counts"] == {"running": 1}
            assert status["nodes"]


class _Unreadable:
    """The workflow can be read once, and not again."""

    def __init__(self) -> None:
        self.requests = 0

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method == "GET" and request.path.endswith("/flyteworkflows/w"):
            self.requests += 1
            if self.requests > 1:
                raise Unavailable("the connection broke")
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def test_what_cannot_be_loaded_is_tried_again_each_time_later() -> None:
    """Regression: the pause began anew each time."""
    link = _Unreadable()
    async with bench(max_lag=0.0) as of, of.controller(link):
        await of.create(task("a"))
        await asyncio.sleep(10.0)
        meddled = {"status": {"nodes": "", "note": "nobody's business"}}
        await of.user.patch(WORKFLOWS, "w", "ns", body=meddled, subresource="status")
        await of.report("w-a-0", phase="Running")
        await asyncio.sleep(300.0)
        before = link.requests
        assert before > 1
        await asyncio.sleep(600.0)
        tries_of_one_read = 10
        assert link.requests - before < 600 / 30 * tries_of_one_read


async def test_a_workflow_that_is_gone_before_the_cache_knows_is_not_asked_for_again_and_again() -> None:
    """Regression: it was, until the cache knew."""
    link = _LateWatches()
    async with bench(max_lag=0.0) as of:
        await of.create(task("a"))
        async with of.controller(link):
            await asyncio.sleep(1.0)
            meddled = {"status": {"nodes": "", "note": "nobody's business"}}
            await of.user.patch(WORKFLOWS, "w", "ns", body=meddled, subresource="status")
            await of.report("w-a-0", phase="Running")
            await asyncio.sleep(2 * LATE)
            await of.user.delete(WORKFLOWS, "w", "ns")
            before = link.requests
            await asyncio.sleep(LATE)
            assert link.requests - before < 5


class _PodsCameToAStop:
    """From the create of one pod on, nothing is heard of pods: neither by a watch nor by a list."""

    def __init__(self, pod: str) -> None:
        self._pod = f'"name":"{pod}"'.encode()
        self._deaf = False

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method == "POST" and self._pod in request.body:
            self._deaf = True
        if self._deaf and request.method == "GET" and request.path == "/api/v1/pods":
            raise Unavailable("the connection broke")
        return await forward(request)

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if self._deaf and request.path == "/api/v1/pods":
                raise Unavailable("the connection broke")
            yield chunk


async def test_an_attempt_that_the_caches_do_not_have_yet_is_remembered_when_its_execution_is_loaded_again() -> None:
    """Regression: where the pod before it was deleted by somebody else, that attempt was run once more."""
    async with bench(max_lag=5.0) as of, of.controller(_PodsCameToAStop("w-a-1")):
        await of.create(task("a"), task("b"))
        await asyncio.sleep(10.0)
        await of.user.delete(RAW_PODS, "w-a-0", "ns", grace_seconds=0)
        await asyncio.sleep(2.0)
        assert sorted(await of.pods()) == ["w-a-1", "w-b-0"]
        meddled = {"status": {"nodes": None, "note": "nobody's business"}}
        await of.user.patch(WORKFLOWS, "w", "ns", body=meddled, subresource="status")
        await asyncio.sleep(30.0)
        assert sorted(await of.pods()) == ["w-a-1", "w-b-0"]
