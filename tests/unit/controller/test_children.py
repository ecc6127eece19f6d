"""A launch plan's node starts an execution of its own, waits for it, and passes on what becomes of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from propeller.config import ControllerOptions
from propeller.kube import Raw
from propeller.registry import Entity, EntityKind, StoredRegistry
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.children import (
    INTEGER,
    OUTPUTS,
    call,
    create,
    end,
    exists,
    inputs_of,
    launch_plan,
    resource,
    status,
    workflow,
)
from tests.unit.workflow.drive import task

CHILD = "w-n0-0"
POD = "w-n0-0-a-0"


async def test_it_has_a_name_of_its_parents_and_the_node_succeeds_with_it() -> None:
    async with bench() as of, of.controller():
        parent = await create(of, metadata={"labels": {"shard-key": "7", "project": "p", "domain": "d"}})
        child = await workflow(of, CHILD)
        [owner] = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("FlyteWorkflow", parent["metadata"]["uid"])
        assert child["metadata"]["labels"]["shard-key"] == "7"
        assert child["metadata"]["annotations"]["propeller/launch-plan"] == "plan"
        assert child["executionId"] == {"project": "p", "domain": "d", "name": CHILD}
        await end(of, POD)
        assert (await status(of, CHILD))["state"] == "Succeeded"
        assert (await status(of, "w"))["state"] == "Succeeded"


async def leave_outputs(of: Bench, child: str = CHILD, node: str = "a") -> None:
    directory = f"memory://m/{child}-{(await workflow(of, child))['metadata']['uid'][:8]}"
    await of.storage.write(f"{directory}/{node}/data/0/outputs.pb", OUTPUTS)
    await of.storage.write(f"{directory}/end-node/data/0/outputs.pb", OUTPUTS)


async def test_its_outputs_are_the_nodes() -> None:
    async with bench() as of, of.controller():
        await create(of, plans={"plan": launch_plan(task("a", task="gives"), outputs=("o0",))})
        await leave_outputs(of)
        await end(of, POD)
        ended = await status(of, "w")
        assert ended["state"] == "Succeeded"
        assert await of.storage.read(f"{ended['dataDir']}/n0/data/0/outputs.pb") == OUTPUTS


async def test_outputs_that_it_should_have_and_has_not_fail_the_node() -> None:
    async with bench() as of, of.controller():
        await create(of, plans={"plan": launch_plan(outputs=("o0",))})
        await end(of, POD)
        ended = await status(of, "w")
        assert (ended["state"], ended["error"]["code"]) == ("Failed", "OutputsNotFound")


@pytest.mark.parametrize(("reason", "kind"), [("Error", "USER"), ("Evicted", "SYSTEM")])
async def test_its_failure_is_the_nodes_with_code_and_kind(reason: str, kind: str) -> None:
    async with bench() as of, of.controller():
        await create(of)
        for attempt in range(4 if kind == "SYSTEM" else 1):
            if kind == "SYSTEM":
                await asyncio.sleep(120.0)
                await of.report(f"w-n0-0-a-{attempt}", phase="Failed", reason=reason, message="the node ran out")
                await asyncio.sleep(120.0)
            else:
                await end(of, POD, "Failed")
        child, ended = await status(of, CHILD), await status(of, "w")
        assert (child["state"], ended["state"]) == ("Failed", "Failed")
        assert ended["error"]["kind"] == child["error"]["kind"] == kind
        assert ended["error"]["code"] == child["error"]["code"]
        assert f"execution {CHILD} failed: " in ended["error"]["message"]
        assert not await exists(of, "w-n0-1"), "what could be retried was retried inside"


async def test_an_abort_of_the_parent_is_passed_down() -> None:
    async with bench() as of, of.controller():
        await create(of, metadata={"finalizers": ["flyte.org/finalizer"]})
        assert await of.has_pod(POD)
        await of.user.delete(WORKFLOWS, "w", "ns")
        await asyncio.sleep(120.0)
        assert not await exists(of, CHILD)
        assert not await of.has_pod(POD)
        assert not await exists(of, "w")


async def test_the_failure_of_another_node_stops_it() -> None:
    async with bench() as of, of.controller():
        await create(of, call("n0"), task("n1"))
        await end(of, "w-n1-0", "Failed")
        await asyncio.sleep(60.0)
        assert (await status(of, "w"))["state"] == "Failed"
        assert not await exists(of, CHILD)
        assert not await of.has_pod(POD)


async def test_the_nodes_timeout_stops_it() -> None:
    async with bench() as of, of.controller():
        await create(of, call("n0", executionDeadline="60s"))
        await asyncio.sleep(180.0)
        ended = await status(of, "w")
        assert (ended["state"], ended["error"]["code"]) == ("Failed", "TimeoutExpired")
        assert not await exists(of, CHILD)


async def test_one_that_somebody_deletes_fails_the_node_by_the_system() -> None:
    async with bench() as of, of.controller():
        await create(of)
        await of.user.delete(WORKFLOWS, CHILD, "ns", propagation="Background")
        await asyncio.sleep(60.0)
        ended = await status(of, "w")
        assert ended["error"]["kind"] == "SYSTEM"
        assert ended["error"]["code"] == "RemoteChildWorkflowExecutionFailed"
        assert CHILD in ended["error"]["message"]
        assert not await exists(of, "w-n0-1")


@pytest.mark.parametrize("lag", [0.0, 100.0])
@pytest.mark.parametrize("meanwhile", ["nothing", "the pod ends"])
async def test_a_controller_that_comes_after_a_crash_goes_on(lag: float, meanwhile: str) -> None:
    async with bench(max_lag=lag) as of:
        async with of.controller():
            created = await create(of)
        uid = (await workflow(of, CHILD))["metadata"]["uid"]
        if meanwhile == "the pod ends":
            await end(of, POD)
        async with of.controller():
            await asyncio.sleep(2.0)
            if meanwhile == "nothing":
                await end(of, POD)
            assert (await status(of, "w"))["state"] == "Succeeded"
            assert (await workflow(of, CHILD))["metadata"]["uid"] == uid
            assert created["metadata"]["uid"] == (await workflow(of, "w"))["metadata"]["uid"]
            assert not await exists(of, "w-n0-1")


async def test_the_end_of_one_brings_back_a_parent_that_was_evicted() -> None:
    async with bench() as of, of.controller() as controller:
        await create(of)
        await asyncio.sleep(of.settings.controller.idle * 3)
        assert controller.execution("ns/w") is None, "it was idle"
        await end(of, POD)
        assert (await status(of, "w"))["state"] == "Succeeded"


async def test_a_recovered_parent_takes_over_what_succeeded_and_recovers_the_rest() -> None:
    plans = {
        "plan": launch_plan(task("a", task="gives"), outputs=("o0",)),
        "fails": launch_plan(task("a", task="gives"), task("b"), name="fails", edges=[("a", "b")]),
    }
    nodes = call("n0"), call("n1", "fails")
    async with bench() as of, of.controller():
        await create(of, *nodes, edges=[("n0", "n1")], plans=plans)
        await leave_outputs(of)
        await end(of, POD)
        await leave_outputs(of, "w-n1-0")
        await end(of, "w-n1-0-a-0")
        await end(of, "w-n1-0-b-0", "Failed")
        assert (await status(of, "w"))["state"] == "Failed"
        recovers = {"executionConfig": {"RecoveryExecution": {"name": "w"}}}
        await create(of, *nodes, edges=[("n0", "n1")], plans=plans, name="again", **recovers)
        assert not await exists(of, "again-n0-0")
        child = await workflow(of, "again-n1-0")
        assert child["executionConfig"]["RecoveryExecution"]["name"] == "w-n1-0"
        assert not await of.has_pod("again-n1-0-a-0")
        await end(of, "again-n1-0-b-0")
        ended = await status(of, "again")
        assert ended["state"] == "Succeeded"
        assert await of.storage.read(f"{ended['dataDir']}/n0/data/0/outputs.pb") == OUTPUTS


async def test_an_execution_that_an_earlier_namesake_of_its_parent_had_started_is_not_recovered() -> None:
    plans = {"fails": launch_plan(task("a", task="gives"), task("b"), name="fails", edges=[("a", "b")])}
    async with bench() as of, of.controller():
        await create(of, call("n0", "fails"), plans=plans)
        await leave_outputs(of, "w-n0-0")
        await end(of, "w-n0-0-a-0")
        await end(of, "w-n0-0-b-0", "Failed")
        assert (await status(of, "w"))["state"] == "Failed"
        namesake = await of.user.create(WORKFLOWS, resource(task("x"), name="other"), "ns")  # that it goes late is all
        (owner,) = (await workflow(of, "w-n0-0"))["metadata"]["ownerReferences"]
        of_a_namesake = {"metadata": {"ownerReferences": [owner | {"uid": namesake["metadata"]["uid"]}]}}
        await of.user.patch(WORKFLOWS, "w-n0-0", "ns", body=of_a_namesake)
        recovers = {"executionConfig": {"RecoveryExecution": {"name": "w"}}}
        await create(of, call("n0", "fails"), plans=plans, name="again", **recovers)
        assert await of.has_pod("again-n0-0-a-0")


def bound(**values: int) -> list[Raw]:
    return [
        {"var": name, "binding": {"scalar": {"primitive": {"integer": str(value)}}}} for name, value in values.items()
    ]


PARAMETERS = {"a": {"var": {"type": {}}, "required": True}, "b": {"var": {"type": {}}, "default": INTEGER}}
FIXED = {"fixedInputs": {"literals": {"c": INTEGER}}}


async def test_its_inputs_are_defaults_what_is_bound_and_fixed_values() -> None:
    async with bench() as of, of.controller():
        plan = launch_plan(inputs=PARAMETERS, spec=FIXED)
        await create(of, call("n0", inputBindings=bound(a=5, c=1)), plans={"plan": plan})
        found = await inputs_of(of, CHILD)
        assert {name: one.scalar.primitive.integer for name, one in found.items()} == {"a": 5, "b": 1, "c": 1}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "launch plan plan needs a value for its input 'a'"),
        ({"a": 5, "z": 1}, "launch plan plan has no input 'z': its inputs are ['a', 'b', 'c']"),
        ({"a": 5, "c": 2}, "input 'c' of launch plan plan is fixed"),
    ],
)
async def test_inputs_that_it_cannot_have_fail_the_node_by_name(values: dict[str, int], says: str) -> None:
    async with bench() as of, of.controller():
        plan = launch_plan(inputs=PARAMETERS, spec=FIXED)
        await create(of, call("n0", inputBindings=bound(**values)), plans={"plan": plan})
        error = (await status(of, "w"))["error"]
        assert (error["code"], error["kind"]) == ("BadLaunchPlan", "USER")
        assert says in error["message"]
        assert not await exists(of, CHILD)


async def test_what_the_plan_says_of_its_execution_wins_over_the_parents() -> None:
    spec = {
        "labels": {"values": {"team": "plan", "project": "mine", "shard-key": "1"}},
        "annotations": {"values": {"note": "plan", "propeller/node": "n9"}},
        "maxParallelism": 3,
        "interruptible": True,
        "securityContext": {"runAs": {"k8sServiceAccount": "planned"}},
        "rawOutputDataConfig": {"outputLocationPrefix": "memory://raw/plan"},
        "envs": {"values": [{"key": "A", "value": "1"}]},
    }
    labels = {"team": "parent", "kept": "yes", "project": "p", "domain": "d"}
    async with bench() as of, of.controller():
        await create(of, plans={"plan": launch_plan(spec=spec)}, metadata={"labels": labels})
        child = await workflow(of, CHILD)
        labels = child["metadata"]["labels"]
        assert (labels["team"], labels["kept"], labels["project"]) == ("plan", "yes", "p")
        assert "shard-key" not in labels
        assert child["metadata"]["annotations"]["note"] == "plan"
        assert child["metadata"]["annotations"]["propeller/node"] == "n0"
        config = child["executionConfig"]
        assert (config["MaxParallelism"], config["Interruptible"]) == (3, True)
        assert config["EnvironmentVariables"] == {"A": "1"}
        assert child["rawOutputDataConfig"]["output_location_prefix"] == "memory://raw/plan"
        assert (await of.pods())[POD]["spec"]["serviceAccountName"] == "planned"


async def test_it_takes_a_slot_of_the_parents_parallelism() -> None:
    async with bench() as of, of.controller():
        await create(of, call("n0"), call("n1"), executionConfig={"MaxParallelism": 1})
        assert not await exists(of, "w-n1-0")
        await end(of, POD)
        assert await exists(of, "w-n1-0")


def with_options(of: Bench, **options: Any) -> Bench:
    controller = msgspec.structs.replace(of.settings.controller, **options)
    return replace(of, settings=msgspec.structs.replace(of.settings, controller=controller))


async def test_a_launch_plan_that_starts_itself_is_refused_by_name_at_the_limit() -> None:
    async with bench() as of:
        of = with_options(of, nesting_limit=2)
        async with of.controller():
            await create(of, plans={"plan": launch_plan(call("n0"))})
            await asyncio.sleep(30.0)
            assert await exists(of, "w-n0-0-n0-0")
            assert not await exists(of, "w-n0-0-n0-0-n0-0")
            error = (await status(of, "w"))["error"]
            assert error["kind"] == "USER"
            assert "2 may be nested (controller.nesting_limit); plan starts itself: ... " in error["message"]


async def test_an_annotation_that_somebody_removes_does_not_extend_the_limit() -> None:
    async with bench() as of:
        of = with_options(of, nesting_limit=2)
        async with of.controller():
            await create(of, plans={"plan": launch_plan(task("first"), call("n0"), edges=[("first", "n0")])})
            await end(of, "w-n0-0-first-0")
            body = {"metadata": {"annotations": {"propeller/nesting": None}}}
            await of.user.patch(WORKFLOWS, "w-n0-0-n0-0", "ns", body=body)
            await end(of, "w-n0-0-n0-0-first-0")
            assert not await exists(of, "w-n0-0-n0-0-n0-0")


@pytest.mark.parametrize("owner", ["nobody", "a label"])
async def test_a_workflow_of_its_name_that_is_nobodys_is_not_taken_for_it(owner: str) -> None:
    async with bench() as of:
        created = await create(of)
        labels = {"propeller/workflow-uid": created["metadata"]["uid"]} if owner == "a label" else {}
        metadata = {"metadata": {"labels": labels, "annotations": {"propeller/workflow": "w"}}}
        await of.user.create(WORKFLOWS, resource(task("x"), name=CHILD, **metadata), "ns")
        await of.user.patch(WORKFLOWS, CHILD, "ns", body={"status": {"phase": 3}}, subresource="status")
        async with of.controller():
            await asyncio.sleep(60.0)
            assert (await status(of, "w"))["state"] == "Running"
            await end(of, "w-n0-1-a-0")
            assert (await status(of, "w"))["state"] == "Succeeded", "the next attempt has another name"


async def test_one_that_an_earlier_parent_of_the_name_left_is_waited_for() -> None:
    async with bench() as of:
        owner = {"apiVersion": "flyte.lyft.com/v1alpha1", "kind": "FlyteWorkflow", "name": "w"}
        first = await create(of)
        stale = resource(task("x"), name=CHILD)
        stale["metadata"]["ownerReferences"] = [owner | {"uid": first["metadata"]["uid"]}]
        stale["metadata"]["finalizers"] = ["example.org/slow"]
        await of.user.create(WORKFLOWS, stale, "ns")
        await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
        await asyncio.sleep(5.0)
        await create(of)
        async with of.controller():
            await asyncio.sleep(60.0)
            assert (await status(of, "w"))["state"] == "Running"
            assert "exists and belongs to something else" in (await status(of, "w"))["message"]
            await of.user.patch(WORKFLOWS, CHILD, "ns", body={"metadata": {"finalizers": []}})
            await asyncio.sleep(300.0)
            await end(of, POD)
            assert (await status(of, "w"))["state"] == "Succeeded"


async def registered(of: Bench, document: Raw, name: str = "plan") -> None:
    registry = StoredRegistry(of.storage, "memory://m/registry")
    entity = Entity(EntityKind.LAUNCH_PLAN, "p", "d", name, "v1")
    assert await registry.register(entity, msgspec.json.encode(document))


async def test_a_registered_plan_is_started_with_what_it_starts_itself() -> None:
    async with bench() as of, of.controller():
        await registered(of, launch_plan(call("n0", "inner")))
        await registered(of, launch_plan(name="inner"), "inner")
        await create(of, plans={})
        await end(of, "w-n0-0-n0-0-a-0")
        assert (await status(of, "w"))["state"] == "Succeeded"


async def test_a_plan_that_is_not_there_is_one_error_that_names_it_and_the_registry() -> None:
    async with bench() as of, of.controller():
        await create(of, plans={})
        error = (await status(of, "w"))["error"]
        assert (error["code"], error["kind"]) == ("BadLaunchPlan", "USER")
        named = "launch plan plan (project 'p', domain 'd', version 'v1') is not there"
        assert named in error["message"]
        assert "memory://m/registry" in error["message"]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"spec": {}}, "launchPlan"),
        ({"launchPlan": 7, "spec": {}}, "launchPlan"),
        ({"launchPlan": {"id": {"name": "other"}}, "spec": {}}, "is another launch plan"),
    ],
)
async def test_a_document_that_is_none_fails_the_node_by_name(document: Raw, says: str) -> None:
    async with bench() as of, of.controller():
        await create(of, plans={"plan": document})
        error = (await status(of, "w"))["error"]
        assert (error["code"], error["kind"]) == ("BadLaunchPlan", "USER")
        assert says in error["message"]


async def test_a_workflow_that_cannot_run_fails_the_node_with_its_reason() -> None:
    plan = launch_plan()
    plan["spec"] = {"id": "w", "nodes": {"a": {"id": "b", "kind": "task"}}}
    async with bench() as of, of.controller():
        await create(of, plans={"plan": plan})
        error = (await status(of, "w"))["error"]
        assert error["code"] == "BadWorkflow"
        assert "it must be the key" in error["message"]


async def test_one_that_has_ended_is_kept_as_long_as_its_parent() -> None:
    async with bench() as of:
        of = with_options(of, ttl=600.0)
        async with of.controller():
            await create(of, call("n0"), task("n1"))
            await end(of, POD)
            await asyncio.sleep(3600.0)
            assert await exists(of, CHILD)
            await end(of, "w-n1-0")
            await asyncio.sleep(3600.0)
            assert not await exists(of, "w")
            assert not await exists(of, CHILD)


@pytest.mark.parametrize("nonsense", [{"phase": "x"}, {"phase": 5, "error": "no"}, {"phase": 5, "error": {"kind": 7}}])
async def test_a_status_of_nonsense_does_no_harm(nonsense: Raw) -> None:
    async with bench() as of:
        async with of.controller():
            await create(of)
        await of.user.patch(WORKFLOWS, CHILD, "ns", body={"status": nonsense}, subresource="status")
        async with of.controller():
            await asyncio.sleep(60.0)
            if nonsense["phase"] == 5:
                error = (await status(of, "w"))["error"]
                assert (error["code"], error["kind"]) == ("Unknown", "USER")
            else:
                assert (await status(of, "w"))["state"] == "Running"


def test_a_limit_of_no_nesting_is_refused() -> None:
    with pytest.raises(ValueError, match="nesting_limit must be at least 1"):
        ControllerOptions(nesting_limit=0)
