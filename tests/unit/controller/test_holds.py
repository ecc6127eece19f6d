"""Pods of other clusters keep their end until a status has it, and nothing is stuck afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from propeller.config import ClusterOptions
from propeller.embedded.server import Forward
from propeller.errors import NotFound
from propeller.handlers.plugins import HOLD_FINALIZER
from propeller.kube import Request, Response
from tests.unit.controller.bench import scheduled
from tests.unit.controller.far import RAW_PODS, WORKFLOWS, Far, far, table
from tests.unit.workflow.drive import task

SETTLED = 5.0
TO_EAST = table(west="cordoned")
LINE: dict[str, Any] = {"edges": [("a", "b")]}


class Link:
    """Counts the requests of the controller to a cluster by verb; binds each pod to a node, if it schedules."""

    def __init__(self, *, schedules: bool = True) -> None:
        self.sent: list[str] = []
        self.schedules = schedules

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method in {"POST", "PATCH", "DELETE"}:
            self.sent.append(f"{request.method} {request.path.rpartition('/')[2]}")
        if request.method == "POST" and self.schedules:
            request = scheduled(request)
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def _exists(of: Far, pod: str, cluster: str = "east") -> bool:
    try:
        await of.users[cluster].get(RAW_PODS, pod, "ns")
    except NotFound:
        return False
    return True


async def _delete(of: Far, pod: str) -> None:
    """Somebody deletes a pod, and the kubelet lets it go."""
    await of.users["east"].delete(RAW_PODS, pod, "ns", grace_seconds=0)
    await asyncio.sleep(SETTLED)


@pytest.mark.parametrize("schedules", [True, False])
async def test_the_end_of_a_pod_that_somebody_deletes_while_the_controller_is_down_is_not_lost(schedules: bool) -> None:
    async with far() as of:
        of.opener.interceptors["east"] = Link(schedules=schedules)
        async with of.controller(TO_EAST):
            await of.create("w", task("a"), task("b"), **LINE)
            await asyncio.sleep(SETTLED)
        await of.report("east", "w-a-0", phase="Succeeded")
        await _delete(of, "w-a-0")
        assert await _exists(of, "w-a-0"), "its end was not read yet"
        async with of.controller(TO_EAST):
            await asyncio.sleep(SETTLED)
            assert await _exists(of, "w-b-0"), "its end counts, though it left no outputs"
            assert not await _exists(of, "w-a-1")
            await asyncio.sleep(of.settings.checkpoint.max_lag)
            assert not await _exists(of, "w-a-0"), "a status has its end"


async def test_a_pod_is_released_only_by_a_status_that_has_its_end() -> None:
    async with far() as of:
        of.opener.interceptors["east"] = link = Link()
        async with of.controller(TO_EAST):
            await of.create("w", task("a"), task("b"), **LINE)
            await asyncio.sleep(SETTLED)
            await of.report("east", "w-a-0", phase="Succeeded")
            await _delete(of, "w-a-0")
            assert await _exists(of, "w-b-0")
            assert await _exists(of, "w-a-0")
            await asyncio.sleep(of.settings.checkpoint.max_lag)
            assert not await _exists(of, "w-a-0")
            await of.report("east", "w-b-0", phase="Succeeded")
            await asyncio.sleep(SETTLED)
            assert (await of.status("w"))["state"] == "Succeeded"
            assert link.sent == ["POST pods", "POST pods", "PATCH w-a-0"]
            await _delete(of, "w-b-0")
            assert not await _exists(of, "w-b-0"), "its workflow has ended"


async def test_a_pod_that_nobody_deletes_costs_no_request_and_one_in_the_workflows_cluster_is_not_held() -> None:
    async with far() as of:
        of.opener.interceptors["east"] = link = Link()
        async with of.controller(TO_EAST):
            await of.create("w", task("a"))
            await asyncio.sleep(SETTLED)
            await of.report("east", "w-a-0", phase="Succeeded")
            await asyncio.sleep(100.0)
            assert link.sent == ["POST pods"]
            assert (await of.pods("east"))["w-a-0"]["metadata"]["finalizers"] == [HOLD_FINALIZER]
        async with of.controller(None):
            await of.create("v", task("a"))
            await asyncio.sleep(SETTLED)
            assert "finalizers" not in (await of.user.get(RAW_PODS, "v-a-0", "ns"))["metadata"]


@pytest.mark.parametrize("schedules", [True, False])
async def test_what_an_abort_stops_is_released_once_it_has_ended_and_at_once_if_it_never_ran(schedules: bool) -> None:
    async with far() as of:
        of.opener.interceptors["east"] = Link(schedules=schedules)
        async with of.controller(TO_EAST):
            await of.create("w", task("a"), task("b"))
            await asyncio.sleep(SETTLED)
            failed = {"name": "w-a-0", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}, "ready": False}
            failed |= {"restartCount": 0, "image": "i", "imageID": "i"}
            await of.report("east", "w-a-0", phase="Failed", containerStatuses=[failed])
            await asyncio.sleep(SETTLED)
            assert (await of.status("w"))["state"] == "Failed"
            assert await _exists(of, "w-b-0") is schedules
            if schedules:
                await of.report("east", "w-b-0", phase="Failed")
                await _delete(of, "w-b-0")
                assert not await _exists(of, "w-b-0")


@pytest.mark.parametrize("ends", [True, False])
async def test_pods_of_a_workflow_that_is_deleted_are_gone_once_they_have_ended_or_are_overdue(ends: bool) -> None:
    async with far() as of:
        of.opener.interceptors["east"] = Link()
        async with of.controller(TO_EAST):
            await of.create("w", task("a"), task("b"))
            await asyncio.sleep(SETTLED)
            await of.report("east", "w-a-0", phase="Succeeded")
            await asyncio.sleep(SETTLED)
            await of.user.delete(WORKFLOWS, "w", "ns")
            await asyncio.sleep(SETTLED)
            assert not await _exists(of, "w-a-0")
            assert await _exists(of, "w-b-0"), "it is told to stop"
            if ends:
                await of.report("east", "w-b-0", phase="Failed")
                await _delete(of, "w-b-0")
                assert not await _exists(of, "w-b-0")
            else:  # its node is lost: what is left is the pod garbage collector's
                await asyncio.sleep(200.0)
                left = await of.users["east"].get(RAW_PODS, "w-b-0", "ns")
                assert "finalizers" not in left["metadata"]


async def test_pods_whose_workflow_was_deleted_while_no_controller_ran_are_released() -> None:
    async with far() as of:
        of.opener.interceptors["east"] = Link()
        async with of.controller(TO_EAST):
            await of.create("w", task("a"))
            await asyncio.sleep(SETTLED)
        await of.report("east", "w-a-0", phase="Succeeded")
        await of.user.delete(WORKFLOWS, "w", "ns")
        await _delete(of, "w-a-0")
        assert await _exists(of, "w-a-0")
        async with of.controller(TO_EAST):
            await asyncio.sleep(SETTLED)
            assert not await _exists(of, "w-a-0")


async def test_a_cluster_that_drains_holds_nothing_that_has_ended() -> None:
    async with far() as of, of.controller(TO_EAST) as controller:
        await of.create("ended", task("a"))
        await of.create("runs", task("a"), task("b"), **LINE)
        await asyncio.sleep(SETTLED)
        for name in ("ended", "runs"):
            await of.report("east", f"{name}-a-0", phase="Succeeded")
        await asyncio.sleep(SETTLED)
        controller.route_by(table(east="draining"))
        await asyncio.sleep(of.settings.checkpoint.max_lag + SETTLED)
        held = {name: pod["metadata"].get("finalizers", []) for name, pod in (await of.pods("east")).items()}
        assert held == {"ended-a-0": [], "runs-a-0": [], "runs-b-0": [HOLD_FINALIZER]}
        await of.report("east", "runs-b-0", phase="Succeeded")
        await asyncio.sleep(SETTLED)
        assert "finalizers" not in (await of.pods("east"))["runs-b-0"]["metadata"]


async def test_a_pod_that_is_deleted_while_its_cluster_cannot_be_asked_is_released_when_it_is_back() -> None:
    async with far(grace=20.0, unhealthy_after=5.0, healthy_after=5.0) as of:
        of.opener.interceptors["east"] = Link()
        async with of.controller(table(west="cordoned")) as controller:
            await of.create("w", task("a"))
            await asyncio.sleep(SETTLED)
            controller.route_by(table())
            of.servers["east"].stop()
            await asyncio.sleep(100.0)
            assert await _exists(of, "w-a-1", "west"), "it is tried elsewhere"
            of.servers["east"].start()
            await asyncio.sleep(60.0)
            assert "w-a-0" not in await of.pods("east"), "the one that was lost is told to stop"
            await of.report("east", "w-a-0", phase="Failed")
            await asyncio.sleep(of.settings.checkpoint.max_lag)
            await _delete(of, "w-a-0")
            assert not await _exists(of, "w-a-0")


async def test_finalizers_of_others_stay_and_the_setting_turns_ours_off() -> None:
    async with far() as of:
        async with of.controller(TO_EAST):
            await of.create("w", task("a"))
            await asyncio.sleep(SETTLED)
            finalizers = [HOLD_FINALIZER, "example.org/audit"]
            await of.users["east"].patch(RAW_PODS, "w-a-0", "ns", body={"metadata": {"finalizers": finalizers}})
            await of.report("east", "w-a-0", phase="Succeeded")
            await asyncio.sleep(SETTLED)
            await _delete(of, "w-a-0")
            pod = await of.users["east"].get(RAW_PODS, "w-a-0", "ns")
            assert pod["metadata"]["finalizers"] == ["example.org/audit"]
        settings = msgspec.structs.replace(of.settings, clusters=ClusterOptions(hold_pods=False))
        async with of.controller(TO_EAST, settings=settings):
            await of.create("v", task("a"))
            await asyncio.sleep(SETTLED)
            assert "finalizers" not in (await of.pods("east"))["v-a-0"]["metadata"]
