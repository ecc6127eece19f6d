"""Flyte's finalizers are removed once an execution has ended and its pods have stopped; those of others stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from propeller.config import ControllerOptions
from propeller.embedded.server import Forward
from propeller.errors import NotFound
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Raw, Request, Response
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench, scheduled
from tests.unit.workflow.drive import TASK, graph, task

FLYTE = "flyte.org/finalizer"
OLD = "flyte-finalizer"
OTHERS = "example.org/audit"


class _Link:
    """Notes what is patched; binds each pod to a node: from then on its end is the kubelet's to tell."""

    def __init__(self) -> None:
        self.patches: list[str] = []

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method == "PATCH":
            self.patches.append(request.path)
        if request.method == "POST" and request.path.endswith("/pods"):
            request = scheduled(request)
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def create(of: Bench, *finalizers: str, **fields: Any) -> Raw:
    body = {"metadata": {"name": "w", "finalizers": list(finalizers)}, "spec": graph(task("a")), "tasks": {"t": TASK}}
    return await of.user.create(WORKFLOWS, body | fields, "ns")


async def finalizers(of: Bench) -> list[str] | None:
    """None: the object is gone."""
    try:
        found: list[str] = (await of.user.get(WORKFLOWS, "w", "ns"))["metadata"].get("finalizers", [])
    except NotFound:
        return None
    return found


async def dies(of: Bench, pod: str = "w-a-0") -> None:
    """The kubelet has ended the containers of a pod that was told to stop, and lets it go."""
    await of.report(pod, phase="Failed")
    await asyncio.sleep(1.0)
    await of.user.delete(RAW_PODS, pod, "ns", grace_seconds=0)


async def without_subresource(of: Bench) -> None:
    """The resource type as Flyte's own chart installs it."""
    body = {"spec": {"versions": None}}
    crd = await of.user.get(CUSTOM_RESOURCE_DEFINITIONS, "flyteworkflows.flyte.lyft.com")
    versions = crd["spec"]["versions"]
    del versions[0]["subresources"]
    body["spec"]["versions"] = versions
    await of.user.patch(CUSTOM_RESOURCE_DEFINITIONS, "flyteworkflows.flyte.lyft.com", body=body)


async def test_a_workflow_that_is_deleted_in_flight_is_aborted_stopped_and_then_gone() -> None:
    async with bench() as of, of.controller(_Link()):
        await create(of, FLYTE)
        await asyncio.sleep(5.0)
        await of.report("w-a-0", phase="Running")
        await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
        await asyncio.sleep(10.0)
        assert (await of.status())["state"] == "Aborted"
        assert await finalizers(of) == [FLYTE], "its pod still runs"
        await dies(of)
        await asyncio.sleep(5.0)
        assert await finalizers(of) is None


@pytest.mark.parametrize("name", [FLYTE, OLD])
async def test_an_execution_that_ends_is_released_and_others_finalizers_stay(name: str) -> None:
    async with bench() as of, of.controller(_Link()):
        await create(of, "example.org/first", name, OTHERS)
        await asyncio.sleep(5.0)
        await of.report("w-a-0", phase="Succeeded")
        await asyncio.sleep(10.0)
        assert (await of.status())["state"] == "Succeeded"
        assert await finalizers(of) == ["example.org/first", OTHERS]


async def test_an_ended_execution_without_one_of_flytes_is_not_written_again() -> None:
    log = _Link()
    async with bench() as of, of.controller(log):
        await create(of, OTHERS)
        await asyncio.sleep(5.0)
        await of.report("w-a-0", phase="Succeeded")
        await asyncio.sleep(10.0)
        assert await finalizers(of) == [OTHERS]
        assert all(path.endswith("/status") for path in log.patches)


async def test_without_a_status_subresource_the_release_is_part_of_the_last_status() -> None:
    log = _Link()
    async with bench(max_lag=60.0) as of:
        await without_subresource(of)
        async with of.controller(log):
            await create(of, FLYTE, OTHERS)
            await asyncio.sleep(5.0)
            await of.report("w-a-0", phase="Succeeded")
            await asyncio.sleep(10.0)
            assert (await of.status())["state"] == "Succeeded"
            assert await finalizers(of) == [OTHERS]
            assert len(log.patches) == 1


async def test_without_a_status_subresource_it_still_waits_for_a_pod_that_runs() -> None:
    async with bench() as of:
        await without_subresource(of)
        async with of.controller(_Link()):
            await create(of, FLYTE)
            await asyncio.sleep(5.0)
            await of.report("w-a-0", phase="Running")
            await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
            await asyncio.sleep(10.0)
            assert await finalizers(of) == [FLYTE]
            await dies(of)
            await asyncio.sleep(5.0)
            assert await finalizers(of) is None


async def test_a_rejected_one_is_released_also_if_its_end_is_seen_before_the_write_is_answered() -> None:
    class Late(_Link):
        async def exchange(self, request: Request, forward: Forward) -> Response:
            response = await super().exchange(request, forward)
            if request.path.endswith("/status"):
                await asyncio.sleep(1.0)
            return response

    async with bench() as of, of.controller(Late()):
        await create(of, FLYTE, OTHERS, tasks={})
        await asyncio.sleep(10.0)
        assert (await of.status())["state"] == "Failed"
        assert await finalizers(of) == [OTHERS]


async def test_a_finalizer_that_somebody_adds_meanwhile_is_kept() -> None:
    async with bench(max_lag=60.0) as of:
        await without_subresource(of)
        async with of.controller(_Link()):
            await create(of, FLYTE)
            await asyncio.sleep(5.0)
            await of.user.patch(WORKFLOWS, "w", "ns", body={"metadata": {"finalizers": [FLYTE, OTHERS]}})
            await of.report("w-a-0", phase="Succeeded")
            await asyncio.sleep(10.0)
            assert await finalizers(of) == [OTHERS]


async def test_one_that_cannot_run_is_released_too() -> None:
    async with bench() as of, of.controller(_Link()):
        await create(of, FLYTE, tasks={})
        await asyncio.sleep(10.0)
        assert (await of.status())["error"]["code"] == "BadWorkflow"
        assert await finalizers(of) == []


async def test_one_that_is_deleted_before_it_was_seen_launches_nothing() -> None:
    async with bench() as of:
        await create(of, FLYTE)
        await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
        async with of.controller(_Link()):
            await asyncio.sleep(10.0)
            assert await finalizers(of) is None
            assert not await of.pods()


async def test_one_that_ended_while_no_controller_ran_is_released_when_one_starts() -> None:
    async with bench() as of:
        await create(of, FLYTE)
        await of.user.patch(WORKFLOWS, "w", "ns", body={"status": {"phase": 5}}, subresource="status")
        async with of.controller(_Link()):
            await asyncio.sleep(5.0)
            assert await finalizers(of) == []


async def test_what_flyteadmin_made_is_collected_when_its_time_is_over() -> None:
    async with bench() as plain:
        settings = msgspec.structs.replace(plain.settings, controller=ControllerOptions(ttl=60.0))
        of = Bench(plain.user, plain.clock, plain.server, plain.storage, settings)
        async with of.controller(_Link()):
            await create(of, FLYTE)
            await asyncio.sleep(5.0)
            await of.report("w-a-0", phase="Succeeded")
            await asyncio.sleep(120.0)
            assert await finalizers(of) is None


async def test_a_pod_whose_node_is_lost_holds_its_workflow_for_a_minute_past_its_grace() -> None:
    async with bench() as of, of.controller(_Link()):
        await create(of, FLYTE)
        await asyncio.sleep(5.0)
        await of.report("w-a-0", phase="Running")
        await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
        await asyncio.sleep(80.0)
        assert await finalizers(of) == [FLYTE]
        await asyncio.sleep(30.0)
        assert await finalizers(of) is None


@pytest.mark.parametrize("name", ["flyte.org/finalizer-k8s", "flyte.org/finalizer-array", "flyte/flytek8s"])
async def test_finalizers_that_flytepropeller_injected_into_pods_are_removed_at_the_end(name: str) -> None:
    async with bench() as of, of.controller(_Link()):
        await create(of, FLYTE)
        await asyncio.sleep(5.0)
        await of.user.patch(RAW_PODS, "w-a-0", "ns", body={"metadata": {"finalizers": [name, OTHERS]}})
        await of.report("w-a-0", phase="Succeeded")
        await asyncio.sleep(10.0)
        pod = await of.user.get(RAW_PODS, "w-a-0", "ns")
        assert pod["metadata"]["finalizers"] == [OTHERS]
        assert await finalizers(of) == []


async def test_a_namespace_with_running_workflows_can_be_deleted() -> None:
    async with bench() as of, of.controller():
        await create(of, FLYTE)
        await asyncio.sleep(5.0)
        await of.user.delete(NAMESPACES, "ns")
        await asyncio.sleep(300.0)
        with pytest.raises(NotFound):
            await of.user.get(NAMESPACES, "ns")


class _Busy(_Link):
    """A server under load: patches are answered late, and what happens to workflows is told later than that."""

    def __init__(self) -> None:
        super().__init__()
        self.conflicts = 0

    async def exchange(self, request: Request, forward: Forward) -> Response:
        response = await super().exchange(request, forward)
        if request.method == "PATCH":
            await asyncio.sleep(0.5)
        self.conflicts += response.status == 409
        return response

    async def _late(self, chunks: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            await asyncio.sleep(seconds)
            yield chunk

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self._late(chunks, 2.0) if "flyteworkflows" in request.path else chunks


async def test_events_of_pods_meanwhile_lead_to_no_second_release() -> None:
    """Found on a real API server: the pod that is released has an event, and the second release conflicted."""
    link = _Busy()
    async with bench() as of, of.controller(link):
        await create(of, FLYTE)
        await asyncio.sleep(10.0)
        await of.user.patch(RAW_PODS, "w-a-0", "ns", body={"metadata": {"finalizers": ["flyte.org/finalizer-k8s"]}})
        await of.report("w-a-0", phase="Succeeded")
        for number in range(40):
            await asyncio.sleep(0.3)
            await of.user.patch(RAW_PODS, "w-a-0", "ns", body={"metadata": {"annotations": {"n": str(number)}}})
        await asyncio.sleep(10.0)
        assert await finalizers(of) == []
        assert link.conflicts == 0
        assert len([path for path in link.patches if path.endswith("/flyteworkflows/w")]) == 1


async def test_a_finalizer_that_somebody_puts_back_is_removed_again() -> None:
    async with bench() as of, of.controller(_Link()):
        await create(of, FLYTE)
        await asyncio.sleep(5.0)
        await of.report("w-a-0", phase="Succeeded")
        await asyncio.sleep(5.0)
        assert await finalizers(of) == []
        await of.user.patch(WORKFLOWS, "w", "ns", body={"metadata": {"finalizers": [FLYTE, OTHERS]}})
        await asyncio.sleep(60.0)
        assert await finalizers(of) == [OTHERS]
