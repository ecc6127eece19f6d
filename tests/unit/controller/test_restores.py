"""A server that was restored from an older copy: what it has counts, also before every cache has heard of it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import orjson
import pytest

from propeller.embedded.server import Forward
from propeller.errors import NotFound
from propeller.kube import Request, Response
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.controller.test_lost_versions import until_it_has_pods
from tests.unit.controller.test_undecodable import SUCCEEDED, ended, resource, succeed

TTL = 600.0


class Deaf:
    """While `on`, lists and watches of a kind fail."""

    def __init__(self, plural: str) -> None:
        self._ending = f"/{plural}"
        self.on = False

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if self.on and request.method == "GET" and request.path.endswith(self._ending):
            return Response(status=500, headers={}, body=orjson.dumps({"kind": "Status", "code": 500}))
        return await forward(request)

    def stream(self, request: Request, chunks: Any) -> Any:
        return chunks


async def restore_from_while_it_ran(world: Bench) -> None:
    """The workflow has ended, and has not, once its storage is restored."""
    await world.user.create(WORKFLOWS, resource(), "ns")
    await until_it_has_pods(world)
    await asyncio.sleep(10)
    backup = world.server.back_up()
    succeeding = asyncio.create_task(succeed(world))
    assert (await ended(world))["phase"] == SUCCEEDED
    succeeding.cancel()
    await asyncio.sleep(10)
    world.server.restore(backup)
    await asyncio.sleep(5)


async def test_pods_that_are_back_before_their_execution_is_known_not_to_have_ended_are_kept() -> None:
    """Regression: they were stopped as the leftovers of an execution that has ended."""
    deaf = Deaf("flyteworkflows")
    async with bench() as world, world.controller(deaf):
        await restore_from_while_it_ran(world)
        deaf.on = True
        world.server.start()
        await asyncio.sleep(60)
        assert await world.has_pod("w-a-0")
        deaf.on = False
        await asyncio.sleep(60)
        succeeding = asyncio.create_task(succeed(world))
        assert (await ended(world))["phase"] == SUCCEEDED
        succeeding.cancel()
        assert sorted(await world.pods()) == ["w-a-0", "w-b-0"]


async def test_an_execution_that_is_back_before_its_pods_are_ends_by_what_they_had_come_to() -> None:
    deaf = Deaf("pods")
    async with bench() as world, world.controller(deaf):
        await restore_from_while_it_ran(world)
        deaf.on = True
        world.server.start()
        await asyncio.sleep(60)
        deaf.on = False
        assert (await ended(world))["phase"] == SUCCEEDED


async def test_a_workflow_whose_end_a_restore_has_undone_is_not_collected() -> None:
    """Regression: it was deleted when the time was over that counts from its end."""
    deaf = Deaf("flyteworkflows")
    async with bench() as world:
        settings = msgspec.structs.replace(
            world.settings, controller=msgspec.structs.replace(world.settings.controller, ttl=TTL)
        )
        changed = Bench(world.user, world.clock, world.server, world.storage, settings)
        async with changed.controller(deaf):
            await restore_from_while_it_ran(changed)
            deaf.on = True
            world.server.start()
            await asyncio.sleep(TTL + 60)
            assert await world.user.get(WORKFLOWS, "w", "ns")


async def test_a_leftover_pod_of_an_execution_that_has_ended_is_stopped_still() -> None:
    async with bench() as world, world.controller():
        await world.user.create(WORKFLOWS, resource(), "ns")
        await until_it_has_pods(world)
        left = (await world.pods())["w-a-0"]
        succeeding = asyncio.create_task(succeed(world))
        assert (await ended(world))["phase"] == SUCCEEDED
        succeeding.cancel()
        metadata = {key: left["metadata"][key] for key in ("labels", "annotations", "ownerReferences")}
        await world.user.create(RAW_PODS, {"metadata": metadata | {"name": "left"}, "spec": left["spec"]}, "ns")
        await asyncio.sleep(10)
        with pytest.raises(NotFound):
            await world.user.get(RAW_PODS, "left", "ns")
