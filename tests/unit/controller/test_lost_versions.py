"""Versions that never come, and resource types made anew: nothing waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from propeller.controller import workflow_crd
from propeller.controller._session import Loading
from propeller.embedded.server import Forward
from propeller.errors import Unavailable
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Request, Response
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.test_undecodable import SUCCEEDED, ended, resource, succeed


class Unheard:
    """Lists and watches of workflows fail while `on`, and requests for one of them are counted."""

    def __init__(self) -> None:
        self.on = False
        self.looks = 0

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.path.endswith("/flyteworkflows") and self.on:
            return Response(status=500, headers={}, body=orjson.dumps({"kind": "Status", "code": 500}))
        self.looks += self.on and request.method == "GET" and request.path.endswith("/flyteworkflows/w")
        return await forward(request)

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if self.on and request.path.endswith("/flyteworkflows"):
                raise Unavailable("the stream was cut")
            yield chunk


async def until_it_has_pods(world: Bench) -> None:
    async with asyncio.timeout(120):
        while not await world.pods():
            await asyncio.sleep(0.5)


async def test_an_execution_does_not_wait_for_a_version_that_never_comes() -> None:
    async with bench() as world, world.controller() as controller:
        created = await world.user.create(WORKFLOWS, resource(), "ns")
        controller._executions.reload(Loading("ns/w", created["metadata"]["uid"]), "999999")
        succeeding = asyncio.create_task(succeed(world))
        assert (await ended(world))["phase"] == SUCCEEDED
        succeeding.cancel()


async def test_the_server_is_asked_ever_less_often_for_what_the_cache_does_not_hear_of() -> None:
    """Regression: every 10 s for each execution, for as long as a resource type was gone."""
    unheard = Unheard()
    async with bench() as world, world.controller(unheard) as controller:
        await world.user.create(WORKFLOWS, resource(), "ns")
        await until_it_has_pods(world)
        unheard.on = True
        succeeding = asyncio.create_task(succeed(world))
        await ended(world)
        succeeding.cancel()
        seconds = 3600.0
        await asyncio.sleep(seconds)
        assert unheard.looks < 1.2 * seconds / world.settings.queue.backoff_cap
        unheard.on = False
        await asyncio.sleep(world.settings.informers.backoff_cap + world.settings.queue.backoff_cap)
        assert controller.execution("ns/w") is None


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
