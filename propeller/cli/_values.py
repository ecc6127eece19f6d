"""Convert literals to JSON, for people and programs: the outputs of a workflow.

Times are ISO 8601 text, durations seconds, files, directories and data frames their URI. Whole numbers of a Struct,
which has only floating-point numbers, are written without a fraction. JSON has no number for NaN and the infinities:
they are the texts "NaN", "Infinity" and "-Infinity", as in protobuf's JSON.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import msgspec
from flyteidl.core import literals_pb2
from google.protobuf import struct_pb2, timestamp_pb2

from propeller.errors import CorruptBlob

MAX_DEPTH = 200
"""Levels of a value that is shown: JSON of more is read by few programs, and ours writes 254."""

MAX_EXACT_INTEGER = 2.0**53
"""Whole numbers up to it are exact as floating-point numbers, and JSON's readers take them."""


def to_json(literals: literals_pb2.LiteralMap) -> dict[str, Any]:
    """By name, in the order o0, o1, ..., then by name."""
    return {name: value_of(literals.literals[name]) for name in sorted(literals.literals, key=_order)}


def value_of(literal: literals_pb2.Literal) -> Any:
    match literal.WhichOneof("value"):
        case "scalar":
            return _scalar(literal.scalar)
        case "collection":
            return [value_of(item) for item in literal.collection.literals]
        case "map":
            return {key: value_of(literal.map.literals[key]) for key in sorted(literal.map.literals)}
        case "offloaded_metadata":
            return literal.offloaded_metadata.uri
        case _:
            return None


def _scalar(scalar: literals_pb2.Scalar) -> Any:
    match scalar.WhichOneof("value"):
        case "primitive":
            return _primitive(scalar.primitive)
        case "blob" | "schema" | "structured_dataset" as kind:
            return getattr(scalar, kind).uri
        case "generic":
            return _struct(scalar.generic)
        case "binary":
            return _binary(scalar.binary)
        case "union":
            return value_of(scalar.union.value)
        case "error":
            return {"message": scalar.error.message, "failedNodeId": scalar.error.failed_node_id}
        case _:
            return None


def _primitive(primitive: literals_pb2.Primitive) -> Any:
    match primitive.WhichOneof("value"):
        case "datetime":
            return _time(primitive.datetime)
        case "duration":
            return primitive.duration.seconds + primitive.duration.nanos / 1e9
        case None:
            return None
        case "float_value":
            return _number(primitive.float_value)
        case kind:
            return getattr(primitive, kind)


def _time(time: timestamp_pb2.Timestamp) -> str:
    try:
        return time.ToDatetime().isoformat() + "Z"
    except (ValueError, OverflowError) as error:
        raise CorruptBlob(f"an output is a time of {time.seconds} seconds since 1970, which no calendar has") from error


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    return {key: _struct_value(value) for key, value in struct.fields.items()}


def _struct_value(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _struct(value.struct_value)
        case "list_value":
            return [_struct_value(item) for item in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= MAX_EXACT_INTEGER else _number(number)
        case "null_value" | None:
            return None
        case kind:
            return getattr(value, kind)


def _binary(binary: literals_pb2.Binary) -> Any:
    """Decode dataclasses and models, which are msgpack; describe other bytes by size and tag."""
    if binary.tag != "msgpack":
        return f"<{len(binary.value)} bytes of {binary.tag or 'no tag'}>"
    try:
        return _plain(msgspec.msgpack.decode(binary.value))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # a depth that is the interpreter's
        raise CorruptBlob(f"an output is tagged msgpack, but does not decode: {error}") from error


def _plain(value: Any, depth: int = 0) -> Any:
    """Replace values that msgpack has and JSON has not: keys that are not text, bytes, extensions, numbers that are not
    finite.
    """
    if depth > MAX_DEPTH:
        raise CorruptBlob(f"an output is nested in more than {MAX_DEPTH} levels")
    match value:
        case float():
            return _number(value)
        case dict():
            return {_key(key): _plain(inner, depth + 1) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner, depth + 1) for inner in value]
        case bytes():
            return base64.b64encode(value).decode()
        case msgspec.msgpack.Ext():
            return f"<{memoryview(value.data).nbytes} bytes of extension {value.code}>"
        case _:
            return value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else str(_plain(key))


def _order(name: str) -> tuple[int, str]:
    return (int(name[1:]), "") if name[:1] == "o" and name[1:].isdecimal() else (1 << 30, name)
