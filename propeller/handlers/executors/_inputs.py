"""Resolve a node's bindings to its inputs, and store them.

Guarantees
    Literals stay in the object store; one that is read twice within a short time is read once (the storage's cache).
    An inputs.pb is written before anything starts that reads it.
"""

from __future__ import annotations

from flyteidl.core import literals_pb2, types_pb2

from propeller.errors import Invalid
from propeller.handlers.executors._gather import gather
from propeller.handlers.executors._items import ItemInputs
from propeller.storage import Storage, open_literals, promised_nodes, resolve, write_literals
from propeller.wire import Literals, Slice, whole
from propeller.workflow import START_NODE, Execution, NodeView

ERROR_INPUT = "err"
"""The input of a failure node that receives what went wrong (flytekit's convention)."""


class Inputs:
    """Resolves and stores inputs; see the module's text."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._items = ItemInputs(storage)

    async def of_task(self, node: NodeView) -> Literals:
        """Return the inputs of a task node, after storing them where its pod reads them.

        An item of a map task gets its share of the lists: in a file of its own (`data_mode` 1), or as an index into the
        file that all items share.
        """
        if node.item is None:
            inputs = await self.resolve(node)
            await write_literals(self._storage, node.execution.inputs_uri(node.number), inputs)
            return inputs
        own = await self._share(node, node.item)
        array = node.execution.view(node.frame.parent).spec.array
        assert array is not None
        if array.data_mode == 1:
            await write_literals(self._storage, node.execution.inputs_uri(node.number), own)
        return own

    async def peek(self, node: NodeView) -> Literals:
        """Return the inputs of a task node, or an item's share, and store nothing. Raises as `of_task`."""
        return await self.resolve(node) if node.item is None else await self._share(node, node.item)

    async def of_container_node(self, node: NodeView) -> int:
        """Store the inputs of a sub-workflow or map task; returns how many items a map task has, 0 for others."""
        inputs = await self.resolve(node)
        await write_literals(self._storage, node.execution.inputs_uri(node.number), inputs)
        if node.spec.array is None:
            return 0
        bound = node.spec.array.bound_inputs or ()
        return (await self._items.split(inputs, bound)).count(bound)

    async def _share(self, node: NodeView, item: int) -> Literals:
        parent = node.frame.parent
        array = node.execution.view(parent).spec.array
        assert array is not None
        return (await self._items.read(node.execution.inputs_uri(parent), array.bound_inputs or ())).of_item(item)

    async def resolve(self, node: NodeView) -> Literals:
        """Resolve the node's bindings to literals. Raises Invalid if one cannot be resolved."""
        bindings = node.graph.bindings(node.graph_index)
        needed = list(dict.fromkeys(name for binding in bindings for name in promised_nodes(binding.binding)))
        is_local = self._storage.is_local(node.execution.info.directory)
        outputs = await gather((self._outputs_of(node, name) for name in needed), in_sequence=is_local)
        available = dict(zip(needed, outputs, strict=True))

        def lookup(node_id: str, variable: str) -> Slice:
            literals = available[node_id].raw
            variable = _output_named(node, node_id, variable)
            if variable not in literals:
                raise Invalid(
                    f"{node.log_name} needs {variable!r} of {node_id or START_NODE}, which has only {sorted(literals)}"
                )
            return literals[variable]

        inputs = {binding.var: await resolve(binding.binding, lookup, self._storage) for binding in bindings}
        if node.graph_index == node.graph.failure and node.frame.failure is not None and ERROR_INPUT in inputs:
            inputs[ERROR_INPUT] = whole(_error(node).SerializeToString(deterministic=True))
        return Literals(inputs)

    async def _outputs_of(self, node: NodeView, node_id: str) -> Literals:
        execution = node.execution
        if node_id in {"", START_NODE}:
            return await self.of_frame(execution, node.frame.parent)
        number = node.graph.number_of(node_id)
        if number is None:
            raise Invalid(f"{node.log_name} is bound to node {node_id!r}, which does not exist")
        return await open_literals(self._storage, execution.outputs_uri(node.frame.base + number))

    async def of_frame(self, execution: Execution, parent: int) -> Literals:
        """Return the inputs of a running graph: the execution's, or those of the node that it runs inside of."""
        if parent < 0:
            return execution.cached(_given)
        return await open_literals(self._storage, execution.inputs_uri(parent))


def _output_named(node: NodeView, node_id: str, name: str) -> str:
    """Return the output of a node that a promise refers to, possibly by an alias."""
    number = node.graph.number_of(node_id)
    aliases = node.graph.nodes[number].output_alias if number is not None else ()
    return next((one.var for one in aliases if one.alias == name), name)


def _given(execution: Execution) -> Literals:
    """Return the inputs that the execution was created with."""
    inputs = execution.info.inputs
    return inputs if isinstance(inputs, Literals) else Literals(inputs.SerializeToString())


def _error(node: NodeView) -> literals_pb2.Literal:
    """Return the failure in the form that a failure node gets (flytepropeller nodes/resolve.go,
    ResolveErrorInputLiteralData).
    """
    failure = node.frame.failure
    assert failure is not None
    literal = literals_pb2.Literal()
    union = literal.scalar.union
    union.value.scalar.error.failed_node_id = failure.node
    union.value.scalar.error.message = failure.message
    union.type.simple = types_pb2.ERROR
    union.type.structure.tag = "FlyteError"
    return literal
