"""Executions whose pods Kueue admits: they wait in its queue, and its evictions cost their tasks nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import orjson
import pytest

from propeller.config import KueueOptions, KueueQueue
from propeller.embedded.server import Forward
from propeller.kube import Request, Response
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import task

QUEUE = "team-ml"
OPTIONS = KueueOptions(queues=(KueueQueue(queue=QUEUE),))
GATE, MANAGED, LABEL = "kueue.x-k8s.io/admission", "kueue.x-k8s.io/managed", "kueue.x-k8s.io/queue-name"
TIMED = {"executionDeadline": "60s"}


class _Webhook:
    """Changes pods as Kueue's mutating webhook does."""

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method == "POST" and request.path.endswith("/pods"):
            pod = orjson.loads(request.body)
            if LABEL in pod["metadata"]["labels"]:
                pod["metadata"]["labels"][MANAGED] = "true"
                pod["metadata"].setdefault("finalizers", []).append(MANAGED)
                pod["spec"].setdefault("schedulingGates", []).append({"name": GATE})
                request = msgspec.structs.replace(request, body=orjson.dumps(pod))
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def _admit(of: Bench, pod: str) -> None:
    """Remove the gate, as Kueue does, and assign a machine, as the scheduler does."""
    await of.user.patch(RAW_PODS, pod, "ns", body={"spec": {"schedulingGates": None}})
    await asyncio.sleep(1.0)


async def _evict(of: Bench, pod: str) -> None:
    """Mark and delete the pod, and remove the finalizer, as Kueue does; a kubelet reports that it was killed."""
    condition = {"type": "TerminationTarget", "status": "True", "reason": "WorkloadEvicted", "message": "preempted"}
    await of.report(pod, conditions=[condition])
    await of.user.delete(RAW_PODS, pod, "ns")
    await of.report(pod, phase="Failed", containerStatuses=[_killed(pod)])
    await asyncio.sleep(1.0)
    await _finalize(of, pod)


async def _finalize(of: Bench, pod: str) -> None:
    await of.user.patch(RAW_PODS, pod, "ns", body={"metadata": {"finalizers": None}})
    await asyncio.sleep(5.0)


def _killed(name: str) -> dict[str, Any]:
    return {"name": name, "state": {"terminated": {"exitCode": 143, "reason": "Error"}}}


async def _succeed(of: Bench, pod: str) -> None:
    await of.report(pod, phase="Succeeded")
    await asyncio.sleep(5.0)


async def test_a_pod_in_kueues_queue_waits_for_as_long_as_it_takes_and_says_so() -> None:
    async with bench(kueue=OPTIONS) as of, of.controller(_Webhook()):
        await of.create(task("a", **TIMED))
        await asyncio.sleep(24 * 3600.0)
        status = await of.status()
        (wait,) = status["waits"]
        assert (status["state"], wait["node"], wait["reason"]) == (
            "Running",
            "a",
            f"waits for Kueue: LocalQueue {QUEUE}",
        )
        assert status["message"] == f"a waits for Kueue: LocalQueue {QUEUE}, since {wait['since']}"
        await _admit(of, "w-a-0")
        await _succeed(of, "w-a-0")
        status = await of.status()
        assert (status["state"], status.get("waits"), status.get("message")) == ("Succeeded", None, None)


async def test_an_attempts_time_begins_when_kueue_admits_its_pod() -> None:
    async with bench(kueue=OPTIONS) as of, of.controller(_Webhook()):
        await of.create(task("a", **TIMED))
        await asyncio.sleep(600.0)
        await _admit(of, "w-a-0")
        await asyncio.sleep(2.0)
        assert (await of.status()).get("waits") is None, "it was released, and is not running yet"
        await asyncio.sleep(50.0)
        assert (await of.status())["state"] == "Running"
        await asyncio.sleep(60.0)
        assert (await of.status())["error"]["code"] == "TimeoutExpired"


@pytest.mark.parametrize("after", [0.0, 0.01, 0.03, 0.05, 0.08, 0.12])
async def test_a_pod_that_is_admitted_before_its_wait_was_noted_does_not_wait_for_ever(after: float) -> None:
    async with bench(kueue=OPTIONS) as of, of.controller(_Webhook()):
        await of.create(task("a", **TIMED))
        while not (await of.user.list(RAW_PODS, "ns")).items:
            await asyncio.sleep(0.001)
        await asyncio.sleep(after)
        await _admit(of, "w-a-0")
        await asyncio.sleep(10.0)
        assert (await of.status()).get("waits") is None
        await asyncio.sleep(60.0)
        assert (await of.status())["error"]["code"] == "TimeoutExpired"


async def test_a_controller_that_starts_while_a_pod_waits_counts_none_of_that_time() -> None:
    async with bench(kueue=OPTIONS) as of:
        async with of.controller(_Webhook()):
            await of.create(task("a", **TIMED))
            await asyncio.sleep(600.0)
        async with of.controller(_Webhook()):
            await asyncio.sleep(600.0)
            assert (await of.status())["waits"][0]["reason"].startswith("waits for Kueue")
        await _admit(of, "w-a-0")
        await of.report("w-a-0", phase="Running")
        async with of.controller(_Webhook()):
            await asyncio.sleep(30.0)
            await _succeed(of, "w-a-0")
            assert (await of.status())["state"] == "Succeeded"


async def test_evictions_by_kueue_use_up_no_retry_of_the_task_and_none_of_the_systems() -> None:
    async with bench(kueue=OPTIONS) as of, of.controller(_Webhook()):
        await of.create(task("a"))
        await asyncio.sleep(5.0)
        for attempt in range(6):  # more than attempts.system_retries allows
            await _admit(of, f"w-a-{attempt}")
            await of.report(f"w-a-{attempt}", phase="Running")
            await asyncio.sleep(1.0)
            await _evict(of, f"w-a-{attempt}")
        for attempt in range(6, 9):  # as many as it allows, of another kind
            await _admit(of, f"w-a-{attempt}")
            await of.report(f"w-a-{attempt}", phase="Failed", reason="Evicted", message="the node was low on memory")
            await asyncio.sleep(60.0)
        await _admit(of, "w-a-9")
        await _succeed(of, "w-a-9")
        assert (await of.status())["state"] == "Succeeded"


async def test_a_restart_remembers_that_evictions_cost_nothing() -> None:
    async with bench(kueue=OPTIONS) as of:
        async with of.controller(_Webhook()):
            await of.create(task("a"))
            await asyncio.sleep(5.0)
            for attempt in range(4):
                await _admit(of, f"w-a-{attempt}")
                await _evict(of, f"w-a-{attempt}")
        async with of.controller(_Webhook()):
            await asyncio.sleep(5.0)
            await _admit(of, "w-a-4")
            await of.report("w-a-4", phase="Failed", reason="Evicted", message="the node was low on memory")
            await asyncio.sleep(60.0)
            await _admit(of, "w-a-5")
            await _succeed(of, "w-a-5")
            assert (await of.status())["state"] == "Succeeded"


async def test_a_task_that_fails_by_itself_after_an_eviction_has_all_its_retries() -> None:
    async with bench(kueue=OPTIONS) as of, of.controller(_Webhook()):
        await of.create(task("a", retry={"minAttempts": 2}))
        await asyncio.sleep(5.0)
        await _admit(of, "w-a-0")
        await _evict(of, "w-a-0")
        for attempt in (1, 2):
            await _admit(of, f"w-a-{attempt}")
            await of.report(f"w-a-{attempt}", phase="Failed", containerStatuses=[_exited(f"w-a-{attempt}")])
            await asyncio.sleep(5.0)
        status = await of.status()
        assert (status["state"], status["error"]["kind"]) == ("Failed", "USER")
        assert not await of.has_pod("w-a-3")


def _exited(name: str) -> dict[str, Any]:
    return {"name": name, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}


async def test_a_pod_that_is_deleted_in_the_queue_is_made_again_though_kueue_keeps_its_finalizer() -> None:
    async with bench(kueue=OPTIONS) as of, of.controller(_Webhook()):
        await of.create(task("a"))
        await asyncio.sleep(5.0)
        await of.user.delete(RAW_PODS, "w-a-0", "ns")
        await asyncio.sleep(5.0)
        assert list(await of.pods()) == ["w-a-1"], "nothing of the first had begun, and nothing will"
        await _admit(of, "w-a-1")
        await _succeed(of, "w-a-1")
        assert (await of.status())["state"] == "Succeeded"


@pytest.mark.parametrize("admitted", [True, False])
async def test_an_abort_does_not_wait_for_kueues_finalizers(admitted: bool) -> None:
    async with bench(kueue=OPTIONS) as of, of.controller(_Webhook()):
        body = {"metadata": {"finalizers": ["flyte.org/finalizer"]}}
        await of.create(task("a"))
        await of.user.patch(WORKFLOWS, "w", "ns", body=body)
        await asyncio.sleep(5.0)
        if admitted:
            await _admit(of, "w-a-0")
        await of.user.delete(WORKFLOWS, "w", "ns")
        if admitted:  # a kubelet ends it, and Kueue is down
            await asyncio.sleep(5.0)
            await of.report("w-a-0", phase="Failed", containerStatuses=[_killed("w-a-0")])
        await asyncio.sleep(10.0)
        assert not (await of.user.list(WORKFLOWS, "ns")).items
        await _finalize(of, "w-a-0")
        assert not (await of.user.list(RAW_PODS, "ns")).items


async def test_gates_of_others_are_waited_for_by_name() -> None:
    class Gates(_Webhook):
        async def exchange(self, request: Request, forward: Forward) -> Response:
            if request.method == "POST" and request.path.endswith("/pods"):
                pod = orjson.loads(request.body)
                pod["spec"]["schedulingGates"] = [{"name": "example.com/quota"}]
                request = msgspec.structs.replace(request, body=orjson.dumps(pod))
            return await forward(request)

    async with bench() as of, of.controller(Gates()):
        await of.create(task("a", **TIMED))
        await asyncio.sleep(600.0)
        assert (await of.status())["waits"][0]["reason"] == "waits for scheduling gates: example.com/quota"
        assert LABEL not in (await of.pods())["w-a-0"]["metadata"]["labels"]
