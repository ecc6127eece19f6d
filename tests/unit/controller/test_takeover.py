"""What FlytePropeller left in flight is gone on from: nothing that ended runs again, its pods count."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from flyteidl.core import dynamic_job_pb2, identifier_pb2, literals_pb2

from propeller.clock import rfc3339
from tests.unit.controller import flytes
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.flytes import DATA, bits, ended, left, node, pod
from tests.unit.workflow.drive import TASK, graph, task

CHAIN: Any = {"edges": [("a", "b")]}
OUTPUT = {"interface": {"outputs": {"variables": {"o0": {"type": {"simple": "INTEGER"}}}}}}
GIVES = TASK | {"id": {"name": "gives"}} | OUTPUT


def outputs(**values: int) -> bytes:
    found = literals_pb2.LiteralMap()
    for name, value in values.items():
        found.literals[name].scalar.primitive.integer = value
    return found.SerializeToString()


async def finish(of: Bench, name: str, phase: str = "Succeeded") -> None:
    await of.report(name, phase=phase)
    await asyncio.sleep(5.0)


async def state(of: Bench) -> str:
    found: str = (await of.status()).get("state", "")
    return found


async def test_a_node_that_had_ended_is_not_run_again_and_the_one_that_runs_is_followed() -> None:
    async with bench() as of:
        w = await left(of, (task("a"), task("b")), {"a": ended(), "b": node(flytes.RUNNING, task=5)}, **CHAIN)
        await pod(of, w, "w-b-0", "b")
        async with of.controller():
            await asyncio.sleep(10.0)
            assert list(await of.pods()) == ["w-b-0"]
            await finish(of, "w-b-0")
            assert await state(of) == "Succeeded"
            assert flytes.names(of.server) == ["w-b-0"]
            assert (await of.user.get(WORKFLOWS, "w", "ns"))["metadata"].get("finalizers", []) == []


async def test_outputs_are_read_where_flytepropeller_put_them() -> None:
    bound = {"inputBindings": [{"var": "x", "binding": {"promise": {"nodeId": "a", "var": "o0"}}}]}
    async with bench() as of:
        tasks = {"t": TASK, "gives": GIVES}
        chain = (task("a", task="gives"), task("b", **bound))
        await left(of, chain, {"a": ended(attempts=2)}, tasks=tasks, **CHAIN)
        await of.storage.write(f"{DATA}/a/data/2/outputs.pb", outputs(o0=7))
        async with of.controller():
            await asyncio.sleep(10.0)
            assert list(await of.pods()) == ["w-b-0"]
            found = literals_pb2.LiteralMap.FromString(await of.storage.read(f"{DATA}/b/data/inputs.pb"))
            assert found.literals["x"].scalar.primitive.integer == 7


async def test_an_attempt_that_was_queued_uses_the_pod_that_is_there() -> None:
    """FlytePropeller may have crashed between the create and the status."""
    async with bench() as of:
        w = await left(of, (task("a"),), {"a": node(flytes.QUEUED, attempts=1)})
        await pod(of, w, "w-a-1", "a")
        async with of.controller():
            await asyncio.sleep(5.0)
            await finish(of, "w-a-1")
            assert await state(of) == "Succeeded"
            assert flytes.names(of.server) == ["w-a-1"]


@pytest.mark.parametrize("phase", [None, 2, 9])
async def test_an_attempt_that_had_no_pod_yet_gets_one_under_its_own_number(phase: int | None) -> None:
    async with bench() as of:
        await left(of, (task("a"),), {"a": node(flytes.RUNNING, task=phase, attempts=1)})
        async with of.controller():
            await asyncio.sleep(5.0)
            assert list(await of.pods()) == ["w-a-1"]


async def test_a_pod_that_is_gone_has_ended_well_if_its_outputs_are_there() -> None:
    async with bench() as of:
        await left(of, (task("a", task="gives"),), {"a": node(flytes.RUNNING, task=5)}, tasks={"gives": GIVES})
        await of.storage.write(f"{DATA}/a/data/0/outputs.pb", outputs(o0=7))
        async with of.controller():
            await asyncio.sleep(10.0)
            assert await state(of) == "Succeeded"
            assert not flytes.names(of.server)


async def test_a_pod_that_is_gone_without_outputs_is_followed_by_the_next_attempt_and_never_the_same() -> None:
    async with bench() as of:
        await left(of, (task("a", task="gives"),), {"a": node(flytes.RUNNING, task=5)}, tasks={"gives": GIVES})
        async with of.controller():
            await asyncio.sleep(10.0)
            assert flytes.names(of.server) == ["w-a-1"]


async def test_results_of_its_pods_count_with_the_retries_that_the_user_asked_for() -> None:
    async with bench() as of:
        retries = {"retry": {"minAttempts": 3}}
        w = await left(of, (task("a", **retries),), {"a": node(flytes.RUNNING, task=5, attempts=1)})
        await pod(of, w, "w-a-1", "a")
        async with of.controller():
            await asyncio.sleep(5.0)
            await finish(of, "w-a-1", "Failed")
            await finish(of, "w-a-2", "Succeeded")
            assert await state(of) == "Succeeded"
            assert flytes.names(of.server) == ["w-a-1", "w-a-2"]


async def test_an_attempt_that_was_to_be_tried_again_is_stopped_and_followed_by_the_next() -> None:
    async with bench() as of:
        w = await left(of, (task("a"),), {"a": node(flytes.RETRYABLE, attempts=1, systemFailures=1)})
        await pod(of, w, "w-a-1", "a")
        async with of.controller():
            await asyncio.sleep(20.0)
            assert not await of.has_pod("w-a-1")
            assert await of.has_pod("w-a-2")


async def test_a_failed_node_fails_its_execution_with_the_error_that_flytepropeller_wrote() -> None:
    error = {"code": "OOMKilled", "message": "too little memory", "kind": "USER"}
    async with bench() as of:
        w = await left(
            of, (task("a"), task("b")), {"a": node(flytes.FAILING, error=error), "b": node(flytes.RUNNING, task=5)}
        )
        await pod(of, w, "w-a-0", "a")
        await pod(of, w, "w-b-0", "b")
        async with of.controller():
            await asyncio.sleep(20.0)
            status = await of.status()
            assert (status["state"], status["error"]["code"]) == ("Failed", "OOMKilled")
            assert not await of.pods()


async def test_a_failure_node_that_runs_is_followed_and_runs_once() -> None:
    error = {"code": "Boom", "message": "it failed", "kind": "SYSTEM"}
    statuses = {
        "a": ended(flytes.FAILED, error=error),
        "b": node(flytes.RUNNING, task=5),
        "f": node(flytes.RUNNING, task=5),
    }
    async with bench() as of:
        w = await left(of, (task("a"), task("b")), statuses, phase=7, status={"error": error}, onFailure=task("f"))
        await pod(of, w, "w-f-0", "f")
        async with of.controller():
            await asyncio.sleep(10.0)
            await finish(of, "w-f-0")
            status = await of.status()
            assert (status["state"], status["error"]["code"], status["error"]["kind"]) == ("Failed", "Boom", "SYSTEM")
            assert flytes.names(of.server) == ["w-f-0"]


async def test_a_failure_node_that_had_ended_ends_the_execution() -> None:
    error = {"code": "Boom", "message": "it failed", "kind": "USER"}
    statuses = {"a": ended(flytes.FAILED, error=error), "f": ended()}
    async with bench() as of:
        await left(of, (task("a"),), statuses, phase=7, status={"error": error}, onFailure=task("f"))
        async with of.controller():
            await asyncio.sleep(10.0)
            assert (await of.status())["error"]["code"] == "Boom"
            assert not flytes.names(of.server)


async def test_one_whose_end_was_all_that_was_left_ends() -> None:
    async with bench() as of:
        await left(of, (task("a"),), {"a": ended(), "end-node": ended()}, phase=2)
        async with of.controller():
            await asyncio.sleep(10.0)
            assert await state(of) == "Succeeded"
            assert not flytes.names(of.server)


@pytest.mark.parametrize("phase", [3, 5, 6])
async def test_one_that_has_ended_is_left_as_it_is(phase: int) -> None:
    async with bench() as of:
        await left(of, (task("a"),), {"a": ended()}, phase=phase)
        before = await of.status()
        async with of.controller():
            await asyncio.sleep(10.0)
            assert await of.status() == before
            assert (await of.user.get(WORKFLOWS, "w", "ns"))["metadata"].get("finalizers", []) == []


async def test_a_subworkflow_goes_on_inside() -> None:
    calls = {"id": "s", "kind": "workflow", "workflow": {"subWorkflowRef": "sub"}}
    inside = {"start-node": flytes.START, "a": ended(attempts=1), "b": node(flytes.RUNNING, task=5)}
    own = node(flytes.RUNNING, workflowNodeStatus={"phase": 1}, subNodeStatus=inside)
    async with bench() as of:
        sub = graph(task("a"), task("b"), **CHAIN)
        w = await left(of, (calls,), {"s": own}, subWorkflows={"sub": sub})
        await pod(of, w, "w-s-0-b-0", "b")
        async with of.controller():
            await asyncio.sleep(5.0)
            await finish(of, "w-s-0-b-0")
            assert await state(of) == "Succeeded"
            assert flytes.names(of.server) == ["w-s-0-b-0"]


def branch() -> tuple[dict[str, Any], ...]:
    condition = {
        "comparison": {
            "operator": "EQ",
            "leftValue": {"primitive": {"integer": "1"}},
            "rightValue": {"primitive": {"integer": "1"}},
        }
    }
    own = {"id": "c", "kind": "branch", "branch": {"if": {"condition": condition, "then": "x"}, "else": "y"}}
    return own, task("x"), task("y")


async def test_a_branch_keeps_to_the_case_that_was_chosen() -> None:
    """Also where its conditions would say otherwise now."""
    chosen = node(flytes.RUNNING, branchStatus={"phase": 1, "finalNodeId": "y"})
    statuses = {"c": chosen, "x": ended(flytes.SKIPPED), "y": node(flytes.RUNNING, task=5, parentNode="c")}
    async with bench() as of:
        w = await left(of, branch(), statuses)
        await pod(of, w, "w-y-0", "y")
        async with of.controller():
            await asyncio.sleep(5.0)
            await finish(of, "w-y-0")
            assert await state(of) == "Succeeded"
            assert flytes.names(of.server) == ["w-y-0"]


@pytest.mark.parametrize("case", [ended(), ended(flytes.FAILED)])
async def test_a_branch_whose_case_had_ended_ends_as_it(case: dict[str, Any]) -> None:
    chosen = node(flytes.RUNNING, branchStatus={"phase": 1, "finalNodeId": "y"})
    async with bench() as of:
        await left(of, branch(), {"c": chosen, "x": ended(flytes.SKIPPED), "y": case})
        async with of.controller():
            await asyncio.sleep(10.0)
            assert await state(of) == ("Succeeded" if case["phase"] == flytes.SUCCEEDED else "Failed")
            assert not flytes.names(of.server)


MAPPED = {"id": "m", "kind": "array", "array": {"SubNodeSpec": task("item"), "dataMode": 1}}


def array(phases: list[int], attempts: list[int], *, phase: int = 1) -> dict[str, Any]:
    of_tasks = [5 if found == flytes.RUNNING else 6 if found == flytes.SUCCEEDED else 0 for found in phases]
    return node(
        flytes.RUNNING,
        arrayNodeStatus={
            "phase": phase,
            "subphase": bits(phases, 4),
            "subtphase": bits(of_tasks, 4),
            "subattempts": bits(attempts, 3),
            "subsysfailures": bits([0] * len(phases), 2),
            "subtimestamps": {"BitSet": None, "item": 12},
        },
    )


async def test_a_map_tasks_items_go_on_each_from_its_own_state() -> None:
    phases = [flytes.SUCCEEDED, flytes.RUNNING, flytes.QUEUED, 0] + [flytes.SUCCEEDED] * 30
    attempts = [0, 2, 1, 0] + [0] * 30
    async with bench() as of:
        w = await left(of, (MAPPED,), {"m": array(phases, attempts)})
        await pod(of, w, "w-m-0-n1-2", "n1")
        inputs = literals_pb2.LiteralMap()
        for index in range(len(phases)):
            inputs.literals["x"].collection.literals.add().scalar.primitive.integer = index
        await of.storage.write(f"{DATA}/m/data/inputs.pb", inputs.SerializeToString())
        async with of.controller():
            await asyncio.sleep(5.0)
            assert sorted(await of.pods()) == ["w-m-0-n1-2", "w-m-0-n2-1", "w-m-0-n3-0"]
            for name in await of.pods():
                await finish(of, name)
            assert await state(of) == "Succeeded"


async def test_a_map_task_whose_items_had_all_ended_gathers() -> None:
    async with bench() as of:
        await left(of, (MAPPED,), {"m": array([flytes.SUCCEEDED] * 3, [0] * 3)})
        async with of.controller():
            await asyncio.sleep(10.0)
            assert await state(of) == "Succeeded"


async def test_a_map_task_that_was_failing_fails_and_its_items_are_stopped() -> None:
    async with bench() as of:
        w = await left(of, (MAPPED,), {"m": array([flytes.FAILED, flytes.RUNNING], [0, 0], phase=2)})
        await pod(of, w, "w-m-0-n1-0", "n1")
        async with of.controller():
            await asyncio.sleep(10.0)
            assert await state(of) == "Failed"
            assert not await of.pods()


async def test_gates_go_on_waiting_and_take_the_answers_that_are_given_here() -> None:
    async with bench() as of:
        signal = {"signalId": "s", "type": {"simple": "INTEGER"}, "outputVariableName": "o0"}
        gates = (
            {"id": "a", "kind": "gate", "gate": {"kind": "signal", "signal": signal}},
            {"id": "b", "kind": "gate", "gate": {"kind": "sleep", "sleep": {"duration": "100s"}}},
        )
        begun = node(flytes.RUNNING, gateNodeStatus={"phase": 1}, laStartedAt=rfc3339(of.clock.now() - 60.0))
        await left(of, gates, {"a": begun, "b": begun})
        async with of.controller():
            await asyncio.sleep(38.0)
            assert (await of.status())["counts"] == {"running": 2}
            await asyncio.sleep(5.0)
            assert (await of.status())["counts"] == {"running": 1, "succeeded": 1}
            body = {"metadata": {"annotations": {"propeller/signal.a": "3"}}}
            await of.user.patch(WORKFLOWS, "w", "ns", body=body)
            await asyncio.sleep(5.0)
            assert await state(of) == "Succeeded"


LAUNCH_PLAN = {"id": "g", "kind": "workflow", "workflow": {"launchPlanRefId": {"name": "lp"}}}
SPARK = {
    "t": TASK,
    "s": TASK | {"type": "spark"},
    "m": TASK | {"type": "container_array", "taskTypeVersion": 1},
}

REFUSED = {
    "a launch plan": (LAUNCH_PLAN, node(flytes.RUNNING, workflowNodeStatus={"phase": 1}), "launch plan"),
    "a remote job": (task("g", task="s"), node(flytes.RUNNING, task=5), "spark"),
    "an older map task": (task("g", task="m"), node(flytes.RUNNING, task=5), "container_array"),
    "an unknown phase": (task("g"), node(40), "phase 40"),
    "a map task between attempts": (MAPPED | {"id": "g"}, node(flytes.RETRYABLE), "between two attempts"),
    "nodes of another graph": (task("g"), {"phase": 0}, "does not have, ['x']"),
    "an attempt beyond belief": (task("g"), node(flytes.RUNNING, task=5, attempts=5000), "attempts"),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_what_cannot_be_gone_on_from_is_left_as_it_is_with_the_reason(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    spec, status, reason = REFUSED[kind]
    async with bench() as of:
        statuses = {"g": status, "b": node(flytes.RUNNING, task=5)} | ({"x": ended()} if "another" in kind else {})
        w = await left(of, (spec, task("b")), statuses, tasks=SPARK)
        await pod(of, w, "w-b-0", "b")
        before = await of.user.get(WORKFLOWS, "w", "ns")
        async with of.controller():
            await asyncio.sleep(3600.0)
            assert await of.user.get(WORKFLOWS, "w", "ns") == before
            assert flytes.names(of.server) == ["w-b-0"]
            assert sum(reason in record.getMessage() for record in caplog.records) == 1
            await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
            await asyncio.sleep(10.0)
            assert not flytes.names(of.server), "whoever deletes it sees it stopped"


async def test_data_elsewhere_is_waited_for_with_the_setting_to_change(caplog: pytest.LogCaptureFixture) -> None:
    async with bench() as of:
        await left(of, (task("a"),), {"a": node(flytes.QUEUED)}, status={"dataDir": "memory://elsewhere/p-d-w"})
        async with of.controller():
            await asyncio.sleep(60.0)
            assert "storage.metadata_prefix" in caplog.text
            assert not flytes.names(of.server)
            await of.user.patch(WORKFLOWS, "w", "ns", body={"status": {"dataDir": DATA}}, subresource="status")
            await asyncio.sleep(5.0)
            assert flytes.names(of.server) == ["w-a-0"]


async def test_a_restart_after_the_takeover_goes_on_from_our_own_status() -> None:
    async with bench() as of:
        w = await left(of, (task("a"), task("b")), {"a": ended(), "b": node(flytes.RUNNING, task=5)}, **CHAIN)
        await pod(of, w, "w-b-0", "b")
        async with of.controller():
            await asyncio.sleep(10.0)
        assert (await of.status())["nodes"]
        async with of.controller():
            await asyncio.sleep(5.0)
            await finish(of, "w-b-0")
            assert await state(of) == "Succeeded"
            assert flytes.names(of.server) == ["w-b-0"]


def futures() -> bytes:
    """A dynamic task's: two tasks, one after the other."""
    job = dynamic_job_pb2.DynamicJobSpec(min_successes=2)
    template = job.tasks.add(type="python-task")
    template.id.CopyFrom(identifier_pb2.Identifier(resource_type=identifier_pb2.TASK, project="p", name="inner"))
    template.container.image = "i"
    for name, before in (("d0", ()), ("d1", ("d0",))):
        made = job.nodes.add(id=name, upstream_node_ids=before)
        made.task_node.reference_id.CopyFrom(template.id)
        made.metadata.name = name
    return job.SerializeToString()


async def has_succeeded(of: Bench) -> bool:
    return await state(of) == "Succeeded"


async def threads(done: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what has to be compiled in a thread, where virtual time does not count."""
    while not await done():
        await asyncio.to_thread(time.sleep, 0.01)


@pytest.mark.parametrize(("phase", "made"), [(1, {"d0": ended(), "d1": node(flytes.RUNNING, task=5)}), (4, {})])
async def test_a_dynamic_node_goes_on_inside_what_it_made(phase: int, made: dict[str, Any]) -> None:
    own = node(
        flytes.DYNAMIC,
        task=6,
        attempts=1,
        dynamicNodeStatus={"phase": phase},
        subNodeStatus={"dynamic-node": {"phase": 0, "parentNode": "a", "subNodeStatus": made}} if made else {},
    )
    async with bench() as of:
        w = await left(of, (task("a"),), {"a": own})
        await of.storage.write(f"{DATA}/a/data/1/futures.pb", futures())
        await pod(of, w, "w-a-1", "a", "Succeeded")
        if made:
            await pod(of, w, "w-a-1-d1-0", "d1")
        async with of.controller():
            for name in ("w-a-1-d1-0",) if made else ("w-a-1-d0-0", "w-a-1-d1-0"):
                await threads(functools.partial(of.has_pod, name))
                await finish(of, name)
            await threads(functools.partial(has_succeeded, of))
            assert flytes.names(of.server) == ["w-a-1", *(() if made else ("w-a-1-d0-0",)), "w-a-1-d1-0"]
