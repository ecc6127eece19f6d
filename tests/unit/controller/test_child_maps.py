"""A map over a launch plan: each item is an execution of its own, and what becomes of them is as for a task's items."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from flyteidl.core import literals_pb2

from propeller.kube import Raw
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.children import call, create, end, exists, inputs_of, launch_plan, status, workflow
from tests.unit.controller.test_children import with_options
from tests.unit.workflow.drive import task

A = {"a": {"var": {"type": {}}, "required": True}}


def integers(*values: int) -> Raw:
    return {"collection": {"bindings": [{"scalar": {"primitive": {"integer": str(value)}}} for value in values]}}


def mapped(node_id: str = "n0", *, over: Raw | None = None, **array: Any) -> Raw:
    """A node that maps `plan` over three integers, or over these inputs."""
    lists = over or {"a": integers(10, 11, 12)}
    bindings = [{"var": name, "binding": value} for name, value in lists.items()]
    fields = {key: array.pop(key) for key in ("executionDeadline",) if key in array}
    return {
        "id": node_id,
        "kind": "array",
        "array": {"SubNodeSpec": call("item"), **array},
        "inputBindings": bindings,
        **fields,
    }


PLANS = {"plan": launch_plan(task("a", task="gives"), inputs=A, outputs=("o0",))}


def child(item: int, attempt: int = 0, parent: str = "w") -> str:
    return f"{parent}-n0-0-n{item}-{attempt}"


def literals(**values: int) -> bytes:
    return literals_pb2.LiteralMap(
        literals={
            name: literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))
            for name, value in values.items()
        }
    ).SerializeToString()


async def give(of: Bench, name: str, value: int) -> None:
    """The execution's task ends well, and its output is this one."""
    directory = f"memory://m/{name}-{(await workflow(of, name))['metadata']['uid'][:8]}"
    for place in ("a/data/0", "end-node/data/0"):
        await of.storage.write(f"{directory}/{place}/outputs.pb", literals(o0=value))
    await end(of, f"{name}-a-0")


async def outputs(of: Bench, name: str = "w") -> list[int | None]:
    data = await of.storage.read(f"{(await status(of, name))['dataDir']}/n0/data/0/outputs.pb")
    found = literals_pb2.LiteralMap.FromString(data).literals["o0"].collection.literals
    return [one.scalar.primitive.integer if one.scalar.HasField("primitive") else None for one in found]


async def test_each_item_is_an_execution_with_its_share_and_their_outputs_come_back_in_order() -> None:
    async with bench() as of, of.controller():
        await create(of, mapped(), plans=PLANS)
        shares = [(await inputs_of(of, child(item)))["a"].scalar.primitive.integer for item in range(3)]
        assert shares == [10, 11, 12]
        for item in (2, 0, 1):
            await give(of, child(item), item + 100)
        assert (await status(of, "w"))["state"] == "Succeeded"
        assert await outputs(of) == [100, 101, 102]


async def test_an_item_that_fails_has_no_output_where_enough_of_the_others_succeed() -> None:
    async with bench() as of, of.controller():
        await create(of, mapped(MinSuccessRatio=0.5), plans=PLANS)
        await give(of, child(0), 1)
        await end(of, f"{child(1)}-a-0", "Failed")
        await give(of, child(2), 3)
        assert (await status(of, "w"))["state"] == "Succeeded"
        assert await outputs(of) == [1, None, 3]
        assert not await exists(of, child(1, 1)), "what could be retried was retried inside"


async def test_a_failed_item_fails_the_map_with_its_error_and_stops_the_others() -> None:
    async with bench() as of, of.controller():
        await create(of, mapped(), plans=PLANS)
        await end(of, f"{child(1)}-a-0", "Failed")
        await asyncio.sleep(60.0)
        ended, its = await status(of, "w"), await status(of, child(1))
        assert (ended["state"], ended["error"]["code"]) == ("Failed", its["error"]["code"])
        assert f"execution {child(1)} failed: " in ended["error"]["message"]
        assert [await exists(of, child(item)) for item in range(3)] == [False, True, False]
        assert not await of.has_pod(f"{child(0)}-a-0")


async def test_an_abort_is_passed_down_to_all_of_them() -> None:
    async with bench() as of, of.controller():
        await create(of, mapped(), plans=PLANS, metadata={"finalizers": ["flyte.org/finalizer"]})
        assert await of.has_pod(f"{child(2)}-a-0")
        await of.user.delete(WORKFLOWS, "w", "ns")
        await asyncio.sleep(120.0)
        assert not any([await exists(of, child(item)) for item in range(3)])
        assert not await of.pods()
        assert not await exists(of, "w")


async def test_the_time_limit_of_the_map_stops_them() -> None:
    async with bench() as of, of.controller():
        await create(of, mapped(executionDeadline="60s"), plans=PLANS)
        await asyncio.sleep(180.0)
        assert (await status(of, "w"))["error"]["code"] == "TimeoutExpired"
        assert not any([await exists(of, child(item)) for item in range(3)])


@pytest.mark.parametrize("limit", ["its own", "the workflow's"])
async def test_only_so_many_run_at_once(limit: str) -> None:
    node = mapped(Parallelism=2) if limit == "its own" else mapped()
    fields: Raw = {} if limit == "its own" else {"executionConfig": {"MaxParallelism": 2}}
    async with bench() as of, of.controller():
        await create(of, node, plans=PLANS, **fields)
        assert [await exists(of, child(item)) for item in range(3)] == [True, True, False]
        await give(of, child(1), 1)
        assert await exists(of, child(2))


async def test_several_lists_go_item_by_item_and_a_bound_input_to_each() -> None:
    plans = {"plan": launch_plan(inputs={**A, "b": {"var": {"type": {}}}, "all": {"var": {"type": {}}}})}
    over = {"a": integers(1, 2), "b": integers(3, 4), "all": integers(8, 9)}
    async with bench() as of, of.controller():
        await create(of, mapped(over=over, BoundInputs=["all"]), plans=plans)
        found = await inputs_of(of, child(1))
        assert (found["a"].scalar.primitive.integer, found["b"].scalar.primitive.integer) == (2, 4)
        assert [one.scalar.primitive.integer for one in found["all"].collection.literals] == [8, 9]


async def test_items_get_the_plans_defaults_and_fixed_values() -> None:
    one = {"scalar": {"primitive": {"integer": "1"}}}
    inputs = {**A, "b": {"var": {"type": {}}, "default": one}}
    plans = {"plan": launch_plan(inputs=inputs, spec={"fixedInputs": {"literals": {"c": one}}})}
    async with bench() as of, of.controller():
        await create(of, mapped(), plans=plans)
        found = await inputs_of(of, child(1))
        assert {name: value.scalar.primitive.integer for name, value in found.items()} == {"a": 11, "b": 1, "c": 1}


async def test_over_nothing_it_gives_an_empty_list() -> None:
    async with bench() as of, of.controller():
        await create(of, mapped(over={"a": integers()}), plans=PLANS)
        assert (await status(of, "w"))["state"] == "Succeeded"
        assert await outputs(of) == []


@pytest.mark.parametrize("lag", [0.0, 100.0])
async def test_a_controller_that_comes_after_a_crash_goes_on(lag: float) -> None:
    async with bench(max_lag=lag) as of:
        async with of.controller():
            await create(of, mapped(), plans=PLANS)
            await give(of, child(0), 1)
        uids = [(await workflow(of, child(item)))["metadata"]["uid"] for item in range(3)]
        async with of.controller():
            for item in (1, 2):
                await give(of, child(item), item + 1)
            assert (await status(of, "w"))["state"] == "Succeeded"
            assert await outputs(of) == [1, 2, 3]
            assert [(await workflow(of, child(item)))["metadata"]["uid"] for item in range(3)] == uids


async def test_items_that_succeeded_do_not_run_again_in_a_recovery_and_the_others_recover_themselves() -> None:
    async with bench() as of, of.controller():
        await create(of, mapped(), plans=PLANS)
        await give(of, child(0), 7)
        await end(of, f"{child(1)}-a-0", "Failed")
        await asyncio.sleep(60.0)
        assert (await status(of, "w"))["state"] == "Failed"
        recovers = {"executionConfig": {"RecoveryExecution": {"name": "w"}}}
        await create(of, mapped(), plans=PLANS, name="again", **recovers)
        assert not await exists(of, child(0, parent="again"))
        config = (await workflow(of, child(1, parent="again")))["executionConfig"]
        assert config["RecoveryExecution"]["name"] == child(1)
        for item in (1, 2):
            await give(of, child(item, parent="again"), item + 7)
        assert (await status(of, "again"))["state"] == "Succeeded"
        assert await outputs(of, "again") == [7, 8, 9]


async def test_a_plan_that_maps_over_itself_ends_at_the_limit() -> None:
    async with bench() as of:
        of = with_options(of, nesting_limit=2)
        async with of.controller():
            over = {"a": integers(1)}
            await create(of, mapped(over=over), plans={"plan": launch_plan(mapped(over=over), inputs=A)})
            await asyncio.sleep(30.0)
            error = (await status(of, "w"))["error"]
            assert error["kind"] == "USER"
            assert "2 may be nested (controller.nesting_limit); plan starts itself" in error["message"]


@pytest.mark.parametrize(("inner", "says"), [({"subWorkflowRef": "s"}, "maps over sub-workflows"), (None, "branch")])
async def test_other_kinds_of_items_fail_the_node_by_name(inner: Raw | None, says: str) -> None:
    item = {"id": "item", "kind": "workflow", "workflow": inner}
    if inner is None:
        item = {"id": "item", "kind": "branch", "branch": {"if": {"then": "x"}}}
    node = mapped() | {"array": {"SubNodeSpec": item}}
    async with bench() as of, of.controller():
        await create(of, node, plans=PLANS)
        error = (await status(of, "w"))["error"]
        assert (error["code"], error["kind"]) == ("NotSupported", "USER")
        assert says in error["message"]
