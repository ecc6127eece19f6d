"""Format a literal as text, for `{{.inputs.x}}` in a command (flyteplugins core/template): a scalar is as it is, lists
are `[a,b]`.

FlytePropeller refuses a struct, and writes msgpack as Go prints maps; both are JSON here.
"""

from __future__ import annotations

import base64
import math
from decimal import Decimal
from typing import Any

import orjson
from flyteidl.core import literals_pb2
from google.protobuf import duration_pb2, timestamp_pb2

from propeller.errors import Invalid
from propeller.storage._msgpack import MSGPACK, decode_msgpack
from propeller.storage._structs import struct_to_python

MAX_DEPTH = 100
"""Lists and unions within each other: as many as protobuf's own parsers allow."""


def literal_to_text(literal: literals_pb2.Literal) -> str:
    """Format a literal. Raises Invalid if it has no text form: maps, errors, offloaded literals, unknown binary
    formats.
    """
    return _text(literal, 0)


def _text(literal: literals_pb2.Literal, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise Invalid(f"an input of a command nests more than {MAX_DEPTH} lists")
    match literal.WhichOneof("value"):
        case "scalar":
            return _scalar(literal.scalar, depth)
        case "collection":
            return f"[{','.join(_text(item, depth + 1) for item in literal.collection.literals)}]"
        case "offloaded_metadata":
            raise Invalid("an input of a command is too large to be text: it was offloaded")
        case kind:
            raise Invalid(f"an input of a command is a {kind or 'literal without a value'}, which has no text")


def _scalar(scalar: literals_pb2.Scalar, depth: int) -> str:
    match scalar.WhichOneof("value"):
        case "primitive":
            return _primitive(scalar.primitive)
        case "blob":
            return scalar.blob.uri
        case "schema":
            return scalar.schema.uri
        case "structured_dataset":
            return scalar.structured_dataset.uri
        case "union":
            return _text(scalar.union.value, depth + 1)
        case "none_type":
            return ""
        case "generic":
            return _json(struct_to_python(scalar.generic, "an input of a command"))
        case "binary" if scalar.binary.tag == MSGPACK:
            value = decode_msgpack(scalar.binary.value, "an input of a command")
            return _plain(value) if isinstance(value, str | bool | int | float) else _json(_finite(value))
        case "binary":
            raise Invalid(f"an input of a command has the format {scalar.binary.tag!r}, which has no text")
        case kind:
            raise Invalid(f"an input of a command is a {kind or 'scalar without a value'}, which has no text")


def _primitive(primitive: literals_pb2.Primitive) -> str:
    match primitive.WhichOneof("value"):
        case "datetime":
            return _datetime(primitive.datetime)
        case "duration":
            return _duration(primitive.duration)
        case None:
            raise Invalid("an input of a command is a primitive without a value, which has no text")
        case kind:
            return _plain(getattr(primitive, kind))


def _plain(value: str | bool | int | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _go_float(value) if isinstance(value, float) else str(value)


def _go_float(value: float) -> str:
    """As Go's %v: the fewest digits that say the value, with an exponent below 1e-4 and from 1e6 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    shortest = Decimal(repr(value)).normalize()
    if not value or -4 <= shortest.adjusted() < 6:
        return repr(value).removesuffix(".0")
    first, *rest = map(str, shortest.as_tuple().digits)
    sign, point = "-" * (value < 0), "." * bool(rest)
    return f"{sign}{first}{point}{''.join(rest)}e{shortest.adjusted():+03d}"


def _datetime(moment: timestamp_pb2.Timestamp) -> str:
    try:
        text = timestamp_pb2.Timestamp(seconds=moment.seconds).ToJsonString()
    except ValueError as error:
        raise Invalid(f"an input of a command is no possible time: {error}") from error
    fraction = f"{moment.nanos:09}".rstrip("0")
    return f"{text.removesuffix('Z')}.{fraction}Z" if fraction else text


def _duration(duration: duration_pb2.Duration) -> str:
    """As FlytePropeller: protobuf's text form."""
    parts = (("seconds", duration.seconds), ("nanos", duration.nanos))
    return " ".join(f"{name}:{value}" for name, value in parts if value)


def _json(value: Any) -> str:
    try:
        return orjson.dumps(
            _finite(value), default=_as_json, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS
        ).decode()
    except (TypeError, orjson.JSONEncodeError) as error:
        raise Invalid(f"an input of a command cannot be written as JSON: {error}") from error


def _finite(value: Any) -> Any:
    """The value. Raises Invalid if a number in it has no JSON: it would be null, which is None."""
    rest = [value]
    while rest:
        match rest.pop():
            case float() as number if not math.isfinite(number):
                raise Invalid(f"an input of a command holds {number}, for which JSON has no number")
            case dict() as members:
                rest.extend(members.values())
            case list() | tuple() as items:
                rest.extend(items)
    return value


def _as_json(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} has no JSON")
