"""The clock of another cluster may be hours off: nothing is taken for old, or young, because of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import orjson
import pytest

from propeller.embedded.server import Forward
from propeller.kube import Request, Response
from tests.unit.controller.far import RAW_PODS, WORKFLOWS, far, table
from tests.unit.workflow.drive import task

SETTLED = 5.0
TO_EAST = table(west="cordoned")
STAMPS = ("creationTimestamp", "deletionTimestamp")


class Skewed:
    """An API server whose clock is `hours` ahead, as its clients see it; pods get a node at once, if it `schedules`."""

    def __init__(self, hours: float, *, schedules: bool) -> None:
        self._ahead = timedelta(hours=hours)
        self._schedules = schedules

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method == "POST" and self._schedules:
            pod = orjson.loads(request.body)
            pod["spec"]["nodeName"] = "n"
            request = msgspec.structs.replace(request, body=orjson.dumps(pod))
        response = await forward(request)
        if not response.body:
            return response  # the begin of a watch
        return msgspec.structs.replace(response, body=self._skewed(response.body))

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        left = b""
        async for chunk in chunks:
            *lines, left = (left + chunk).split(b"\n")
            for line in lines:
                yield self._skewed(line) + b"\n"

    def _skewed(self, body: bytes) -> bytes:
        try:
            return orjson.dumps(self._moved(orjson.loads(body)))
        except orjson.JSONDecodeError:
            return body

    def _moved(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._moved(item) for item in value]
        if isinstance(value, dict):
            return {
                key: self._later(one) if key in STAMPS and isinstance(one, str) else self._moved(one)
                for key, one in value.items()
            }
        return value

    def _later(self, stamp: str) -> str:
        return (datetime.fromisoformat(stamp) + self._ahead).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("hours", [-3.0, 3.0])
async def test_pods_that_wait_for_a_node_for_a_moment_are_not_stuck_and_those_that_wait_for_long_are(
    hours: float,
) -> None:
    async with far(start_deadline=300.0, unhealthy_after=30.0) as of:
        of.opener.interceptors["east"] = Skewed(hours, schedules=False)
        async with of.controller(TO_EAST) as controller:
            for number in range(20):
                await of.create(f"w{number}", task("a"))
            await asyncio.sleep(SETTLED)
            for pod in await of.pods("east"):
                await of.report("east", pod, phase="Pending")
            await asyncio.sleep(200.0)

            def east() -> dict[str, Any]:
                return next(one for one in controller.several.page() if one["name"] == "east")

            assert east()["healthy"]
            await asyncio.sleep(300.0)
            assert not east()["healthy"]
            assert "20 pods have waited for a node" in east()["reason"]


@pytest.mark.parametrize("hours", [-3.0, 3.0])
async def test_a_pod_that_never_ends_is_released_a_minute_after_its_grace(hours: float) -> None:
    async with far() as of:
        of.opener.interceptors["east"] = Skewed(hours, schedules=True)
        async with of.controller(TO_EAST):
            await of.create("w", task("a"))
            await asyncio.sleep(SETTLED)
            await of.report("east", "w-a-0", phase="Running")
            await of.user.delete(WORKFLOWS, "w", "ns")
            await asyncio.sleep(SETTLED)

            async def is_held() -> bool:
                return "finalizers" in (await of.users["east"].get(RAW_PODS, "w-a-0", "ns"))["metadata"]

            assert await is_held(), "it may still end"
            await asyncio.sleep(120.0)
            assert not await is_held()


@pytest.mark.parametrize("hours", [-3.0, 3.0])
async def test_executions_run_as_if_all_clocks_agreed(hours: float) -> None:
    async with far() as of:
        of.opener.interceptors["east"] = Skewed(hours, schedules=True)
        async with of.controller(TO_EAST):
            await of.create("w", task("a"), task("b"), edges=[("a", "b")])
            await asyncio.sleep(SETTLED)
            await of.report("east", "w-a-0", phase="Running")
            await of.report("east", "w-a-0", phase="Succeeded")
            await asyncio.sleep(SETTLED)
            await of.users["east"].delete(RAW_PODS, "w-b-0", "ns")
            await asyncio.sleep(SETTLED)
            await of.report("east", "w-b-0", phase="Succeeded")
            await asyncio.sleep(SETTLED)
            status = await of.status("w")
            assert (status["state"], status["counts"]["succeeded"]) == ("Succeeded", 2)
