"""A node's inputs: where each kind of binding gets its value, and where the result is stored."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from flyteidl.core import types_pb2

from propeller.errors import CorruptBlob, ErrorKind, Invalid, MissingBlob
from propeller.handlers import Inputs
from propeller.handlers.executors._gather import gather
from propeller.handlers.executors._items import InvalidArrayLength
from propeller.handlers.executors._run import failure_of
from propeller.storage import MemoryStore, Storage, write_literals
from propeller.workflow import NodePhase
from tests.unit.handlers.build import World, array, bindings, graph, literals, outputs, task
from tests.unit.storage.values import literal, msgpack, offloaded, promise, python

START = "start-node"


async def test_a_tasks_inputs_are_stored_where_its_pod_reads_them() -> None:
    world = World(graph(task("n0", inputBindings=bindings(a=1, b=[1, "x"], c={"k": 2.5}))))
    assert outputs(await world.inputs.of_task(world.node("n0"))) == {"a": 1, "b": [1, "x"], "c": {"k": 2.5}}
    assert world.stored("memory://m/e/n0/data/inputs.pb") == {"a": 1, "b": [1, "x"], "c": {"k": 2.5}}


async def test_a_task_without_inputs_has_an_empty_file() -> None:
    world = World(graph(task("n0")))
    await world.inputs.of_task(world.node("n0"))
    assert world.blobs == {"memory://m/e/n0/data/inputs.pb": b""}


@pytest.mark.parametrize("start", ["", START])
async def test_promises_of_the_start_node_are_the_executions_inputs(start: str) -> None:
    world = World(graph(task("n0", inputBindings=bindings(a=promise(start, "x")))), inputs=literals(x=7))
    assert outputs(await world.inputs.resolve(world.node("n0"))) == {"a": 7}


async def test_promises_of_a_node_are_the_outputs_of_its_latest_attempt() -> None:
    world = World(graph(task("n0"), task("n1", inputBindings=bindings(a=promise("n0", "o0"))), edges=[("n0", "n1")]))
    await world.succeeded("n0", o0=1)
    await world.succeeded("n0", attempt=2, o0=3)
    assert outputs(await world.inputs.resolve(world.node("n1"))) == {"a": 3}


async def test_promises_of_an_alias_are_the_output_that_it_stands_for() -> None:
    named = task("n0", outputAlias=[{"var": "o0", "alias": "bigger"}])
    after = task("n1", inputBindings=bindings(a=promise("n0", "bigger")))
    world = World(graph(named, after, edges=[("n0", "n1")]))
    await world.succeeded("n0", o0=5)
    assert outputs(await world.inputs.resolve(world.node("n1"))) == {"a": 5}


async def test_promises_go_down_paths_and_stand_within_lists() -> None:
    value = [promise("n0", "o0", "weights", 1), {"k": promise(START, "x")}]
    world = World(
        graph(task("n0"), task("n1", inputBindings=bindings(a=value)), edges=[("n0", "n1")]), inputs=literals(x="y")
    )
    await world.succeeded("n0", o0=msgpack({"weights": [1, 2]}))
    assert outputs(await world.inputs.resolve(world.node("n1"))) == {"a": [2, {"k": "y"}]}


async def test_inside_a_sub_workflow_the_start_node_gives_that_workflows_inputs() -> None:
    inner = graph(task("x", inputBindings=bindings(a=promise(START, "p"))))
    outer = {
        "id": "n0",
        "kind": "workflow",
        "workflow": {"subWorkflowRef": "inner"},
        "inputBindings": bindings(p=promise(START, "x")),
    }
    world = World(graph(outer), inputs=literals(x=5), inner=inner)
    assert await world.inputs.of_container_node(world.node("n0")) == 0
    world.open_sub_workflow("n0", "inner")
    assert outputs(await world.inputs.resolve(world.node("n0-0-x"))) == {"a": 5}


async def test_the_outputs_of_a_branch_are_those_of_the_case_that_ran() -> None:
    world = World(
        graph(
            {"id": "n0", "kind": "branch", "branch": {"if": {"then": "n0-n0"}, "else": "n0-n1"}},
            task("n0-n0"),
            task("n0-n1"),
            task("n1", inputBindings=bindings(a=promise("n0", "o0"))),
            edges=[("n0", "n1")],
        )
    )
    world.execution.phases[world.node("n0-n0").number] = NodePhase.SKIPPED
    await world.succeeded("n0-n1", o0="else")
    assert outputs(await world.inputs.resolve(world.node("n1"))) == {"a": "else"}


async def test_an_output_that_does_not_exist_is_named_with_those_that_do() -> None:
    world = World(graph(task("n0"), task("n1", inputBindings=bindings(a=promise("n0", "o1"))), edges=[("n0", "n1")]))
    await world.succeeded("n0", o0=1)
    with pytest.raises(Invalid, match=r"ns/e node n1 needs 'o1' of n0, which has only \['o0'\]"):
        await world.inputs.resolve(world.node("n1"))


async def test_a_node_that_does_not_exist_is_named() -> None:
    world = World(graph(task("n1", inputBindings=bindings(a=promise("n9", "o0")))))
    with pytest.raises(Invalid, match="ns/e node n1 is bound to node 'n9', which does not exist"):
        await world.inputs.resolve(world.node("n1"))


async def test_outputs_that_are_not_there_are_a_missing_blob_and_garbage_is_corrupt() -> None:
    world = World(graph(task("n0"), task("n1", inputBindings=bindings(a=promise("n0", "o0"))), edges=[("n0", "n1")]))
    with pytest.raises(MissingBlob):
        await world.inputs.resolve(world.node("n1"))
    world.blobs["memory://m/e/n0/data/0/outputs.pb"] = b"\xff\xff"
    with pytest.raises(CorruptBlob):
        await world.inputs.resolve(world.node("n1"))


async def test_several_nodes_outputs_are_read_at_once() -> None:
    class Slow(MemoryStore):
        at_once = most = 0

        async def read(self, uri: str, limit: int) -> bytes:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await asyncio.sleep(0)
            self.at_once -= 1
            return await super().read(uri, limit)

    wanted = bindings(**{f"x{number}": promise(f"n{number}", "o0") for number in range(5)})
    before = [task(f"n{number}") for number in range(5)]
    world = World(graph(*before, task("last", inputBindings=wanted), edges=[(node["id"], "last") for node in before]))
    for node in before:
        await world.succeeded(node["id"], o0=node["id"])
    store = Slow(world.blobs)
    found = await Inputs(Storage(stores={"memory": store})).resolve(world.node("last"))
    assert outputs(found) == {f"x{number}": f"n{number}" for number in range(5)}
    assert store.most == 5


async def test_together_leaves_nothing_behind_when_one_fails() -> None:
    ended: list[int] = []

    async def job(number: int) -> None:
        await asyncio.sleep(0.001 * number)
        ended.append(number)
        if number < 2:
            raise Invalid(str(number))

    with pytest.raises(Invalid, match="0"):
        await gather(job(number) for number in range(4))
    assert ended == [0, 1, 2, 3]


def failing_workflow(**values: Any) -> World:
    """A workflow with a failure node that has these bindings."""
    return World(
        graph(task("n0"), onFailure=task("fn", inputBindings=bindings(**values)), onFailurePolicy=0),
        inputs=literals(x=1, err="the user's own"),
    )


async def test_the_failure_node_receives_what_went_wrong() -> None:
    world = failing_workflow(a=promise(START, "x"), err=None)
    world.fail("it broke", "n0")
    found = await world.inputs.resolve(world.node("fn"))
    assert python(found.literals["a"]) == 1
    union = found.literals["err"].scalar.union
    assert (union.value.scalar.error.failed_node_id, union.value.scalar.error.message) == ("n0", "it broke")
    assert (union.type.simple, union.type.structure.tag) == (types_pb2.ERROR, "FlyteError")


async def test_a_failure_node_that_does_not_ask_for_the_error_does_not_get_it() -> None:
    world = failing_workflow(a=promise(START, "x"))
    world.fail("it broke", "n0")
    assert outputs(await world.inputs.resolve(world.node("fn"))) == {"a": 1}


async def test_an_input_called_err_of_any_other_node_is_its_own() -> None:
    world = World(graph(task("n0", inputBindings=bindings(err="mine")), onFailure=task("fn")))
    world.fail("it broke", "n1")
    assert outputs(await world.inputs.resolve(world.node("n0"))) == {"err": "mine"}


def map_world(*, bound: tuple[str, ...] = (), data_mode: int = 0, **values: Any) -> World:
    return World(graph(array("n0", bound=bound, dataMode=data_mode, inputBindings=bindings(**values))))


@pytest.mark.parametrize(
    ("values", "bound", "size"),
    [
        ({"xs": [1, 2, 3]}, (), 3),
        ({"xs": [1, 2], "ys": ["a", "b"], "k": 7}, (), 2),
        ({"xs": []}, (), 0),
        ({"xs": [1, 2, 3], "ys": [1]}, ("ys",), 3),
        ({"k": 7}, ("k",), 1),
        ({"ys": [1, 2]}, ("ys",), 1),
    ],
)
async def test_a_map_task_has_as_many_items_as_its_lists(
    values: dict[str, Any], bound: tuple[str, ...], size: int
) -> None:
    world = map_world(bound=bound, **values)
    assert await world.inputs.of_container_node(world.node("n0")) == size
    assert world.stored("memory://m/e/n0/data/inputs.pb") == values


@pytest.mark.parametrize(
    ("values", "bound", "message"),
    [
        ({"xs": [1, 2], "ys": [1]}, (), "different lengths: {'xs': 2, 'ys': 1}"),
        ({"k": 7}, (), "needs a list among its inputs"),
        ({"ys": [1], "k": 7}, ("ys",), "needs a list among its inputs"),
    ],
)
async def test_lists_that_a_map_task_cannot_run_over_are_refused(
    values: dict[str, Any], bound: tuple[str, ...], message: str
) -> None:
    world = map_world(bound=bound, **values)
    with pytest.raises(InvalidArrayLength, match=message) as refused:
        await world.inputs.of_container_node(world.node("n0"))
    failure = failure_of(refused.value, world.node("n0"))
    assert (failure.code, failure.kind, failure.recoverable) == ("InvalidArrayLength", ErrorKind.USER, False)


@pytest.mark.parametrize("data_mode", [0, 1])
async def test_an_item_gets_its_share_of_the_lists_and_all_of_the_rest(data_mode: int) -> None:
    world = map_world(bound=("ys",), data_mode=data_mode, xs=[10, 20], ys=[1, 2], k="k")
    await world.inputs.of_container_node(world.node("n0"))
    for number, item in enumerate(world.open_items("n0", 2)):
        share = {"xs": [10, 20][number], "ys": [1, 2], "k": "k"}
        assert outputs(await world.inputs.of_task(item)) == share
        own = f"memory://m/e/n0/data/0/{number}/inputs.pb"
        assert own in world.blobs if data_mode else own not in world.blobs
        if data_mode:
            assert world.stored(own) == share


async def test_lists_that_were_offloaded_are_counted_and_shared_out() -> None:
    world = World(
        graph(array("n0", bound=("ys",), inputBindings=bindings(xs=promise(START, "xs"), ys=promise(START, "ys")))),
        inputs=literals(xs=offloaded("memory://m/xs"), ys=offloaded("memory://m/ys")),
    )
    await world.storage.write("memory://m/xs", literal(["a", "b"]).SerializeToString())
    assert await world.inputs.of_container_node(world.node("n0")) == 2
    _, second = world.open_items("n0", 2)
    found = await world.inputs.of_task(second)
    assert python(found.literals["xs"]) == "b"
    assert found.literals["ys"] == offloaded("memory://m/ys")


async def test_an_item_beyond_the_end_of_its_list_is_refused() -> None:
    world = map_world(xs=[1])
    await world.inputs.of_container_node(world.node("n0"))
    _, second = world.open_items("n0", 2)
    with pytest.raises(Invalid, match="item 1 of a map task does not exist: list 'xs' has 1"):
        await world.inputs.of_task(second)


async def test_the_inputs_of_a_map_task_are_parsed_once_for_all_items() -> None:
    world = map_world(xs=[1, 2, 3])
    await world.inputs.of_container_node(world.node("n0"))
    uri = "memory://m/e/n0/data/inputs.pb"
    assert await world.inputs._items.read(uri, ()) is await world.inputs._items.read(uri, ())
    for number, item in enumerate(world.open_items("n0", 3)):
        assert outputs(await world.inputs.of_task(item)) == {"xs": number + 1}


async def test_items_that_begin_together_parse_the_inputs_once() -> None:
    """A large list is parsed in a thread: all items that ask meanwhile wait for that, and hold no list of their own."""
    world = map_world(xs=["x" * 10_000] * 500)
    await world.inputs.of_container_node(world.node("n0"))
    uri = "memory://m/e/n0/data/inputs.pb"
    found = await gather(world.inputs._items.read(uri, ()) for _ in range(16))
    assert all(shares is found[0] for shares in found)
    assert not world.inputs._items._splitting


async def test_inputs_that_were_written_anew_are_parsed_anew() -> None:
    world = map_world(xs=[1])
    await world.inputs.of_container_node(world.node("n0"))
    (item,) = world.open_items("n0", 1)
    assert outputs(await world.inputs.of_task(item)) == {"xs": 1}
    await write_literals(world.storage, "memory://m/e/n0/data/inputs.pb", literals(xs=[2]))
    assert outputs(await world.inputs.of_task(item)) == {"xs": 2}


async def test_no_more_than_a_few_inputs_are_kept_parsed(monkeypatch: Any) -> None:
    monkeypatch.setattr("propeller.handlers.executors._items.CACHE_BYTES", 50)
    world = map_world(xs=[1])
    for name in "abc":
        await write_literals(world.storage, f"memory://m/{name}", literals(xs=["x" * 20]))
        await world.inputs._items.read(f"memory://m/{name}", ())
    assert list(world.inputs._items._kept) == ["memory://m/c"]
