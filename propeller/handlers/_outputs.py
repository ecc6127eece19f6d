"""Outputs that the engine writes itself: a workflow's at its end node, a map task's from its items."""

from __future__ import annotations

import asyncio

from flyteidl.core import literals_pb2

from propeller.handlers._inputs import Inputs
from propeller.handlers._together import together
from propeller.storage import Storage, read_literals, write_literals
from propeller.workflow import NodePhase, NodeView

READS_AT_ONCE = 32
"""Items of one map task whose outputs are read together: enough to hide an object store's latency, too few to flood it.
"""


async def write_outputs(node: NodeView, inputs: Inputs, storage: Storage) -> None:
    """Resolve an end node and store the result as the outputs of its workflow."""
    await write_literals(storage, node.execution.frame_outputs_uri(node.frame), await inputs.resolve(node))


async def gather_outputs(node: NodeView, storage: Storage) -> None:
    """Store, for each output of a map task, the list of its items' values; an item that failed contributes none."""
    execution = node.execution
    frame = next(frame for frame in reversed(execution.frames) if frame.parent == node.number and frame.items)
    assert node.spec.array is not None
    names = node.graph.plan.task(node.spec.array.sub_node_spec.task).interface.outputs.variables
    room = asyncio.Semaphore(READS_AT_ONCE)

    async def read(number: int) -> literals_pb2.LiteralMap | None:
        if execution.phases[number] != NodePhase.SUCCEEDED:
            return None
        async with room:
            return await read_literals(storage, execution.outputs_uri(number))

    numbers = range(frame.base, frame.base + len(frame.graph.nodes))
    items = await together(read(number) for number in numbers) if names else []
    outputs = literals_pb2.LiteralMap()
    for name in names:
        values = outputs.literals[name].collection
        values.SetInParent()
        for item in items:
            if item is not None and name in item.literals:
                values.literals.append(item.literals[name])
            else:
                values.literals.add().scalar.none_type.SetInParent()
    await write_literals(storage, f"{execution.output_directory(node.number)}/outputs.pb", outputs)
