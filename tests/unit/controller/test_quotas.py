"""Pods that a ResourceQuota has no room for wait without a request, and are launched when there is room."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import orjson
import pytest

from propeller.config import ResourceOptions
from propeller.controller import WorkflowController
from propeller.embedded.server import Forward
from propeller.kube import NAMESPACES, RESOURCE_QUOTAS, Request, Response
from propeller.resourcemgr import Pool, Rule
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import TASK, graph, task

NODES = [task(f"n{number}") for number in range(5)]
CONTAINER: Any = TASK["container"]
CPU = {"container": {**CONTAINER, "resources": {"requests": [{"name": "CPU", "value": "500m"}]}}}


class _Link:
    """Counts creates of pods, and those that were refused; may hide quotas, or delay their events."""

    def __init__(self, *, hides: bool = False) -> None:
        self.creates = 0
        self.refused = 0
        self.hides = hides
        self.lag = 0.0
        self.adds = 0
        """Thousandths of a core that a webhook adds to each pod."""

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if self.hides and "/resourcequotas" in request.path:
            body = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "resourcequotas is forbidden: no"}
            return Response(status=403, body=orjson.dumps(body))
        if request.method != "POST" or not request.path.endswith("/pods"):
            return await forward(request)
        self.creates += 1
        if self.adds:
            pod = orjson.loads(request.body)
            sidecar = {"name": "s", "image": "i", "resources": {"requests": {"cpu": f"{self.adds}m"}}}
            pod["spec"]["containers"].append(sidecar)
            request = msgspec.structs.replace(request, body=orjson.dumps(pod))
        response = await forward(request)
        self.refused += response.status == 403
        return response

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if self.lag and "/resourcequotas" in request.path:
                await asyncio.sleep(self.lag)
            yield chunk


async def _limit(of: Bench, name: str = "q", spec: dict[str, Any] | None = None, /, **hard: str) -> None:
    hard = {key.replace("_", "."): value for key, value in hard.items()}
    body = {"metadata": {"name": name}, "spec": {"hard": hard, **(spec or {})}}
    await of.user.create(RESOURCE_QUOTAS, body, "ns")
    await asyncio.sleep(1.0)


async def _raise(of: Bench, **hard: str) -> None:
    hard = {key.replace("_", "."): value for key, value in hard.items()}
    await of.user.patch(RESOURCE_QUOTAS, "q", "ns", body={"spec": {"hard": hard}})
    await asyncio.sleep(1.0)


async def _create(of: Bench, name: str, *nodes: dict[str, Any], of_task: dict[str, Any] | None = None) -> None:
    resource = {"metadata": {"name": name}, "spec": graph(*nodes), "tasks": {"t": {**TASK, **(of_task or {})}}}
    await of.user.create(WORKFLOWS, resource, "ns")
    await asyncio.sleep(5.0)


async def _running(of: Bench) -> list[str]:
    pods = (await of.user.list(RAW_PODS, "ns")).items
    return sorted(pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") not in ("Succeeded", "Failed"))


async def _succeed(of: Bench, *pods: str) -> None:
    for pod in pods:
        await of.report(pod, phase="Succeeded")
    await asyncio.sleep(1.0)


async def test_what_waits_when_a_process_ends_is_launched_as_soon_as_another_one_starts_and_there_is_room() -> None:
    link = _Link()
    async with bench() as of:
        await _limit(of, pods="2")
        async with of.controller():
            await _create(of, "w", *NODES)
            assert await _running(of) == ["w-n0-0", "w-n1-0"]
        await _raise(of, pods="4")
        async with of.controller(link):
            await asyncio.sleep(2.0)
            assert await _running(of) == ["w-n0-0", "w-n1-0", "w-n2-0", "w-n3-0"]
            assert (link.creates, link.refused) == (2, 0)


async def test_at_a_full_quota_a_thousand_tasks_wait_without_a_request_and_go_on_as_pods_end() -> None:
    link = _Link()
    async with bench() as of, of.controller(link):
        await _limit(of, pods="10")
        await _create(of, "w", *[task(f"n{number}") for number in range(1000)])
        assert len(await _running(of)) == 10
        await asyncio.sleep(3600.0)
        assert (link.creates, link.refused) == (10, 0)
        for _ in range(5):
            await _succeed(of, *(await _running(of))[:3])
            assert len(await _running(of)) == 10
        assert link.refused == 0


async def test_a_node_says_which_quota_it_waits_for() -> None:
    async with bench() as of, of.controller():
        await _limit(of, requests_cpu="1")
        await _create(of, "w", *NODES, of_task=CPU)
        waits = {wait["node"]: wait["reason"] for wait in (await of.status())["waits"]}
        assert waits["n4"] == "waits for quota q: 1 of 1 requests.cpu used, and it needs 500m"


async def test_a_quota_that_is_raised_or_deleted_opens_at_once() -> None:
    async with bench() as of, of.controller():
        await _limit(of, pods="1")
        await _create(of, "w", *NODES)
        await _raise(of, pods="3")
        assert len(await _running(of)) == 3
        await of.user.delete(RESOURCE_QUOTAS, "q", "ns")
        await asyncio.sleep(1.0)
        assert len(await _running(of)) == 5


async def test_a_quota_that_appears_while_attempts_wait_and_run_is_kept() -> None:
    link = _Link()
    pools = ResourceOptions(pools=(Pool(name="db", capacity=3),), rules=(Rule(pools={"db": 1}),))
    async with bench(resources=pools) as of, of.controller(link):
        await _create(of, "w", *NODES)
        await _limit(of, pods="2")
        await _succeed(of, "w-n0-0")
        assert await _running(of) == ["w-n1-0", "w-n2-0"]
        assert link.refused == 0


async def test_an_attempt_that_only_waits_for_a_quota_holds_no_tokens() -> None:
    pools = ResourceOptions(pools=(Pool(name="db", capacity=3),), rules=(Rule(pools={"db": 1}),))
    async with bench(resources=pools) as of, of.controller():
        await _limit(of, pods="1")
        await of.user.create(NAMESPACES, {"metadata": {"name": "other"}})
        await _create(of, "w", *NODES)
        resource = {"metadata": {"name": "v"}, "spec": graph(*NODES), "tasks": {"t": TASK}}
        await of.user.create(WORKFLOWS, resource, "other")
        await asyncio.sleep(5.0)
        assert len(await _running(of)) == 1
        assert len((await of.user.list(RAW_PODS, "other")).items) == 2


async def test_an_attempt_that_waits_for_tokens_takes_no_room_in_a_quota() -> None:
    pools = ResourceOptions(pools=(Pool(name="db", capacity=1),), rules=(Rule(task_type="container", pools={"db": 1}),))
    async with bench(resources=pools) as of, of.controller():
        await _limit(of, pods="2")
        await _create(of, "w", *NODES, of_task={"type": "container"})
        await _create(of, "v", *NODES, of_task={"type": "raw-container"})
        assert await _running(of) == ["v-n0-0", "w-n0-0"]
        await _succeed(of, "w-n0-0")
        assert len(await _running(of)) == 2


async def test_a_task_that_is_larger_than_a_quota_fails_with_the_numbers() -> None:
    async with bench() as of, of.controller():
        await _limit(of, requests_cpu="200m")
        await _create(of, "w", task("a"), of_task=CPU)
        assert (await of.status())["waits"][0]["reason"] == (
            "waits for quota q: requests.cpu has 200m in all, and it needs 500m"
        )
        await asyncio.sleep(120.0)
        error = (await of.status())["error"]
        assert (error["code"], error["kind"]) == ("ResourceQuota", "USER")
        assert "it needs 500m of requests.cpu, and quota 'q' of its namespace never has more than 200m" in str(error)


async def test_a_quota_that_is_lowered_for_a_moment_fails_nothing() -> None:
    async with bench() as of, of.controller():
        await _limit(of, requests_cpu="200m")
        await _create(of, "w", task("a"), of_task=CPU)
        await asyncio.sleep(30.0)
        await _raise(of, requests_cpu="1")
        assert await _running(of) == ["w-a-0"]


async def test_a_namespace_that_is_closed_by_a_quota_of_no_pods_waits() -> None:
    link = _Link()
    async with bench() as of, of.controller(link):
        await _limit(of, pods="0")
        await _create(of, "w", task("a"))
        await asyncio.sleep(7200.0)
        assert link.creates == 0
        await _raise(of, pods="1")
        assert await _running(of) == ["w-a-0"]


async def test_what_a_webhook_adds_is_learned_from_the_first_refusal() -> None:
    link = _Link()
    link.adds = 400
    async with bench() as of, of.controller(link):
        await _limit(of, requests_cpu="1")
        await _create(of, "w", *NODES, of_task=CPU)
        first = link.refused
        assert len(await _running(of)) == 1
        assert first <= 4
        await asyncio.sleep(1800.0)
        assert link.refused == first
        await _succeed(of, *await _running(of))
        assert len(await _running(of)) == 1


async def test_a_late_status_leads_to_few_refusals_and_to_no_unused_room() -> None:
    link = _Link()
    link.lag = 20.0
    async with bench() as of, of.controller(link):
        await _limit(of, pods="2")
        await asyncio.sleep(60.0)
        await _create(of, "w", *[task(f"n{number}") for number in range(50)])
        await asyncio.sleep(300.0)
        before = link.refused
        assert len(await _running(of)) == 2
        assert before <= 10
        await _succeed(of, *await _running(of))
        await asyncio.sleep(120.0)
        assert len(await _running(of)) == 2


async def test_others_who_take_of_the_quota_are_counted() -> None:
    link = _Link()
    async with bench() as of, of.controller(link):
        await _limit(of, pods="3")
        for name in ("x", "y"):
            pod = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
            await of.user.create(RAW_PODS, pod, "ns")
        await _create(of, "w", *NODES)
        assert [name for name in await _running(of) if name.startswith("w")] == ["w-n0-0"]
        await of.user.delete(RAW_PODS, "x", "ns", grace_seconds=0)
        await asyncio.sleep(1.0)
        assert len(await _running(of)) == 3
        assert link.refused == 0


async def test_a_quota_of_another_scope_limits_nothing() -> None:
    async with bench() as of, of.controller():
        await _limit(of, "q", {"scopes": ["Terminating"]}, pods="0")
        await _create(of, "w", *NODES)
        assert len(await _running(of)) == 5


async def test_an_aborted_workflow_waits_no_more_and_its_room_is_anothers() -> None:
    async with bench() as of, of.controller():
        await _limit(of, pods="2")
        await _create(of, "w", *NODES)
        await _create(of, "v", *NODES)
        await of.user.delete(WORKFLOWS, "w", "ns")
        await asyncio.sleep(60.0)
        assert await _running(of) == ["v-n0-0", "v-n1-0"]


async def test_who_may_not_read_quotas_is_told_once_what_to_grant(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    link = _Link(hides=True)
    async with bench() as of, of.controller(link):
        await _limit(of, pods="1")
        await _create(of, "w", *NODES)
        assert len(await _running(of)) == 1
    told = [record.getMessage() for record in caplog.records if "grant list and watch" in record.getMessage()]
    assert len(told) == 1
    assert "ResourceQuotas are not followed" in told[0]


def _bound(controller: WorkflowController, **bounds: dict[str, str]) -> None:
    """As its informer does: the embedded server keeps no limit ranges."""
    launches = controller._clusters.control.launches
    assert launches is not None
    launches.limit_range_changed("ns", "bounds", {"spec": {"limits": [{"type": "Container", **bounds}]}})


async def test_a_pod_that_a_limit_range_never_allows_fails_at_once_with_the_numbers() -> None:
    link = _Link()
    async with bench() as of, of.controller(link) as controller:
        _bound(controller, max={"cpu": "250m"})
        await _create(of, "w", task("a"), of_task=CPU)
        status = await of.user.get(WORKFLOWS, "w", "ns")
        assert status["status"]["phase"] == 5
        error = status["status"]["error"]
        assert (error["code"], error["kind"]) == ("LimitRange", "USER")
        assert "has a request of 500m cpu, and at most 250m is allowed in LimitRange 'bounds'" in error["message"]
        assert link.creates == 0


async def test_what_a_limit_range_allows_waits_for_the_quota_beside_it() -> None:
    async with bench() as of, of.controller() as controller:
        _bound(controller, max={"cpu": "1"})
        await _limit(of, requests_cpu="1")
        await _create(of, "w", *NODES, of_task=CPU)
        assert len(await _running(of)) == 2
        assert {wait["reason"].partition(":")[0] for wait in (await of.status())["waits"]} == {"waits for quota q"}


async def test_one_that_waits_for_a_quota_fails_soon_if_a_limit_range_comes_that_never_allows_it() -> None:
    async with bench() as of, of.controller() as controller:
        await _limit(of, pods="0")
        await _create(of, "w", task("a"), of_task=CPU)
        _bound(controller, max={"cpu": "250m"})
        await asyncio.sleep(60.0)
        assert (await of.status())["error"]["code"] == "LimitRange"


async def test_tenants_that_share_a_namespace_take_turns_at_its_quota() -> None:
    link = _Link()
    async with bench() as of, of.controller(link):
        await _limit(of, pods="4")
        for name, project, nodes in (("flood", "many", 300), ("small", "one", 3)):
            labels = {"project": project, "domain": "production"}
            spec = graph(*[task(f"n{number}") for number in range(nodes)])
            body = {"metadata": {"name": name, "labels": labels}, "spec": spec, "tasks": {"t": TASK}}
            await of.user.create(WORKFLOWS, body, "ns")
            await asyncio.sleep(2.0)
        for _ in range(2):
            await _succeed(of, *await _running(of))
        ran = [pod["metadata"]["name"] for pod in (await of.user.list(RAW_PODS, "ns")).items]
        assert len([name for name in ran if name.startswith("small-")]) == 3, ran
        assert link.refused == 0
        assert of.measured("propeller_quota_wait_seconds_count", tenant="(others)") == 8
        assert of.measured("propeller_launches_waiting", namespace="ns", limit="quota") == 300 - 9


@pytest.mark.parametrize("seed", range(6))
async def test_an_attempt_that_needs_a_scarce_pool_and_a_scarce_quota_meets_both_soon(seed: int) -> None:
    """Others need only one of the two, and there are always some that wait for it."""
    draw = random.Random(seed)
    pools = ResourceOptions(pools=(Pool(name="db", capacity=2),))
    wants = {"metadata": {"metadata": {"annotations": {"propeller/pools": "db"}}}}
    async with bench(resources=pools) as of, of.controller():
        await of.user.create(NAMESPACES, {"metadata": {"name": "free"}})
        await _limit(of, pods="2")

        async def create(namespace: str, name: str, nodes: int, **of_task: Any) -> None:
            spec = graph(*[task(f"n{number}") for number in range(nodes)])
            metadata = {"name": name, "labels": {"project": name, "domain": "production"}}
            body = {"metadata": metadata, "spec": spec, "tasks": {"t": {**TASK, **of_task}}}
            await of.user.create(WORKFLOWS, body, namespace)
            await asyncio.sleep(1.0)

        await create("free", "pool", 300, **wants)
        await create("ns", "quota", 300)
        await create("ns", "both", 1, **wants)
        ended: Counter[str] = Counter()
        while not await of.has_pod("both-n0-0"):
            namespace = draw.choice(("ns", "free"))
            pods = (await of.user.list(RAW_PODS, namespace)).items
            alive = [pod for pod in pods if pod["status"].get("phase") != "Succeeded"]
            if not alive:
                await asyncio.sleep(0.1)
                continue
            body = {"status": {"phase": "Succeeded"}}
            name = draw.choice(alive)["metadata"]["name"]
            await of.user.patch(RAW_PODS, name, namespace, body=body, subresource="status")
            await asyncio.sleep(draw.choice((0.0, 0.2, 5.0)))
            ended[namespace] += 1
            assert ended.total() <= 60, ended
