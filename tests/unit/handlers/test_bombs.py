"""What tasks leave, and what is small in bytes and large once it is parsed: it costs no more than its bytes."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import pytest

from propeller.errors import CorruptBlob, ErrorKind, Invalid
from propeller.handlers import Inputs
from propeller.handlers.executors._outcome import collect
from propeller.handlers.executors._outputs import write_outputs
from propeller.handlers.plugins import PodSettings
from propeller.handlers.plugins.pod import build_pod
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.wire import COLLECTION, FIRST, SECOND, Encoded
from propeller.workflow import EffectFailed, OutputsFound
from tests.unit.handlers.build import World, array, bindings, graph, literals, outputs, task, template
from tests.unit.storage.values import promise

OUTPUTS_URI = "memory://m/e/n0/data/0/outputs.pb"
ITEMS = 1_000_000
BOMB = b"\x0a\x00" * ITEMS
"""A million empty items of a list: 2 MB, of which a parser makes 100 MB and more."""


def outputs_of(value: bytes) -> bytes:
    of = Encoded().add(FIRST, Encoded().add(FIRST, b"o0").add(SECOND, value))
    return of.tobytes()


LIST = outputs_of(Encoded().add(COLLECTION, BOMB).tobytes())


def world(*nodes: Any, tasks: dict[str, Any] | None = None, **root: Any) -> World:
    made = World(
        graph(task("n0"), *nodes, edges=[("n0", node["id"]) for node in nodes], **root),
        {"t": template(outputs=("o0",)), **(tasks or {})},
    )
    made.blobs[OUTPUTS_URI] = LIST
    return made


async def traced(doing: Any) -> tuple[Any, int]:
    """What comes of it, and the most bytes that Python had for it."""
    tracemalloc.start()
    try:
        return await doing, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_outputs_are_found_by_their_names() -> None:
    of = world()
    found, peak = await traced(collect(of.node("n0"), 0, of.storage, of.launch_plans))
    assert found == OutputsFound(0)
    assert peak < len(LIST)


async def test_they_are_passed_on_as_bytes() -> None:
    of = world(task("n1", inputBindings=bindings(a=promise("n0", "o0"), b=[promise("n0", "o0")])))
    of.execution.phases[of.node("n0").number] = 5
    _, peak = await traced(of.inputs.of_task(of.node("n1")))
    assert len(of.blobs["memory://m/e/n1/data/inputs.pb"]) > 2 * len(BOMB)
    assert peak < 10 * len(LIST)


async def test_they_become_a_workflows_outputs_as_bytes() -> None:
    end = World(_ending(a=promise("n0", "o0")), {"t": template(outputs=("o0",))})
    end.blobs[OUTPUTS_URI] = LIST
    _, peak = await traced(write_outputs(end.node("end-node"), end.inputs, end.storage))
    assert peak < 10 * len(LIST)


def _ending(**values: Any) -> dict[str, Any]:
    root = graph(task("n0"))
    root["nodes"]["end-node"]["inputBindings"] = bindings(**values)
    return root


async def test_one_that_a_command_names_is_refused() -> None:
    printing = template(container={"image": "i", "command": ["echo", "{{.inputs.a}}"]})
    of = world(
        task("n1", task="print", inputBindings=bindings(a=promise("n0", "o0"))),
        tasks={"print": printing},
    )
    inputs = await of.inputs.of_task(of.node("n1"))
    with pytest.raises(CorruptBlob, match=r"the value of 'a' .* more than 50000 messages"):
        build_pod(of.node("n1"), 0, inputs, PodSettings(raw_output_prefix="memory://raw"))


async def test_a_path_into_it_finds_its_item() -> None:
    of = world(task("n1", inputBindings=bindings(a=promise("n0", "o0", 99_999))))
    found, peak = await traced(of.inputs.resolve(of.node("n1")))
    assert found.raw["a"].size == 0
    assert peak < len(LIST)


@pytest.mark.parametrize(("items", "most", "text"), [(1_001, 1_000, "1001"), (ITEMS, 100_000, str(ITEMS))])
async def test_a_map_task_over_more_items_than_the_limit_is_refused_with_both_numbers(
    items: int, most: int, text: str
) -> None:
    of = world(array("n1", inputBindings=bindings(xs=promise("n0", "o0"))))
    of.blobs[OUTPUTS_URI] = outputs_of(Encoded().add(COLLECTION, BOMB[: 2 * items]).tobytes())
    storage = Storage(StorageOptions(max_map_items=most), stores={"memory": MemoryStore(of.blobs)})
    message = rf"a map task over 'xs' would have {text} items; storage\.max_map_items allows {most}"
    with pytest.raises(Invalid, match=message):
        await Inputs(storage).of_container_node(of.node("n1"))


async def test_a_map_task_over_a_hundred_thousand_items_runs() -> None:
    of = World(
        graph(array("n0", inputBindings=bindings(xs=promise("start-node", "xs")))), inputs=literals(xs=[7] * 100_000)
    )
    assert await of.inputs.of_container_node(of.node("n0")) == 100_000
    items = of.open_items("n0", 100_000)
    for number in (0, 1, 99_999):
        assert outputs(await of.inputs.of_task(items[number])) == {"xs": 7}


async def test_futures_of_too_many_messages_are_the_tasks_failure_and_name_the_setting() -> None:
    of = world()
    of.blobs["memory://m/e/n0/data/0/futures.pb"] = BOMB + BOMB
    found, peak = await traced(collect(of.node("n0"), 0, of.storage, of.launch_plans))
    assert isinstance(found, EffectFailed)
    assert (found.failure.code, found.failure.kind) == ("CorruptData", ErrorKind.USER)
    assert "futures.pb (4000000 bytes)" in found.failure.message
    assert "more than 1000000 messages (storage.max_messages)" in found.failure.message
    assert peak < len(BOMB)


async def test_an_error_of_too_many_messages_is_garbage_and_a_long_one_is_shortened() -> None:
    of = world()
    of.blobs["memory://m/e/n0/data/0/error.pb"] = BOMB
    found = await collect(of.node("n0"), 0, of.storage, of.launch_plans)
    assert isinstance(found, EffectFailed)
    assert found.failure.code == "CorruptData"
    long = Encoded().add(
        FIRST, Encoded().add(FIRST, b"E" * 100_000).add(SECOND, b"begin " + b"x" * 5_000_000 + b" end")
    )
    of.blobs["memory://m/e/n0/data/0/error.pb"] = long.tobytes()
    found = await collect(of.node("n0"), 0, of.storage, of.launch_plans)
    assert isinstance(found, EffectFailed)
    assert found.failure.message.startswith("begin ")
    assert len(found.failure.message) + len(found.failure.code) < 100_000


async def test_outputs_with_a_million_names_are_garbage() -> None:
    of = world()
    of.blobs[OUTPUTS_URI] = BOMB
    found = await collect(of.node("n0"), 0, of.storage, of.launch_plans)
    assert isinstance(found, EffectFailed)
    assert found.failure.code == "CorruptData"


async def test_what_is_large_is_looked_at_beside_the_loop() -> None:
    """The loop has its turns while a list of a million items is counted."""
    of = world(array("n1", inputBindings=bindings(xs=promise("n0", "o0"))))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    with pytest.raises(Invalid, match="max_map_items"):
        await of.inputs.of_container_node(of.node("n1"))
    counting.cancel()
    assert turns > 10
