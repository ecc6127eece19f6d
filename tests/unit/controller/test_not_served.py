"""A resource type whose version is not served for a while: its objects are all there, though requests for them are
answered with 404. What the cache has all the time it has nothing to tell of afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from propeller.controller import workflow_crd
from propeller.embedded.server import Forward
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Request, Response
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.test_collection import end, is_there, lasting
from tests.unit.controller.test_finalizers import FLYTE
from tests.unit.controller.test_lost_versions import until_it_has_pods
from tests.unit.controller.test_recovery import CHAIN, create, fail_in_the_middle, nodes
from tests.unit.controller.test_undecodable import FAILED, SUCCEEDED, ended, resource, succeed
from tests.unit.workflow.drive import task

A_WHILE = 300.0


class NotServed:
    """The server does not know the type while `on`; what is followed already goes on."""

    def __init__(self) -> None:
        self.on = False
        self.refused = 0
        """Requests for single workflows."""

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if not self.on or "/flyte.lyft.com/" not in request.path or "watch" in request.query:
            return await forward(request)
        self.refused += "/flyteworkflows/" in request.path
        return Response(status=404, headers={}, body=b"404 page not found")

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks

    async def for_a_while(self) -> None:
        await asyncio.sleep(A_WHILE)
        assert self.refused
        self.on = False


async def serve(world: Bench, served: bool) -> None:
    definition = workflow_crd()
    (version,) = definition["spec"]["versions"]
    body = {"spec": {"versions": [version | {"served": served}]}}
    await world.user.patch(CUSTOM_RESOURCE_DEFINITIONS, definition["metadata"]["name"], body=body)


async def test_an_execution_goes_on() -> None:
    """Regression: its object was taken for gone."""
    async with bench() as world, world.controller():
        await world.user.create(WORKFLOWS, resource(), "ns")
        await until_it_has_pods(world)
        await asyncio.sleep(10)
        await serve(world, False)
        await world.report("w-a-0", phase="Succeeded")
        await asyncio.sleep(A_WHILE)
        await serve(world, True)
        succeeding = asyncio.create_task(succeed(world))
        assert (await ended(world, 200))["phase"] == SUCCEEDED
        succeeding.cancel()


async def test_an_ended_workflow_whose_time_was_over_meanwhile_is_collected() -> None:
    server = NotServed()
    async with bench() as plain:
        of = lasting(plain, 60.0)
        async with of.controller(server):
            await of.create(task("a"))
            await end(of)
            server.on = True
            await server.for_a_while()
            await asyncio.sleep(120.0)
            assert not await is_there(of)


async def test_a_finalizer_that_was_to_be_removed_meanwhile_is_removed() -> None:
    server = NotServed()
    async with bench() as of, of.controller(server):
        await of.user.create(WORKFLOWS, resource(metadata={"name": "w", "finalizers": [FLYTE]}), "ns")
        await end(of)
        server.on = True
        await server.for_a_while()
        await asyncio.sleep(120.0)
        assert "finalizers" not in (await of.user.get(WORKFLOWS, "w", "ns"))["metadata"]


async def test_what_cannot_run_fails_with_the_reason() -> None:
    server = NotServed()
    async with bench() as of, of.controller(server):
        server.on = True
        await of.user.create(WORKFLOWS, resource(spec=None), "ns")
        await server.for_a_while()
        assert (await ended(of, 200))["phase"] == FAILED


async def test_what_an_earlier_execution_left_is_taken_over_still() -> None:
    """Regression: the earlier one was taken for gone, and all of it was run again."""
    server = NotServed()
    async with bench() as of, of.controller(server):
        await fail_in_the_middle(of)
        server.on = True
        await create(of, "again", *nodes(), recovers="w", **CHAIN)
        await server.for_a_while()
        async with asyncio.timeout(200):
            while not await of.has_pod("again-n1-0"):
                await asyncio.sleep(0.5)
        assert not await of.has_pod("again-n0-0")


async def test_what_is_gone_all_the_same_is_let_go_of() -> None:
    server = NotServed()
    async with bench() as of, of.controller(server) as controller:
        await of.user.create(WORKFLOWS, resource(), "ns")
        await until_it_has_pods(of)
        server.on = True
        await of.report("w-a-0", phase="Succeeded")
        await asyncio.sleep(A_WHILE)
        await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
        await server.for_a_while()
        assert controller.execution("ns/w") is None
        assert not await of.pods()
        refused = server.refused
        server.on = True
        await asyncio.sleep(A_WHILE)
        assert server.refused == refused, "nobody asks for it any more"
