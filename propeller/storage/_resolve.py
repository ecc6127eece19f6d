"""Resolve bindings to literals: the author's binding, with outputs of other nodes filled in (flytepropeller
nodes/resolve.go).

Outputs are copied as bytes, and not parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flyteidl.core import literals_pb2, types_pb2

from propeller.errors import Invalid
from propeller.storage._attributes import follow
from propeller.storage._storage import Storage
from propeller.wire import COLLECTION, FIRST, MAP, OFFLOADED, SCALAR, SECOND, Encoded, Slice, whole

MAX_DEPTH = 100
"""Lists and maps within each other in one binding: as many as protobuf's own parsers allow."""

Lookup = Callable[[str, str], Slice]
"""`(node id, variable) -> the node's output of that name`, a literal. Raises Invalid if there is none."""


async def resolve(binding: literals_pb2.BindingData, lookup: Lookup, storage: Storage) -> Slice:
    """Return the binding's value, a literal. `storage` is read only if an attribute path leads into an offloaded
    literal.

    Raises Invalid, naming the promise, if a path leads nowhere or the value would be over storage.max_blob_bytes, and
    what storage raises.
    """
    if binding.WhichOneof("value") == "promise":
        return await _promised(binding.promise, lookup, storage)
    return whole((await _encoded(binding, lookup, storage, 0)).tobytes())


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


async def _promised(promise: types_pb2.OutputReference, lookup: Lookup, storage: Storage) -> Slice:
    found = lookup(promise.node_id, promise.var)
    if promise.attr_path:
        return await follow(found, promise.attr_path, storage, f"{promise.node_id}.{promise.var}")
    return found


async def _encoded(data: literals_pb2.BindingData, lookup: Lookup, storage: Storage, depth: int) -> Encoded:
    if depth > MAX_DEPTH:
        raise Invalid(f"a binding nests more than {MAX_DEPTH} lists and maps")
    inner = Encoded()
    match data.WhichOneof("value"):
        case "scalar":
            return Encoded().add(SCALAR, data.scalar)
        case "promise":
            return Encoded.of(await _promised(data.promise, lookup, storage))
        case "collection":
            for item in data.collection.bindings:
                inner.add(FIRST, await _encoded(item, lookup, storage, depth + 1))
                inner.require(storage.settings.max_blob_bytes, "the list of a binding")
            return Encoded().add(COLLECTION, inner)
        case "map":
            for key in sorted(data.map.bindings):
                value = await _encoded(data.map.bindings[key], lookup, storage, depth + 1)
                inner.add(FIRST, Encoded().add(FIRST, key.encode()).add(SECOND, value))
                inner.require(storage.settings.max_blob_bytes, "the map of a binding")
            return Encoded().add(MAP, inner)
        case "offloaded_metadata":
            return Encoded().add(OFFLOADED, data.offloaded_metadata)
    return inner
