"""Resolve attribute paths of promises: `n0.o0.model["weights"][2]`, through lists, maps, offloaded literals, unions,
and the two forms in which flytekit stores dataclasses: protobuf structs and msgpack (flytepropeller
nodes/attr_path_resolver.go).

Paths may be as deep as they are long. Only the levels on the path are parsed; the result keeps its bytes. Lists and
maps on the path have at most `storage.max_messages` items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flyteidl.core import types_pb2

from propeller.errors import Invalid
from propeller.storage._levels import entry_at, item_at
from propeller.storage._literals import read_offloaded
from propeller.storage._msgpack import MSGPACK, literal_of_msgpack, step_into_msgpack
from propeller.storage._storage import Storage
from propeller.storage._struct_values import inside_struct
from propeller.storage._threads import in_thread_if_large
from propeller.wire import (
    COLLECTION,
    FIRST,
    MAP,
    MAX_DEPTH,
    SCALAR,
    SECOND,
    Encoded,
    Slice,
    only,
    text,
    value_of,
    whole,
)

Path = Sequence[types_pb2.PromiseAttribute]

BINARY, GENERIC, UNION = 0x1A, 0x3A, 0x4A
_SCALARS = {
    0x0A: "primitive",
    0x12: "blob",
    BINARY: "binary",
    0x22: "schema",
    0x2A: "none_type",
    0x32: "error",
    GENERIC: "generic",
    0x42: "structured_dataset",
    UNION: "union",
}
"""By tag, the values that a flyteidl.core.Scalar may have."""


async def follow(literal: Slice, path: Path, storage: Storage, name: str) -> Slice:
    """Return the value at `path` in `literal`, of the promise `name`. Raises Invalid if there is none."""
    most = storage.settings.max_messages
    for number, attribute in enumerate(path):
        literal = _without_union(await read_offloaded(storage, literal), name)
        at = name + text_of(path[: number + 1])
        kind, value = value_of(literal)
        if kind == MAP:
            literal = await in_thread_if_large(value.size, _entry, value, attribute, at, most)
        elif kind == COLLECTION:
            literal = await in_thread_if_large(value.size, _item, value, attribute, at, most)
        elif kind == SCALAR:
            rest, so_far = path[number:], name + text_of(path[:number])
            return await in_thread_if_large(value.size, _inside_scalar, value, rest, so_far, most)
        else:
            raise Invalid(f"{at} leads into an empty value")
    kind, value = value_of(literal)
    if kind == SCALAR and only(value, _SCALARS)[0] in {BINARY, GENERIC}:
        return await in_thread_if_large(value.size, _inside_scalar, value, (), name + text_of(path), most)
    return literal


def text_of(path: Iterable[types_pb2.PromiseAttribute]) -> str:
    """A path as one writes it in Python."""
    return "".join(f"[{value_of_attribute(attribute)!r}]" for attribute in path)


def value_of_attribute(attribute: types_pb2.PromiseAttribute) -> str | int:
    value: str | int = attribute.string_value
    return attribute.int_value if attribute.WhichOneof("value") == "int_value" else value


def _without_union(literal: Slice, name: str) -> Slice:
    for _ in range(MAX_DEPTH):
        kind, value = value_of(literal)
        if kind != SCALAR:
            return literal
        kind, value = only(value, _SCALARS)
        if kind != UNION:
            return literal
        literal = only(value, (FIRST,))[1]
    raise Invalid(f"{name} nests more than {MAX_DEPTH} unions")


def _inside_scalar(scalar: Slice, path: Path, name: str, most: int) -> Slice:
    """Return the value at the rest of a path in a scalar; at the end of the path, the scalar in the form that lists
    have.
    """
    kind, value = only(scalar, _SCALARS)
    if kind == GENERIC:
        return inside_struct(value, [(value_of_attribute(one), text_of((one,))) for one in path], name, most)
    if kind != BINARY:
        what = _SCALARS.get(kind, "scalar without a value")
        raise Invalid(f"{name}{text_of(path)} leads into a {what}, which has no attributes")
    tag = text(only(value, (SECOND,))[1])
    if tag == MSGPACK:
        data = only(value, (FIRST,))[1].tobytes()
        for attribute in path:
            name += text_of((attribute,))
            data = step_into_msgpack(data, value_of_attribute(attribute), name, most)
        return literal_of_msgpack(data, name, most)
    if path:
        raise Invalid(f"{name}{text_of(path)} leads into a value of format {tag!r}; only msgpack is known")
    return whole(Encoded().add(SCALAR, scalar).tobytes())


def _entry(of: Slice, attribute: types_pb2.PromiseAttribute, at: str, most: int) -> Slice:
    return entry_at(of, value_of_attribute(attribute), at, most)


def _item(of: Slice, attribute: types_pb2.PromiseAttribute, at: str, most: int) -> Slice:
    return item_at(of, value_of_attribute(attribute), at, most)
