"""Convert protobuf structs to the JSON that they were made from: a struct has only floats; whole ones become integers
again.
"""

from __future__ import annotations

import math
from typing import Any

from google.protobuf import struct_pb2

from propeller.errors import Invalid

MAX_DEPTH = 100
"""Lists and maps within each other: as many as protobuf's own parsers allow."""

_EXACT = 2**53
"""From here on a float does not identify one integer."""


def struct_to_python(struct: struct_pb2.Struct, name: str) -> dict[str, Any]:
    """Return the struct as dicts, lists, text, numbers, booleans and None; `name` is for messages.

    Raises Invalid if it nests too deep, or has a number that JSON does not support.
    """
    return {key: _value(value, name, 1) for key, value in struct.fields.items()}


def _value(value: struct_pb2.Value, name: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise Invalid(f"{name} nests more than {MAX_DEPTH} lists and maps")
    match value.WhichOneof("kind"):
        case "struct_value":
            return {key: _value(item, name, depth + 1) for key, item in value.struct_value.fields.items()}
        case "list_value":
            return [_value(item, name, depth + 1) for item in value.list_value.values]
        case "number_value":
            return _number(value.number_value, name)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def _number(value: float, name: str) -> float | int:
    if not math.isfinite(value):
        raise Invalid(f"{name} holds {value}, for which JSON has no number")
    return int(value) if value.is_integer() and abs(value) < _EXACT else value
