"""Write the outputs that the engine makes itself: a workflow's at its end node, a map task's from its items, a
gate's from its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from propeller.handlers.executors._gather import gather
from propeller.handlers.executors._inputs import Inputs
from propeller.storage import Storage, open_literals, write_literals
from propeller.wire import COLLECTION, FIRST, SCALAR, Encoded, Literals, whole
from propeller.workflow import SIGNAL, SLEEP, NodePhase, NodeView, OpenGate

READS_AT_ONCE = 32
"""Items of one map task whose outputs are read together: enough to hide an object store's latency, too few to flood it.
"""

ITEMS_AT_ONCE = 1_000
"""Items whose outputs are in memory one by one, 2 KB and a task each; those before them are in the list already."""

_NONE = Encoded().add(SCALAR, b"\x2a\x00")
"""A literal without a value: a Scalar's none_type."""


async def write_outputs(node: NodeView, inputs: Inputs, storage: Storage) -> None:
    """Resolve an end node and store the result as the outputs of its workflow."""
    await write_literals(storage, node.execution.frame_outputs_uri(node.frame), await inputs.resolve(node))


async def write_gate_outputs(node: NodeView, effect: OpenGate, inputs: Inputs, storage: Storage) -> None:
    """Store the outputs of a gate: the value that was given, or the inputs, which were approved. A sleep has none."""
    gate = node.spec.gate
    assert gate is not None
    if gate.kind == SLEEP:
        return
    if gate.kind == SIGNAL:
        assert gate.signal is not None
        outputs = Literals({gate.signal.output_variable_name: whole(effect.value)})
    else:
        outputs = await inputs.resolve(node)
    await write_literals(storage, f"{node.execution.output_directory(node.number)}/outputs.pb", outputs)


async def gather_outputs(node: NodeView, names: Iterable[str], storage: Storage) -> None:
    """Store, for each output of a map's items, the list of their values; a failed item has none."""
    execution = node.execution
    frame = next(frame for frame in reversed(execution.frames) if frame.parent == node.number and frame.items)
    names = sorted(names)
    room = asyncio.Semaphore(READS_AT_ONCE)

    async def read(number: int) -> Literals | None:
        if execution.phases[number] != NodePhase.SUCCEEDED:
            return None
        async with room:
            return await open_literals(storage, execution.outputs_uri(number))

    uri, most = f"{execution.output_directory(node.number)}/outputs.pb", storage.settings.max_blob_bytes
    lists = {name: bytearray() for name in names}
    count = len(frame.graph.nodes) if names else 0
    for first in range(frame.base, frame.base + count, ITEMS_AT_ONCE):
        items = await gather(read(number) for number in range(first, min(first + ITEMS_AT_ONCE, frame.base + count)))
        for name, values in lists.items():
            some = Encoded()
            for item in items:
                some.add(FIRST, item.raw[name] if item is not None and name in item.raw else _NONE)
            values += some.tobytes()
    outputs = {
        name: whole(Encoded().add(COLLECTION, bytes(values)).require(most, uri).tobytes())
        for name, values in lists.items()
    }
    await write_literals(storage, uri, Literals(outputs))
