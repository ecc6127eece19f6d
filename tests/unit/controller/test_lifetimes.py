"""An attempt owns all that it has started: its sidecars end with it, and the next one begins when it has stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from propeller.embedded.server import Forward
from propeller.errors import Unavailable
from propeller.kube import Request, Response
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import graph, task

SIDECAR = {
    "id": {"name": "t"},
    "type": "sidecar",
    "config": {"primary_container_name": "main"},
    "k8sPod": {"podSpec": {"containers": [{"name": "main", "image": "i"}, {"name": "db", "image": "i"}]}},
}
AGAIN = {"retry": {"minAttempts": 3}}


class _Link:
    """Counts requests for pods, and may keep statuses from being written."""

    def __init__(self) -> None:
        self.unwritable = False
        self.requests: list[str] = []

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if self.unwritable and request.path.endswith("/status"):
            raise Unavailable("the connection broke")
        if "/pods/" in request.path or request.method == "POST":
            self.requests.append(request.method)
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


def _status(name: str, **state: Any) -> dict[str, Any]:
    return {"name": name, "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}


def _ended(name: str, code: int) -> dict[str, Any]:
    return _status(name, terminated={"exitCode": code, "reason": "Error" if code else "Completed"})


RUNS = _status("db", running={})


async def _create(of: Bench, *nodes: dict[str, Any], of_task: dict[str, Any] = SIDECAR, **fields: Any) -> None:
    resource = {"metadata": {"name": "w"}, "spec": graph(*nodes), "tasks": {"t": of_task}, **fields}
    await of.user.create(WORKFLOWS, resource, "ns")
    await asyncio.sleep(5.0)


async def _on_a_machine(of: Bench, *pods: str) -> None:
    """From now on they take time to stop."""
    for pod in pods:
        binding = {"metadata": {"name": pod}, "target": {"kind": "Node", "name": "node"}}
        await of.user.create(RAW_PODS, binding, "ns", name=pod, subresource="binding")


async def _all(of: Bench) -> list[str]:
    """Also those that are being deleted."""
    return sorted(pod["metadata"]["name"] for pod in (await of.user.list(RAW_PODS, "ns")).items)


async def _vanish(of: Bench, pod: str) -> None:
    await of.user.delete(RAW_PODS, pod, "ns", grace_seconds=0)
    await asyncio.sleep(2.0)


async def test_a_failed_attempts_sidecars_stop_before_the_next_attempt_begins() -> None:
    async with bench() as of, of.controller():
        await _create(of, task("a", **AGAIN))
        await _on_a_machine(of, "w-a-0")
        await of.report("w-a-0", phase="Running", containerStatuses=[_ended("main", 1), RUNS])
        await asyncio.sleep(10.0)
        assert not await of.has_pod("w-a-0"), "it is told to stop"
        assert await _all(of) == ["w-a-0"], "it has not stopped yet"
        await _vanish(of, "w-a-0")
        assert await _all(of) == ["w-a-1"]


async def test_a_pod_is_not_stopped_before_a_status_has_its_result() -> None:
    link = _Link()
    for code in (0, 1):
        async with bench() as of, of.controller(link):
            await _create(of, task("a", **AGAIN), task("b"))
            link.unwritable = True
            await of.report("w-a-0", phase="Running", containerStatuses=[_ended("main", code), RUNS])
            await asyncio.sleep(60.0)
            assert await of.has_pod("w-a-0")
            link.unwritable = False
            await asyncio.sleep(60.0)
            assert not await of.has_pod("w-a-0")


async def test_a_task_that_succeeds_frees_what_its_sidecars_hold_while_others_go_on() -> None:
    async with bench(max_lag=5.0) as of, of.controller():
        await _create(of, task("a"), task("b"), task("c"), executionConfig={"MaxParallelism": 2})
        await of.report("w-a-0", phase="Running", containerStatuses=[_ended("main", 0), RUNS])
        await asyncio.sleep(1.0)
        assert await of.has_pod("w-c-0"), "it takes no place any more"
        await asyncio.sleep(8.0)
        assert sorted(await of.pods()) == ["w-b-0", "w-c-0"]
        assert (await of.status())["counts"]["succeeded"] == 1


@pytest.mark.parametrize("native", [False, True])
async def test_a_pod_that_ends_by_itself_is_left_as_the_record_and_costs_no_request(native: bool) -> None:
    link = _Link()
    last = {"phase": "Succeeded", "containerStatuses": [_ended("main", 0), _ended("db", 0)]}
    async with bench() as of, of.controller(link):
        await _create(of, task("a"), task("b"))
        before = len(link.requests)
        if native:
            early = {"containerStatuses": [_ended("main", 0)], "initContainerStatuses": [RUNS]}
            last = {"phase": "Succeeded", "containerStatuses": [_ended("main", 0)], "initContainerStatuses": []}
            await of.report("w-a-0", phase="Running", **early)
            await asyncio.sleep(10.0)
        await of.report("w-a-0", **last)
        await asyncio.sleep(10.0)
        assert await of.has_pod("w-a-0")
        assert len(link.requests) == before


async def test_what_a_status_says_is_over_is_stopped_by_the_next_process() -> None:
    link = _Link()
    async with bench() as of:
        async with of.controller(link):
            await _create(of, task("a", **AGAIN), task("b"))
            await of.report("w-b-0", phase="Running", containerStatuses=[_ended("main", 0), RUNS])
            await of.report("w-a-0", phase="Running", containerStatuses=[_ended("main", 1), RUNS])
            link.requests.clear()
            while not link.requests:  # the first stop is sent: the status has the reasons
                await asyncio.sleep(0.01)
        await _on_a_machine(of, *await of.pods())
        async with of.controller():
            await asyncio.sleep(10.0)
            assert [name for name in await of.pods() if name != "w-a-1"] == []


async def test_a_process_that_starts_meanwhile_waits_for_the_last_attempt_too() -> None:
    async with bench() as of:
        async with of.controller():
            await _create(of, task("a", **AGAIN))
            await _on_a_machine(of, "w-a-0")
            await of.report("w-a-0", phase="Running", containerStatuses=[_ended("main", 1), RUNS])
            await asyncio.sleep(5.0)
        async with of.controller():
            await asyncio.sleep(20.0)
            assert await _all(of) == ["w-a-0"]
            await _vanish(of, "w-a-0")
            assert await _all(of) == ["w-a-1"]


async def test_a_pod_that_never_stops_is_waited_for_no_longer_than_its_grace() -> None:
    async with bench() as of, of.controller():
        await _create(of, task("a", executionDeadline="60s", **AGAIN))
        await _on_a_machine(of, "w-a-0")
        await asyncio.sleep(60.0 + of.settings.controller.stop_margin + 25.0)
        assert await _all(of) == ["w-a-0"]
        await asyncio.sleep(15.0)
        assert await _all(of) == ["w-a-0", "w-a-1"]


async def test_what_ran_inside_stops_before_it_all_runs_once_more() -> None:
    mapped = {"id": "m", "kind": "array", "array": {"SubNodeSpec": task("item"), "dataMode": 1}}
    async with bench() as of, of.controller():
        await _create(of, {**mapped, "executionDeadline": "60s", "retry": {"minAttempts": 2}})
        await _on_a_machine(of, "w-m-0-n0-0")
        await asyncio.sleep(70.0)
        assert await _all(of) == ["w-m-0-n0-0"]
        await _vanish(of, "w-m-0-n0-0")
        assert await _all(of) == ["w-m-1-n0-0"]


async def test_a_deadline_and_an_abort_end_a_node_that_waits_for_its_last_attempt() -> None:
    async with bench() as of, of.controller():
        await _create(of, task("a", activeDeadline="20s", **AGAIN))
        await _on_a_machine(of, "w-a-0")
        await of.report("w-a-0", phase="Running", containerStatuses=[_ended("main", 1), RUNS])
        await asyncio.sleep(20.0)
        status = await of.status()
        assert (status["state"], status["error"]["code"]) == ("Failed", "TimeoutExpired")
        await _vanish(of, "w-a-0")
        assert await _all(of) == []


class TestAPodThatSomebodyDeletes:
    """A drain, an autoscaler, a spot machine that is taken away."""

    @staticmethod
    async def _deleted(of: Bench) -> None:
        await _create(of, task("a"))
        await _on_a_machine(of, "w-a-0")
        await of.report("w-a-0", phase="Running", containerStatuses=[_status("main", running={}), RUNS])
        await of.user.delete(RAW_PODS, "w-a-0", "ns")
        await asyncio.sleep(20.0)
        assert await _all(of) == ["w-a-0"], "nothing runs beside it"

    async def test_it_may_still_succeed(self) -> None:
        async with bench() as of, of.controller():
            await self._deleted(of)
            await of.report("w-a-0", phase="Failed", containerStatuses=[_ended("main", 0), _ended("db", 143)])
            await _vanish(of, "w-a-0")
            assert (await of.status())["state"] == "Succeeded"
            assert await _all(of) == []

    @pytest.mark.parametrize("ends", [True, False])
    async def test_what_it_comes_to_otherwise_is_the_systems(self, ends: bool) -> None:
        async with bench() as of, of.controller():
            await self._deleted(of)
            if ends:
                await of.report("w-a-0", phase="Failed", containerStatuses=[_ended("main", 1), _ended("db", 143)])
            await _vanish(of, "w-a-0")
            await asyncio.sleep(5.0)
            assert await _all(of) == ["w-a-1"]

    async def test_it_is_given_up_when_its_grace_is_over(self) -> None:
        async with bench() as of, of.controller():
            await self._deleted(of)
            await asyncio.sleep(8.0 + of.settings.controller.stop_margin)
            assert await _all(of) == ["w-a-0"]
            await asyncio.sleep(10.0)
            assert await _all(of) == ["w-a-0", "w-a-1"]

    async def test_a_success_that_nobody_saw_is_found_when_its_grace_is_over(self) -> None:
        async with bench() as of:
            async with of.controller():
                await self._deleted(of)
            await of.report("w-a-0", phase="Succeeded", containerStatuses=[_ended("main", 0), _ended("db", 0)])
            await asyncio.sleep(600.0)
            async with of.controller():
                await asyncio.sleep(10.0)
            assert (await of.status())["state"] == "Succeeded"
