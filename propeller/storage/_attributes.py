"""Attribute paths of promises: `n0.o0.model["weights"][2]`, through lists, maps, offloaded literals, unions, and the
two forms in which flytekit stores dataclasses: protobuf structs, and msgpack (flytepropeller
nodes/attr_path_resolver.go).

Paths may lead as deep as they are long. Out of msgpack nothing is decoded but the levels that a path passes, and what
it leads to keeps its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from flyteidl.core import literals_pb2, types_pb2
from google.protobuf import struct_pb2

from propeller.errors import Invalid
from propeller.storage._literals import read_offloaded
from propeller.storage._msgpack import MSGPACK, literal_of_msgpack, step_into_msgpack
from propeller.storage._storage import Storage

MAX_DEPTH = 100
"""Lists within each other in a struct: as many as protobuf's own parsers allow."""

Path = Sequence[types_pb2.PromiseAttribute]


async def follow(literal: literals_pb2.Literal, path: Path, storage: Storage, name: str) -> literals_pb2.Literal:
    """What `path` leads to in `literal`, of the promise `name`. Raises Invalid where it leads nowhere."""
    for number, attribute in enumerate(path):
        literal = _without_union(await read_offloaded(storage, literal))
        at = name + text_of(path[: number + 1])
        match literal.WhichOneof("value"):
            case "map":
                literal = _entry(literal.map.literals, attribute, at)
            case "collection":
                literal = _item(literal.collection.literals, attribute, at)
            case "scalar":
                return _inside_scalar(literal.scalar, path[number:], name + text_of(path[:number]))
            case _:
                raise Invalid(f"{at} leads into an empty value")
    if literal.WhichOneof("value") == "scalar" and literal.scalar.WhichOneof("value") in {"binary", "generic"}:
        return _inside_scalar(literal.scalar, (), name + text_of(path))
    return literal


def text_of(path: Iterable[types_pb2.PromiseAttribute]) -> str:
    """A path as one writes it in Python."""
    return "".join(f"[{_value(attribute)!r}]" for attribute in path)


def _without_union(literal: literals_pb2.Literal) -> literals_pb2.Literal:
    while literal.scalar.HasField("union"):
        literal = literal.scalar.union.value
    return literal


def _inside_scalar(scalar: literals_pb2.Scalar, path: Path, name: str) -> literals_pb2.Literal:
    """What the rest of a path leads to in a scalar; with nothing left, the scalar in the form that lists have."""
    match scalar.WhichOneof("value"):
        case "generic":
            return _inside_struct(scalar.generic, path, name)
        case "binary" if scalar.binary.tag == MSGPACK:
            data = scalar.binary.value
            for attribute in path:
                name += text_of((attribute,))
                data = step_into_msgpack(data, _value(attribute), name)
            return literal_of_msgpack(data, name)
        case "binary" if not path:
            return literals_pb2.Literal(scalar=scalar)
        case "binary":
            raise Invalid(
                f"{name}{text_of(path)} leads into a value of format {scalar.binary.tag!r}; only msgpack is known"
            )
        case kind:
            raise Invalid(
                f"{name}{text_of(path)} leads into a {kind or 'scalar without a value'}, which has no attributes"
            )


def _inside_struct(struct: struct_pb2.Struct, path: Path, name: str) -> literals_pb2.Literal:
    value = struct_pb2.Value(struct_value=struct)
    for attribute in path:
        name += text_of((attribute,))
        match value.WhichOneof("kind"):
            case "struct_value":
                value = _entry(value.struct_value.fields, attribute, name)
            case "list_value":
                value = _item(value.list_value.values, attribute, name)
            case kind:
                raise Invalid(f"{name} leads into a {kind or 'value without a kind'}, which has no attributes")
    literal = literals_pb2.Literal()
    _fill_from_value(literal, value, name, 0)
    return literal


def _fill_from_value(literal: literals_pb2.Literal, value: struct_pb2.Value, name: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Invalid(f"{name} nests more than {MAX_DEPTH} lists")
    match value.WhichOneof("kind"):
        case "struct_value":
            literal.scalar.generic.CopyFrom(value.struct_value)
        case "list_value":
            literal.collection.SetInParent()
            for item in value.list_value.values:
                _fill_from_value(literal.collection.literals.add(), item, name, depth + 1)
        case "string_value":
            literal.scalar.primitive.string_value = value.string_value
        case "number_value":
            literal.scalar.primitive.float_value = value.number_value
        case "bool_value":
            literal.scalar.primitive.boolean = value.bool_value
        case _:
            literal.scalar.none_type.SetInParent()


def _entry(entries: Any, attribute: types_pb2.PromiseAttribute, at: str) -> Any:
    key = _value(attribute)
    if not isinstance(key, str):
        raise Invalid(f"{at} takes item {key} of a map, whose keys are text: {_some(entries)}")
    if key not in entries:
        raise Invalid(f"{at} does not exist: the keys are {_some(entries)}")
    return entries[key]


def _item(items: Sequence[Any], attribute: types_pb2.PromiseAttribute, at: str) -> Any:
    index = _value(attribute)
    if not isinstance(index, int):
        raise Invalid(f"{at} takes attribute {index!r} of a list")
    if not 0 <= index < len(items):
        raise Invalid(f"{at} does not exist: the list has {len(items)} items, counted from 0")
    return items[index]


def _some(keys: Iterable[Any]) -> str:
    """Keys for a message: not more than one reads."""
    shown = sorted(map(repr, keys))
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")


def _value(attribute: types_pb2.PromiseAttribute) -> str | int:
    value: str | int = attribute.string_value
    return attribute.int_value if attribute.WhichOneof("value") == "int_value" else value
