"""When pods are stopped, and that none is left running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from propeller.embedded.server import Forward
from propeller.errors import Unavailable
from propeller.kube import PODS, Request, Response
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import task

TIMED = {"executionDeadline": "60s"}


class _Link:
    """Statuses are not written while `unwritable`; creates of pods are answered late by `slow_creates` seconds."""

    def __init__(self) -> None:
        self.unwritable = False
        self.slow_creates = 0.0

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if self.unwritable and request.path.endswith("/status"):
            raise Unavailable("the connection broke")
        if request.method == "POST" and request.path.endswith("/pods"):
            await asyncio.sleep(self.slow_creates)
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def test_a_pod_is_not_stopped_before_a_status_has_the_reason() -> None:
    link = _Link()
    async with bench() as of, of.controller(link):
        await of.create(task("a", **TIMED))
        await asyncio.sleep(10.0)
        link.unwritable = True
        await asyncio.sleep(120.0)  # its time is up, and a process that came now would not know
        assert await of.has_pod("w-a-0")
        link.unwritable = False
        await asyncio.sleep(60.0)
        assert not await of.has_pod("w-a-0")
        assert (await of.status())["state"] == "Failed"


async def test_what_runs_inside_a_node_once_more_waits_for_a_status_that_has_the_attempt() -> None:
    """Until then the attempt before may end well: to a process that came now, its time might not be up."""
    link = _Link()
    mapped = {"id": "m", "kind": "array", "array": {"SubNodeSpec": task("item"), "dataMode": 1}}
    async with bench() as of, of.controller(link):
        await of.create({**mapped, "executionDeadline": "60s", "retry": {"minAttempts": 2}})
        await asyncio.sleep(10.0)
        link.unwritable = True
        await asyncio.sleep(55.0)
        assert list(await of.pods()) == ["w-m-0-n0-0"]
        link.unwritable = False
        await asyncio.sleep(40.0)
        assert list(await of.pods()) == ["w-m-1-n0-0"]


async def test_a_new_process_comes_to_the_same_end_whenever_the_last_one_was_killed() -> None:
    async with bench() as of:
        await of.create(task("a", **TIMED))
        link = _Link()
        async with of.controller(link):
            await asyncio.sleep(10.0)
            link.unwritable = True
            await asyncio.sleep(60.0)
        async with of.controller():
            await asyncio.sleep(120.0)
        assert (await of.status())["error"]["code"] == "TimeoutExpired"
        assert not [name for name in await of.pods() if name != "w-a-0"]


async def test_a_new_process_gives_up_a_pod_that_never_stops_when_its_grace_is_over() -> None:
    """Nothing else happens to the execution: what is known by the time that it is loaded is all there is."""
    async with bench() as of:
        async with of.controller():
            await of.create(task("a", retry={"minAttempts": 2}))
            await asyncio.sleep(5.0)
            binding = {"metadata": {"name": "w-a-0"}, "target": {"kind": "Node", "name": "node"}}
            await of.user.create(RAW_PODS, binding, "ns", name="w-a-0", subresource="binding")
            await of.user.delete(PODS, "w-a-0", "ns", grace_seconds=60)
            ended = {"name": "w-a-0", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
            await of.report("w-a-0", phase="Running", containerStatuses=[ended])
            await asyncio.sleep(5.0)
            assert (await of.status())["counts"]["running"] == 1
        async with of.controller():
            await asyncio.sleep(30.0)
            assert not await of.pods()
            await asyncio.sleep(90.0)
            assert list(await of.pods()) == ["w-a-1"]


async def test_a_pod_that_is_created_after_its_attempt_was_given_up_is_stopped() -> None:
    link = _Link()
    link.slow_creates = 20.0
    async with bench() as of, of.controller(link):
        await of.create(task("a", executionDeadline="10s"))
        await asyncio.sleep(15.0)
        assert (await of.status())["counts"]["failed"] == 1
        await asyncio.sleep(30.0)
        assert not await of.pods()


async def _is_stopped(of: Bench, uid: str) -> bool:
    """Whether a running pod that somebody launches for the workflow is stopped."""
    owner = {"apiVersion": "flyte.lyft.com/v1alpha1", "kind": "flyteworkflow", "name": "w", "uid": uid}
    metadata = {"name": "w-b-0", "labels": {"execution-id": "w"}, "ownerReferences": [owner]}
    spec = {"containers": [{"name": "main", "image": "i"}]}
    await of.user.create(RAW_PODS, {"metadata": metadata, "spec": spec}, "ns")
    await asyncio.sleep(5.0)
    return not await of.has_pod("w-b-0")


async def test_of_an_execution_that_has_ended_no_pod_is_left_running_whoever_launched_it() -> None:
    async with bench() as of, of.controller():
        created = await of.create(task("a"))
        await of.user.patch(WORKFLOWS, "w", "ns", body={"status": {"phase": 3}}, subresource="status")
        await asyncio.sleep(5.0)
        assert await _is_stopped(of, created["metadata"]["uid"])


async def test_a_process_that_starts_stops_what_an_execution_that_has_ended_left_running() -> None:
    async with bench() as of:
        created = await of.create(task("a"))
        await of.user.patch(WORKFLOWS, "w", "ns", body={"status": {"phase": 5}}, subresource="status")
        assert not await _is_stopped(of, created["metadata"]["uid"])
        async with of.controller():
            await asyncio.sleep(5.0)
            assert not await of.pods()


async def test_a_pod_of_an_execution_that_runs_is_left_alone() -> None:
    async with bench() as of, of.controller():
        created = await of.create(task("a"))
        await asyncio.sleep(5.0)
        assert not await _is_stopped(of, created["metadata"]["uid"])


async def test_what_is_to_run_after_a_failure_waits_for_a_status_that_has_it() -> None:
    """Found by the model: after a crash the failure could be none, and its handler had run."""
    link = _Link()
    async with bench() as of, of.controller(link):
        await of.create(task("a", **TIMED), onFailure=task("handler"))
        await asyncio.sleep(10.0)
        link.unwritable = True
        await asyncio.sleep(120.0)
        assert not await of.has_pod("w-handler-0")
        link.unwritable = False
        await asyncio.sleep(60.0)
        assert await of.has_pod("w-handler-0")
