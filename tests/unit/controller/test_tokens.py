"""Limits on what runs at once: launches wait for tokens without a request, and get them fairly and at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from propeller.config import ResourceOptions
from propeller.controller import WorkflowController
from propeller.embedded.server import Forward
from propeller.errors import Invalid, Unavailable
from propeller.kube import NAMESPACES, Raw, Request, Resource, Response
from propeller.resourcemgr import Pool, Rule, Tenant
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import TASK, graph, task

DB = Pool(name="db", capacity=2)
EVERY_TASK = ResourceOptions(pools=(DB,), rules=(Rule(pools={"db": 1}),))
QUOTAS: Resource[Raw] = Resource(
    group="", version="v1", kind="ResourceQuota", plural="resourcequotas", type=dict[str, Any]
)
NODES = [task(f"n{number}") for number in range(5)]


class _Link:
    """Counts creates of pods; answers them as `fails` says, after they were done if `is_late`."""

    def __init__(self) -> None:
        self.is_deaf = False  # to events of pods
        self.creates: list[str] = []
        self.fails: Exception | None = None
        self.fails_for = b""
        self.is_late = False

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method != "POST" or not request.path.endswith("/pods"):
            return await forward(request)
        self.creates.append(request.path)
        if self.fails is not None and not self.is_late and self.fails_for in request.body:
            raise self.fails
        response = await forward(request)
        if self.fails is not None:
            raise self.fails
        return response

    async def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if not (self.is_deaf and request.path.endswith("/pods")):
                yield chunk


async def _create(
    of: Bench, name: str, *nodes: dict[str, Any], of_task: dict[str, Any] = TASK, **metadata: Any
) -> None:
    resource = {"metadata": {"name": name, **metadata}, "spec": graph(*nodes), "tasks": {"t": of_task}}
    await of.user.create(WORKFLOWS, resource, "ns")
    await asyncio.sleep(5.0)


async def _succeed(of: Bench, *pods: str) -> None:
    for pod in pods:
        await of.report(pod, phase="Succeeded")
    await asyncio.sleep(5.0)


async def _running(of: Bench) -> list[str]:
    pods = (await of.user.list(RAW_PODS, "ns")).items
    return sorted(
        pod["metadata"]["name"] for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    )


async def test_no_more_attempts_run_than_a_pool_has_tokens_and_those_that_wait_cost_no_request() -> None:
    link = _Link()
    async with bench(resources=EVERY_TASK) as of, of.controller(link):
        await _create(of, "w", *NODES)
        assert await _running(of) == ["w-n0-0", "w-n1-0"]
        await asyncio.sleep(3600.0)
        assert len(link.creates) == 2
        await _succeed(of, "w-n0-0")
        assert await _running(of) == ["w-n1-0", "w-n2-0"]
        for first in range(1, 5):
            await _succeed(of, f"w-n{first}-0")
        assert (await of.status())["counts"]["succeeded"] >= 5 or (await of.status())["state"] == "Succeeded"
        assert len(link.creates) == 5


async def test_a_node_says_what_it_waits_for() -> None:
    async with bench(resources=EVERY_TASK) as of, of.controller():
        await _create(of, "w", *NODES, labels={"project": "ml", "domain": "production"})
        waits = {wait["node"]: wait["reason"] for wait in (await of.status())["waits"]}
        assert waits["n4"] == "waits for db: 2 of 2 held, 3rd of ml/production"
        version = (await of.user.get(WORKFLOWS, "w", "ns"))["metadata"]["resourceVersion"]
        await _create(of, "v", *NODES)
        await asyncio.sleep(600.0)
        assert (await of.user.get(WORKFLOWS, "w", "ns"))["metadata"]["resourceVersion"] == version, "nothing is new"


async def test_tenants_take_turns_by_weight_whoever_came_first() -> None:
    weighted = ResourceOptions(
        pools=(Pool(name="db", capacity=6),), rules=(Rule(pools={"db": 1}),), tenants=(Tenant(name="b", weight=2.0),)
    )
    async with bench(resources=weighted) as of, of.controller():
        await _create(of, "flood", *[task(f"n{number}") for number in range(40)], labels={"project": "a"})
        await _create(of, "small", *[task(f"n{number}") for number in range(40)], labels={"project": "b"})
        for _ in range(6):
            await _succeed(of, (await _running(of))[0])
        running = await _running(of)
        assert sum(name.startswith("small") for name in running) == 4


async def test_a_task_takes_what_its_author_wants() -> None:
    wants = {**TASK, "metadata": {"metadata": {"annotations": {"propeller/pools": "db=2"}}}}
    async with bench(resources=ResourceOptions(pools=(DB,))) as of, of.controller():
        await _create(of, "w", *NODES, of_task=wants)
        assert await _running(of) == ["w-n0-0"]
        pod = await of.user.get(RAW_PODS, "w-n0-0", "ns")
        assert pod["metadata"]["annotations"]["propeller/pools"] == "db=2"


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        ("nope=1", "'nope' is no pool; known are db"),
        ("db=3", "needs 3 tokens of pool 'db', which never has more than 2"),
        ("db=-1", "'db=-1' is no pool with a number"),
    ],
)
async def test_what_can_never_be_granted_fails_the_task_for_its_author(wanted: str, word: str) -> None:
    async with bench(resources=ResourceOptions(pools=(DB,))) as of, of.controller():
        await _create(of, "w", task("a"), annotations={"propeller/pools": wanted})
        error = (await of.status())["error"]
        assert (error["code"], error["kind"]) == ("ResourceLimit", "USER")
        assert word in error["message"]


async def test_what_runs_when_a_process_starts_is_counted_before_anything_is_launched() -> None:
    async with bench(resources=EVERY_TASK) as of:
        async with of.controller():
            await _create(of, "w", *NODES)
        async with of.controller():
            await _create(of, "v", *NODES)
            assert await _running(of) == ["w-n0-0", "w-n1-0"]
            await _succeed(of, "w-n0-0", "w-n1-0")
            assert len(await _running(of)) == 2


async def test_an_attempt_that_is_granted_while_its_execution_is_being_loaded_keeps_its_tokens_and_its_place() -> None:
    async with bench(resources=EVERY_TASK) as of, of.controller() as controller:
        await _create(of, "w", *NODES[:2])
        await _create(of, "v", *NODES[:2])
        await _create(of, "u", *NODES[:2])
        session = controller._executions.get("ns/v")
        assert session is not None
        controller._executions.reload(session, "999999")  # somebody has written its status, which the cache lacks yet
        await _succeed(of, "w-n0-0", "w-n1-0")
        assert not await _running(of), "v has them, whose turn it was"
        controller._executions.caught_up("ns/v")
        controller._executions.reconcile("ns/v")
        await asyncio.sleep(1.0)
        assert await _running(of) == ["v-n0-0", "v-n1-0"]


async def test_what_waits_when_a_process_ends_is_launched_as_soon_as_another_one_starts_and_has_tokens() -> None:
    link = _Link()
    async with bench(resources=EVERY_TASK) as of:
        async with of.controller():
            await _create(of, "w", *NODES)
        for pod in ("w-n0-0", "w-n1-0"):
            await of.report(pod, phase="Succeeded")
        async with of.controller(link):
            await asyncio.sleep(2.0)
            assert await _running(of) == ["w-n2-0", "w-n3-0"]
            await _succeed(of, "w-n2-0")
            assert await _running(of) == ["w-n3-0", "w-n4-0"]
            assert len(link.creates) == 3


async def test_a_workflow_that_is_aborted_gives_back_what_it_holds_and_waits_no_more() -> None:
    async with bench(resources=EVERY_TASK) as of, of.controller():
        await _create(of, "w", *NODES)
        await _create(of, "v", *NODES)
        await of.user.delete(WORKFLOWS, "w", "ns")
        await asyncio.sleep(60.0)
        assert await _running(of) == ["v-n0-0", "v-n1-0"]


async def test_a_create_that_is_refused_gives_its_tokens_back() -> None:
    link = _Link()
    one = ResourceOptions(pools=(Pool(name="db", capacity=1),), rules=(Rule(pools={"db": 1}),))
    async with bench(resources=one) as of, of.controller(link):
        await of.user.create(QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}}, "ns")
        await _create(of, "w", task("a"))
        await of.user.create(NAMESPACES, {"metadata": {"name": "other"}})
        resource = {"metadata": {"name": "v"}, "spec": graph(task("a")), "tasks": {"t": TASK}}
        await of.user.create(WORKFLOWS, resource, "other")
        await asyncio.sleep(5.0)
        assert [pod["metadata"]["name"] for pod in (await of.user.list(RAW_PODS, "other")).items] == ["v-a-0"]


async def test_a_create_without_an_answer_keeps_its_tokens_until_it_is_known_what_came_of_it() -> None:
    link = _Link()
    async with bench(resources=EVERY_TASK) as of, of.controller(link):
        link.fails, link.is_late = Unavailable("the connection broke"), True
        await _create(of, "w", *NODES)
        link.fails = None
        await asyncio.sleep(60.0)
        assert await _running(of) == ["w-n0-0", "w-n1-0"]
        await _succeed(of, "w-n0-0", "w-n1-0")
        assert await _running(of) == ["w-n2-0", "w-n3-0"]


async def test_while_it_is_not_known_what_came_of_a_create_nobody_else_gets_its_tokens() -> None:
    link = _Link()
    async with bench(resources=EVERY_TASK) as of, of.controller(link):
        link.fails, link.fails_for = Unavailable("the connection broke"), b"w-n"
        await _create(of, "w", task("n0"), task("n1"))
        await _create(of, "v", *NODES)
        await asyncio.sleep(30.0)
        assert not await _running(of)


async def test_a_pod_that_somebody_deletes_gives_its_tokens_back() -> None:
    async with bench(resources=EVERY_TASK) as of, of.controller():
        await _create(of, "w", *NODES)
        for name in ("w-n0-0", "w-n1-0"):
            await of.user.delete(RAW_PODS, name, "ns", grace_seconds=0)
        await asyncio.sleep(120.0)
        assert len(await _running(of)) == 2


async def test_a_pod_that_came_and_went_unseen_gives_its_tokens_back() -> None:
    link = _Link()
    async with bench(resources=EVERY_TASK) as of, of.controller(link):
        link.is_deaf = True
        await _create(of, "w", task("a"), task("b"))
        for name in ("w-a-0", "w-b-0"):
            await of.user.delete(RAW_PODS, name, "ns", grace_seconds=0)
        await asyncio.sleep(600.0)
        assert await _running(of) == ["w-a-1", "w-b-1"]


async def test_a_workflow_that_is_gone_leaves_no_tokens_out_though_its_pods_were_never_seen() -> None:
    link = _Link()
    async with bench(resources=EVERY_TASK) as of, of.controller(link):
        link.is_deaf = True
        await _create(of, "w", *NODES)
        await of.user.delete(WORKFLOWS, "w", "ns")  # and its pods with it
        await asyncio.sleep(1.0)
        link.is_deaf = False
        await _create(of, "v", *NODES)
        assert not await _running(of), "they may be there still, for all that the controller knows"
        await asyncio.sleep(60.0)
        assert await _running(of) == ["v-n0-0", "v-n1-0"]


async def test_an_execution_that_waits_for_long_is_launched_at_once_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does not leave memory, though it has nothing to do for hours."""
    monkeypatch.setattr("propeller.handlers.executors._tokens.LOOKS_A_SECOND", 0.001)
    async with bench(resources=EVERY_TASK) as of, of.controller():
        await _create(of, "w", *NODES[:2])
        await _create(of, "v", *NODES[:2])
        await asyncio.sleep(1500.0)
        await _succeed(of, "w-n0-0")
        assert await _running(of) == ["v-n0-0", "w-n1-0"]


async def test_time_limits_of_a_task_begin_when_it_is_launched() -> None:
    async with bench(resources=EVERY_TASK) as of, of.controller():
        await _create(of, "w", *[task(f"n{number}", executionDeadline="100s") for number in range(3)])
        await asyncio.sleep(80.0)
        await _succeed(of, "w-n0-0", "w-n1-0")
        await asyncio.sleep(80.0)
        assert await _running(of) == ["w-n2-0"]


async def test_rules_that_name_no_pool_limit_nothing() -> None:
    of_spark = ResourceOptions(pools=(DB,), rules=(Rule(task_type="spark", pools={"db": 1}),))
    async with bench(resources=of_spark) as of, of.controller():
        await _create(of, "w", *NODES)
        assert len(await _running(of)) == 5


async def _configure(controller: WorkflowController, of: ResourceOptions) -> None:
    assert controller._tokens is not None
    controller._tokens.configure(of)
    await asyncio.sleep(5.0)


async def test_other_limits_apply_at_once_to_those_that_wait() -> None:
    async with bench(resources=EVERY_TASK) as of, of.controller() as controller:
        await _create(of, "w", *NODES)
        await _configure(controller, ResourceOptions(pools=(Pool(name="db", capacity=4),), rules=EVERY_TASK.rules))
        assert len(await _running(of)) == 4


async def test_other_rules_apply_at_once_to_those_that_wait_and_not_to_what_runs() -> None:
    api = Pool(name="api", capacity=1)
    async with bench(resources=EVERY_TASK) as of, of.controller() as controller:
        await _create(of, "w", *NODES)
        await _configure(controller, ResourceOptions(pools=(DB, api), rules=(Rule(pools={"api": 1}),)))
        assert await _running(of) == ["w-n0-0", "w-n1-0", "w-n2-0"]
        pods = await of.pods()
        assert [pods[f"w-n{n}-0"]["metadata"]["annotations"]["propeller/pools"] for n in (1, 2)] == ["db=1", "api=1"]
        waits = {wait["node"]: wait["reason"] for wait in (await of.status())["waits"]}
        assert waits["n4"].startswith("waits for api: 1 of 1 held, 2nd of ")
        await _configure(controller, ResourceOptions(pools=(DB, api)))
        assert len(await _running(of)) == 5


async def test_those_that_wait_for_what_there_never_is_by_other_limits_fail_with_both_numbers() -> None:
    wants = {**TASK, "metadata": {"metadata": {"annotations": {"propeller/pools": "db=2"}}}}
    async with bench(resources=ResourceOptions(pools=(DB,))) as of, of.controller() as controller:
        await _create(of, "w", *NODES[:2], of_task=wants)
        await _configure(controller, ResourceOptions(pools=(Pool(name="db", capacity=1),)))
        error = (await of.status())["error"]
        assert (error["code"], error["kind"]) == ("ResourceLimit", "USER")
        assert "needs 2 tokens of pool 'db', which never has more than 1" in error["message"]


async def test_those_that_wait_for_what_there_never_is_by_other_rules_fail_with_both_numbers() -> None:
    async with bench(resources=EVERY_TASK) as of, of.controller() as controller:
        await _create(of, "w", *NODES)
        await _configure(controller, ResourceOptions(pools=(DB,), rules=(Rule(pools={"db": 3}),)))
        assert "needs 3 tokens of pool 'db', which never has more than 2" in (await of.status())["error"]["message"]


async def test_limits_that_contradict_themselves_keep_the_controller_from_starting() -> None:
    wrong = ResourceOptions(pools=(DB,), rules=(Rule(pools={"hive": 1}),))
    async with bench(resources=wrong) as of:
        with pytest.raises(Invalid, match="takes tokens of 'hive', which is no pool"):
            async with of.controller():
                pass
