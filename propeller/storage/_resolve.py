"""Bindings to literals: what a workflow's author wrote, with the outputs of other nodes put in (flytepropeller
nodes/resolve.go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flyteidl.core import literals_pb2

from propeller.errors import Invalid
from propeller.storage._attributes import follow
from propeller.storage._storage import Storage

MAX_DEPTH = 100
"""Lists and maps within each other in one binding: as many as protobuf's own parsers allow."""

Lookup = Callable[[str, str], literals_pb2.Literal]
"""`(node id, variable) -> the node's output of that name`. Raises Invalid where there is none."""


async def resolve(binding: literals_pb2.BindingData, lookup: Lookup, storage: Storage) -> literals_pb2.Literal:
    """The binding's value. `storage` is read only where an attribute path leads into an offloaded literal.

    Raises Invalid, naming the promise, where a path leads nowhere, and what storage raises.
    """
    literal = literals_pb2.Literal()
    await _fill(literal, binding, lookup, storage, 0)
    return literal


def promised_nodes(binding: literals_pb2.BindingData) -> Iterator[str]:
    """The ids of the nodes whose outputs a binding needs; one may come more than once."""
    rest = [binding]
    while rest:
        data = rest.pop()
        match data.WhichOneof("value"):
            case "promise":
                yield data.promise.node_id
            case "collection":
                rest.extend(data.collection.bindings)
            case "map":
                rest.extend(data.map.bindings.values())


async def _fill(
    literal: literals_pb2.Literal, data: literals_pb2.BindingData, lookup: Lookup, storage: Storage, depth: int
) -> None:
    if depth > MAX_DEPTH:
        raise Invalid(f"a binding nests more than {MAX_DEPTH} lists and maps")
    match data.WhichOneof("value"):
        case "scalar":
            literal.scalar.CopyFrom(data.scalar)
        case "promise":
            promise = data.promise
            found = lookup(promise.node_id, promise.var)
            if promise.attr_path:
                found = await follow(found, promise.attr_path, storage, f"{promise.node_id}.{promise.var}")
            literal.CopyFrom(found)
        case "collection":
            literal.collection.SetInParent()
            for item in data.collection.bindings:
                await _fill(literal.collection.literals.add(), item, lookup, storage, depth + 1)
        case "map":
            literal.map.SetInParent()
            for key, value in data.map.bindings.items():
                await _fill(literal.map.literals[key], value, lookup, storage, depth + 1)
        case "offloaded_metadata":
            literal.offloaded_metadata.CopyFrom(data.offloaded_metadata)
