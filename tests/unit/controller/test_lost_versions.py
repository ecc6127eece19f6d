"""Versions that never come, resource types made anew, and servers that refuse for ever: nothing waits or spins."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
import pytest

from propeller.controller import workflow_crd
from propeller.controller._live import Fence
from propeller.embedded.server import Forward
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Request, Response
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.test_undecodable import SUCCEEDED, ended, resource, succeed
from tests.unit.workflow.drive import task


async def until_it_has_pods(world: Bench) -> None:
    async with asyncio.timeout(120):
        while not await world.pods():
            await asyncio.sleep(0.5)


async def test_an_execution_does_not_wait_for_a_version_that_never_comes() -> None:
    async with bench() as world, world.controller() as controller:
        controller._foreign["ns/w"] = Fence("", "")
        created = await world.user.create(WORKFLOWS, resource(), "ns")
        controller._foreign["ns/w"] = Fence(created["metadata"]["uid"], "999999")
        succeeding = asyncio.create_task(succeed(world))
        assert (await ended(world))["phase"] == SUCCEEDED
        succeeding.cancel()


class Refuse:
    """Answers requests that `concerns` names with one status, and counts them."""

    def __init__(self, method: str, part: str, status: int) -> None:
        self._method, self._part, self._status = method, part, status
        self.on = False
        self.requests: Counter[str] = Counter()

    async def exchange(self, request: Request, forward: Forward) -> Response:
        self.requests[request.method] += 1
        if self.on and request.method == self._method and self._part in request.path:
            body = {"kind": "Status", "code": self._status, "message": "no", "reason": "Refused"}
            return Response(status=self._status, headers={"retry-after": "0"}, body=orjson.dumps(body))
        return await forward(request)

    def stream(self, request: Request, chunks: Any) -> Any:
        return chunks


CODES = (400, 401, 403, 404, 409, 410, 413, 422, 429, 500, 503, 504)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    ("method", "part"), [("PATCH", "flyteworkflows"), ("POST", "pods"), ("GET", "flyteworkflows"), ("GET", "pods")]
)
async def test_a_server_that_always_refuses_is_asked_with_pauses(method: str, part: str, code: int) -> None:
    refuse = Refuse(method, part, code)
    async with bench(max_lag=0.0) as world, world.controller(refuse):
        refuse.on = True
        await world.create(task("a"), task("b"), edges=[("a", "b")])
        succeeding = asyncio.create_task(succeed(world))
        await asyncio.sleep(300)
        before = refuse.requests.total()
        await asyncio.sleep(1200)
        succeeding.cancel()
        assert refuse.requests.total() - before < 1200 / 2, refuse.requests


@pytest.mark.parametrize("before", [True, False], ids=["with a subresource", "without one"])
@pytest.mark.parametrize("after", [True, False], ids=["with one afterwards", "without one afterwards"])
async def test_workflows_run_after_the_resource_type_was_made_anew(before: bool, after: bool) -> None:
    """Regression: whether there is a status subresource was read once."""

    def definition(subresource: bool) -> dict[str, Any]:
        crd = workflow_crd()
        if not subresource:
            del crd["spec"]["versions"][0]["subresources"]
        return crd

    name = workflow_crd()["metadata"]["name"]
    async with bench() as world:
        await world.user.delete(CUSTOM_RESOURCE_DEFINITIONS, name)
        await world.user.create(CUSTOM_RESOURCE_DEFINITIONS, definition(before))
        async with world.controller():
            await world.user.create(WORKFLOWS, resource(), "ns")
            await until_it_has_pods(world)
            await world.user.delete(CUSTOM_RESOURCE_DEFINITIONS, name)
            await asyncio.sleep(30)
            await world.user.create(CUSTOM_RESOURCE_DEFINITIONS, definition(after))
            await world.user.create(WORKFLOWS, resource(), "ns")
            succeeding = asyncio.create_task(succeed(world))
            assert (await ended(world, 200))["phase"] == SUCCEEDED
            succeeding.cancel()
