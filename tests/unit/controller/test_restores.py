"""A server that was restored from an older copy: what it has counts, also before every cache has heard of it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import msgspec
import orjson
import pytest

from propeller.config import CheckpointOptions, ControllerOptions
from propeller.embedded.server import Forward
from propeller.errors import NotFound
from propeller.kube import Request, Response
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.controller.test_lost_versions import until_it_has_pods
from tests.unit.controller.test_undecodable import SUCCEEDED, ended, resource, succeed
from tests.unit.workflow.drive import graph, task

TTL = 600.0


def changed(world: Bench, **sections: Any) -> Bench:
    return dataclasses.replace(world, settings=msgspec.structs.replace(world.settings, **sections))


class Deaf:
    """While `on`, lists and watches of a kind fail; while `mute`, all that is written."""

    def __init__(self, plural: str) -> None:
        self._ending = f"/{plural}"
        self.on = self.mute = False

    async def exchange(self, request: Request, forward: Forward) -> Response:
        reads = request.method == "GET"
        if (self.mute and not reads) or (self.on and reads and request.path.endswith(self._ending)):
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


async def test_an_execution_that_is_back_before_its_pods_are_ends_by_what_they_come_to() -> None:
    deaf = Deaf("pods")
    async with bench() as world, world.controller(deaf):
        await restore_from_while_it_ran(world)
        deaf.on = True
        world.server.start()
        await asyncio.sleep(60)
        deaf.on = False
        succeeding = asyncio.create_task(succeed(world))
        assert (await ended(world, 200))["phase"] == SUCCEEDED
        succeeding.cancel()


async def test_a_pod_that_is_back_before_the_status_that_knows_a_later_attempt_is_known_to_be_gone_is_kept() -> None:
    """Regression: the status in the cache was of after the copy, by which the pod's attempt was over."""
    deaf = Deaf("flyteworkflows")
    again = resource(spec=graph(task("a", retry={"minAttempts": 3})))
    async with bench() as world, world.controller(deaf):
        await world.user.create(WORKFLOWS, again, "ns")
        await until_it_has_pods(world)
        await asyncio.sleep(10)
        backup = world.server.back_up()
        await world.report("w-a-0", phase="Failed")
        await asyncio.sleep(30)
        assert await world.has_pod("w-a-1")
        world.server.restore(backup)
        await asyncio.sleep(5)
        deaf.on = True
        world.server.start()
        await asyncio.sleep(60)
        assert await world.has_pod("w-a-0")
        deaf.on = False
        await asyncio.sleep(60)
        await world.report("w-a-0", phase="Succeeded")
        assert (await ended(world))["phase"] == SUCCEEDED
        assert sorted(await world.pods()) == ["w-a-0"]


@pytest.mark.parametrize("late", ["flyteworkflows", "pods"])
async def test_an_execution_is_loaded_after_a_restore_once_both_caches_have_what_the_server_has(late: str) -> None:
    deaf = Deaf(late)
    async with bench() as world, world.controller(deaf) as controller:
        await restore_from_while_it_ran(world)
        deaf.on = True
        world.server.start()
        await asyncio.sleep(60)
        assert controller.execution("ns/w") is None
        deaf.on = False
        await asyncio.sleep(60)
        assert controller.execution("ns/w") is not None


async def test_a_workflow_whose_end_a_restore_has_undone_is_not_collected() -> None:
    """Regression: it was deleted when the time was over that counts from its end."""
    deaf = Deaf("flyteworkflows")
    async with bench() as world, changed(world, controller=ControllerOptions(ttl=TTL)).controller(deaf):
        await restore_from_while_it_ran(world)
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


async def test_a_status_whose_snapshot_was_removed_since_is_gone_on_from_by_a_newer_one() -> None:
    """Regression: of a workflow with a time limit, which cannot be walked again, the execution waited for ever."""
    timed = resource(spec=graph(task("a"), task("b", executionDeadline="36000s"), edges=[("a", "b")]))
    async with bench() as world, changed(world, checkpoint=CheckpointOptions(max_lag=0.0, budget=1)).controller():
        await world.user.create(WORKFLOWS, timed, "ns")
        await until_it_has_pods(world)
        await asyncio.sleep(10)
        backup = world.server.back_up()
        await world.report("w-a-0", phase="Succeeded")
        await asyncio.sleep(10)
        assert "w-b-0" in await world.pods()
        world.server.restore(backup)
        await asyncio.sleep(5)
        world.server.start()
        await asyncio.sleep(60)
        succeeding = asyncio.create_task(succeed(world))
        assert (await ended(world))["phase"] == SUCCEEDED
        succeeding.cancel()


async def test_an_end_whose_reason_a_restore_has_undone_is_not_written() -> None:
    """Regression: it was written as aborted, for it was being deleted, onto an object that nobody deletes."""
    deaf = Deaf("flyteworkflows")
    async with bench() as world, world.controller(deaf):
        await world.user.create(WORKFLOWS, resource(metadata={"name": "w", "finalizers": ["example.org/audit"]}), "ns")
        await until_it_has_pods(world)
        await asyncio.sleep(60)
        backup = world.server.back_up()
        deaf.mute = True
        await world.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
        await asyncio.sleep(10)
        world.server.restore(backup)
        await asyncio.sleep(5)
        world.server.start()
        deaf.on, deaf.mute = True, False
        await asyncio.sleep(60)
        assert (await world.status())["state"] == "Running"
        deaf.on = False
        succeeding = asyncio.create_task(succeed(world))
        assert (await ended(world, 200))["phase"] == SUCCEEDED
        succeeding.cancel()
