"""Outputs that the engine writes: of a workflow at its end node, of a map task from its items."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from flyteidl.core import literals_pb2

from propeller.errors import CorruptBlob, Invalid
from propeller.handlers.executors._outputs import ITEMS_AT_ONCE, READS_AT_ONCE, gather_outputs, write_outputs
from propeller.storage import Storage, open_literals
from propeller.wire import Literals
from propeller.workflow import NodePhase
from tests.unit.handlers.build import World, array, bindings, graph, task, template
from tests.unit.storage.values import offloaded, promise

NAMES = ("o0", "o1")
TASKS = {"t": template(outputs=NAMES)}


def ending_with(**values: Any) -> dict[str, Any]:
    """A workflow of one task whose end node has these bindings."""
    root = graph(task("n0"))
    root["nodes"]["end-node"]["inputBindings"] = bindings(**values)
    return root


async def test_a_workflows_outputs_are_those_of_its_end_node() -> None:
    world = World(ending_with(a=promise("n0", "o0"), b=[1, 2]))
    await world.succeeded("n0", o0="x")
    await write_outputs(world.node("end-node"), world.inputs, world.storage)
    assert world.stored("memory://m/e/end-node/data/0/outputs.pb") == {"a": "x", "b": [1, 2]}


async def test_a_sub_workflows_outputs_are_those_of_its_node() -> None:
    outer = {"id": "n0", "kind": "workflow", "workflow": {"subWorkflowRef": "inner"}}
    world = World(graph(outer), inner=ending_with(a=promise("n0", "o0")))
    world.open_sub_workflow("n0", "inner")
    await world.succeeded("n0-0-n0", o0=7)
    await write_outputs(world.node("n0-0-end-node"), world.inputs, world.storage)
    assert world.stored("memory://m/e/n0/data/0/outputs.pb") == {"a": 7}


async def test_an_output_that_nothing_gives_is_refused() -> None:
    world = World(ending_with(a=promise("n0", "none")))
    await world.succeeded("n0", o0="x")
    with pytest.raises(Invalid, match="needs 'none' of n0"):
        await write_outputs(world.node("end-node"), world.inputs, world.storage)


async def test_a_map_tasks_outputs_are_lists_in_the_order_of_its_items() -> None:
    world = World(graph(array("n0")), TASKS)
    count = 3 * READS_AT_ONCE
    for number, item in enumerate(world.open_items("n0", count)):
        await world.succeeded(item, attempt=number % 3, o0=number, o1=str(number))
    await gather_outputs(world.node("n0"), NAMES, world.storage)
    assert world.stored("memory://m/e/n0/data/0/outputs.pb") == {
        "o0": list(range(count)),
        "o1": list(map(str, range(count))),
    }


async def test_an_item_that_did_not_succeed_contributes_none() -> None:
    world = World(graph(array("n0")), TASKS)
    first, second, third, fourth = world.open_items("n0", 4)
    await world.succeeded(first, o0=1, o1=1)
    for item, phase in ((second, NodePhase.FAILED), (third, NodePhase.ABORTED), (fourth, NodePhase.NOT_STARTED)):
        await world.succeeded(item, o0="stale", o1="stale")
        world.execution.phases[item.number] = phase
    await gather_outputs(world.node("n0"), NAMES, world.storage)
    assert world.stored("memory://m/e/n0/data/0/outputs.pb") == {
        "o0": [1, None, None, None],
        "o1": [1, None, None, None],
    }


async def test_an_output_that_an_item_lacks_is_none_in_its_place() -> None:
    world = World(graph(array("n0")), TASKS)
    for item in world.open_items("n0", 2):
        await world.succeeded(item, o0=1)
    await gather_outputs(world.node("n0"), NAMES, world.storage)
    assert world.stored("memory://m/e/n0/data/0/outputs.pb") == {"o0": [1, 1], "o1": [None, None]}


async def test_a_map_task_without_items_has_empty_lists() -> None:
    world = World(graph(array("n0")), TASKS)
    world.open_items("n0", 0)
    await gather_outputs(world.node("n0"), NAMES, world.storage)
    assert world.stored("memory://m/e/n0/data/0/outputs.pb") == {"o0": [], "o1": []}


async def test_a_map_task_without_outputs_reads_nothing() -> None:
    world = World(graph(array("n0")))
    for item in world.open_items("n0", 3):
        world.execution.phases[item.number] = NodePhase.SUCCEEDED
    await gather_outputs(world.node("n0"), (), world.storage)
    assert world.blobs == {"memory://m/e/n0/data/0/outputs.pb": b""}


async def test_values_that_were_offloaded_stay_where_they_are() -> None:
    world = World(graph(array("n0")), TASKS)
    (item,) = world.open_items("n0", 1)
    await world.succeeded(item, o0=offloaded("memory://m/large"), o1=1)
    await gather_outputs(world.node("n0"), NAMES, world.storage)
    found = literals_pb2.LiteralMap.FromString(world.blobs["memory://m/e/n0/data/0/outputs.pb"])
    assert found.literals["o0"].collection.literals[0] == offloaded("memory://m/large")


async def test_garbage_among_the_items_outputs_is_corrupt_and_named() -> None:
    world = World(graph(array("n0")), TASKS)
    first, second = world.open_items("n0", 2)
    await world.succeeded(first, o0=1, o1=1)
    await world.succeeded(second)
    world.blobs["memory://m/e/n0/data/0/1/0/outputs.pb"] = b"\xff\xff"
    world.storage._cache.discard("memory://m/e/n0/data/0/1/0/outputs.pb")
    with pytest.raises(CorruptBlob, match=r"memory://m/e/n0/data/0/1/0/outputs\.pb"):
        await gather_outputs(world.node("n0"), NAMES, world.storage)


async def test_few_items_of_a_large_map_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task and a coroutine for each of 100,000 items were 200 MB."""
    world, count, tasks = World(graph(array("n0")), TASKS), 2 * ITEMS_AT_ONCE + 1, []
    for number, item in enumerate(world.open_items("n0", count)):
        await world.succeeded(item, o0=number)

    async def counted(storage: Storage, uri: str) -> Literals:
        tasks.append(len(asyncio.all_tasks()))
        await asyncio.sleep(0)
        return await open_literals(storage, uri)

    monkeypatch.setattr("propeller.handlers.executors._outputs.open_literals", counted)
    await gather_outputs(world.node("n0"), ("o0",), world.storage)
    assert world.stored("memory://m/e/n0/data/0/outputs.pb") == {"o0": list(range(count))}
    assert max(tasks) <= ITEMS_AT_ONCE + 1
