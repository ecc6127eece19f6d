"""Convert flyteidl messages to JSON as Go does: canonical proto JSON, or (for the few messages that the resource embeds
as plain Go structs) Go's own encoding/json with the fields' proto names.

Guarantees
    Not recursive. Equal to `google.protobuf.json_format` for every message that it accepts, and cheaper.
Errors
    Raises Unrepresentable if JSON has no form for a value: an unset or non-finite value in a Struct, a time or duration
    out of range.
"""

from __future__ import annotations

import base64
import datetime
import enum
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from propeller.errors import Invalid

MAX_DURATION_SECONDS = 315_576_000_000
"""About 10,000 years: protobuf's range."""

_FLOAT32 = struct.Struct("<f")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799


class Unrepresentable(Invalid):
    """JSON has no form of this value."""


class _Style(enum.Enum):
    CANONICAL = enum.auto()
    STRIPPED = enum.auto()
    PLAIN = enum.auto()


class _Shape(enum.Enum):
    ONE = enum.auto()
    LIST = enum.auto()
    MAP = enum.auto()
    LEFT_OUT = enum.auto()


class _Field(NamedTuple):
    name: str
    shape: _Shape
    scalar: Callable[[Any], Any] | None
    """Converts a value that is not a message to JSON; None for messages."""
    special: str
    """The name of a well-known type with a JSON form of its own."""


_WELL_KNOWN = frozenset(
    f"google.protobuf.{name}"
    for name in [
        "Struct",
        "Value",
        "ListValue",
        "Duration",
        "Timestamp",
        "BoolValue",
        "StringValue",
        "BytesValue",
        "DoubleValue",
        "FloatValue",
        "Int32Value",
        "Int64Value",
        "UInt32Value",
        "UInt64Value",
    ]
)
_LARGE = {
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT64,
}
_FLOATS = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}


def to_json(message: Message) -> dict[str, Any]:
    """Canonical proto JSON (Go's jsonpb): camelCase names, enums by name, 64-bit integers as text."""
    return _encode(message, _CANONICAL, _Style.CANONICAL)


def to_stripped_json(message: Message) -> dict[str, Any]:
    """Return canonical JSON without fields that are not needed to run a workflow: metadata and annotations of types,
    descriptions of variables. An annotation with `cache-key-metadata` stays: it is part of a cached task's key.

    Source: StripTypeMetadata in flytepropeller/pkg/compiler/transformers/k8s/utils.go.
    """
    return _encode(message, _STRIPPED, _Style.STRIPPED)


def to_plain_json(message: Message) -> dict[str, Any]:
    """Convert as Go's encoding/json does a generated struct: snake_case names, enums and 64-bit integers as numbers."""
    return _encode(message, _PLAIN, _Style.PLAIN)


def struct_to_json(value: struct_pb2.Struct) -> dict[str, Any]:
    """A Struct as the object it stands for."""
    target: dict[str, Any] = {}
    _fill_struct(value, target)
    return target


def duration_text(duration: duration_pb2.Duration) -> str:
    """`1.500s`: 0, 3, 6 or 9 digits."""
    seconds, nanos = duration.seconds, duration.nanos
    if abs(seconds) > MAX_DURATION_SECONDS or abs(nanos) > 999_999_999 or seconds * nanos < 0:
        raise Unrepresentable(f"a duration of {seconds} s and {nanos} ns is out of range")
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f"{sign}{abs(seconds)}{_fraction(abs(nanos))}s"


_CANONICAL: dict[FieldDescriptor, _Field] = {}
_STRIPPED: dict[FieldDescriptor, _Field] = {}
_PLAIN: dict[FieldDescriptor, _Field] = {}

_ANNOTATION = "flyteidl.core.LiteralType.annotation"
_NOT_NEEDED = frozenset({_ANNOTATION, "flyteidl.core.LiteralType.metadata", "flyteidl.core.Variable.description"})


def _encode(message: Message, known: dict[FieldDescriptor, _Field], style: _Style) -> dict[str, Any]:
    root: dict[str, Any] = {}
    stack: list[tuple[Message, dict[str, Any]]] = [(message, root)]

    def value_of(value: Any, field: _Field) -> Any:
        if field.scalar is not None:
            return field.scalar(value)
        if field.special:
            return _special(value, field.special)
        inner: dict[str, Any] = {}
        stack.append((value, inner))
        return inner

    while stack:
        message, target = stack.pop()
        for descriptor, value in message.ListFields():
            field = known.get(descriptor)
            if field is None:
                field = known[descriptor] = _describe(descriptor, style)
            if field.shape is _Shape.LEFT_OUT:
                if descriptor.full_name == _ANNOTATION and "cache-key-metadata" in value.annotations.fields:
                    target[field.name] = to_json(value)
            elif field.shape is _Shape.ONE:
                target[field.name] = value_of(value, field)
            elif field.shape is _Shape.LIST:
                target[field.name] = [value_of(item, field) for item in value]
            else:
                target[field.name] = {_key(key): value_of(value[key], field) for key in value}
    return root


def _describe(descriptor: FieldDescriptor, style: _Style) -> _Field:
    plain = style is _Style.PLAIN
    name = descriptor.name if plain else descriptor.json_name
    if style is _Style.STRIPPED and descriptor.full_name in _NOT_NEEDED:
        return _Field(name, _Shape.LEFT_OUT, None, "")
    shape = _Shape.LIST if descriptor.is_repeated else _Shape.ONE
    content = descriptor
    message_type = descriptor.message_type
    if message_type is not None and message_type.GetOptions().map_entry:
        shape = _Shape.MAP
        content = message_type.fields_by_name["value"]
        message_type = content.message_type
    if message_type is not None:
        special = message_type.full_name if message_type.full_name in _WELL_KNOWN else ""
        return _Field(name, shape, None, special)
    return _Field(name, shape, _scalar_encoder(content, plain=plain), "")


def _scalar_encoder(content: FieldDescriptor, *, plain: bool) -> Callable[[Any], Any]:
    if content.type == FieldDescriptor.TYPE_BYTES:
        return _base64
    if content.enum_type is not None and not plain:
        names: Mapping[int, str] = {value.number: value.name for value in content.enum_type.values}
        return lambda number: names.get(number, number)
    if content.cpp_type in _LARGE and not plain:
        return str
    if content.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return _float32
    if content.cpp_type in _FLOATS:
        return _double
    return _same


def _special(message: Any, name: str) -> Any:
    match name:
        case "google.protobuf.Struct":
            return struct_to_json(message)
        case "google.protobuf.Value":
            holder: dict[str, Any] = {}
            _fill_struct(struct_pb2.Struct(fields={"": message}), holder)
            return holder[""]
        case "google.protobuf.ListValue":
            return _special(struct_pb2.Value(list_value=message), "google.protobuf.Value")
        case "google.protobuf.Duration":
            return duration_text(message)
        case "google.protobuf.Timestamp":
            return _timestamp_text(message)
        case "google.protobuf.BytesValue":
            return _base64(message.value)
        case "google.protobuf.Int64Value" | "google.protobuf.UInt64Value":
            return str(message.value)
        case "google.protobuf.DoubleValue":
            return _double(message.value)
        case "google.protobuf.FloatValue":
            return _float32(message.value)
        case _:
            return message.value


def _fill_struct(value: struct_pb2.Struct, target: dict[str, Any]) -> None:
    stack: list[tuple[Any, Any]] = [(value.fields, target)]
    while stack:
        source, into = stack.pop()
        if isinstance(into, dict):
            for key in source:
                into[key] = _plain_value(source[key], stack)
        else:
            into.extend([_plain_value(value, stack) for value in source])


def _plain_value(value: struct_pb2.Value, stack: list[tuple[Any, Any]]) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            number = value.number_value
            if not math.isfinite(number):
                raise Unrepresentable(f"a Struct holds the number {number}")
            return int(number) if number.is_integer() and abs(number) < 2**53 else number
        case "bool_value":
            return value.bool_value
        case "struct_value":
            inner: dict[str, Any] = {}
            stack.append((value.struct_value.fields, inner))
            return inner
        case "list_value":
            items: list[Any] = []
            stack.append((value.list_value.values, items))
            return items
        case "null_value":
            return None
        case _:
            raise Unrepresentable("a Struct holds a value that is not set")


def _timestamp_text(timestamp: timestamp_pb2.Timestamp) -> str:
    seconds, nanos = timestamp.seconds, timestamp.nanos
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND or not 0 <= nanos <= 999_999_999:
        raise Unrepresentable(f"a time of {seconds} s and {nanos} ns since 1970 is out of range")
    moment = _EPOCH + datetime.timedelta(seconds=seconds)
    return f"{moment.replace(tzinfo=None).isoformat()}{_fraction(nanos)}Z"


def _fraction(nanos: int) -> str:
    if not nanos:
        return ""
    digits = f"{nanos:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f".{digits}"


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _float32(value: float) -> float | str:
    """The shortest decimal that is this float32, as Go writes it."""
    if not math.isfinite(value):
        return _double(value)
    for digits in range(6, 10):
        shortest = float(f"{value:.{digits}g}")
        if _FLOAT32.unpack(_FLOAT32.pack(shortest))[0] == value:
            return shortest
    return value


def _same(value: Any) -> Any:
    return value
