"""Turn the text of a value that somebody gives into a literal of a flyteidl type, and name types for people.

Text, whole numbers, enums, times and URIs are written as they are; lists, maps and structs as JSON, in which values
have JSON's own types.

Guarantees
    Not more than `MAX_TEXT_BYTES` are read, `MAX_DEPTH` levels, `MAX_VALUES` values looked at and `MAX_LITERAL_BYTES`
    made, whatever the type: a few milliseconds at worst.
    Dataclasses and models are msgpack, as flytekit writes them, and fit the JSON schema that it writes into their type,
    as far as `_json_schema.py` checks it.
Errors
    Invalid, which says what was expected; it shows only the begin of what was found.
"""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

import msgspec
from flyteidl.core import literals_pb2, types_pb2

from propeller.decoding import UNDECODABLE, nests_deeper
from propeller.errors import Invalid
from propeller.text import bounded, one_line
from propeller.wire._json_schema import Fault, misfit

MAX_TEXT_BYTES = 8 * 1024
"""Of one value: all annotations of an object, which answers to gates are, have 256 KiB together."""
MAX_LITERAL_BYTES = 64 * 1024
"""Of the literal: in a list of unions, each item has its type with it."""
MAX_VALUES = 2_000
MAX_DEPTH = 30
MAX_TYPE_CHARACTERS = 80
MAX_EXPECTED_CHARACTERS = 300
"""Of what a schema expects in a field's place."""

_MAX_SHOWN = 40
_MAX_NAMED_DEPTH = 4
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?|NaN|-?Infinity")
_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(d|h|ms|us|m|s)")
_DURATION = re.compile(rf"(-?)((?:{_PART.pattern})+)")
_MICROSECONDS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\x00-\x1f\x7f]+")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_INT64 = range(-(2**63), 2**63)
_MAX_SECONDS = 315_576_000_000
"""About 10,000 years: protobuf's range of a duration."""

_SIMPLE = {
    types_pb2.NONE: "null",
    types_pb2.INTEGER: "integer",
    types_pb2.FLOAT: "float",
    types_pb2.STRING: "string",
    types_pb2.BOOLEAN: "boolean",
    types_pb2.DATETIME: "datetime",
    types_pb2.DURATION: "duration",
    types_pb2.STRUCT: "struct",
}
_EXAMPLES: dict[int, str] = {
    types_pb2.INTEGER: "a whole number of 64 bits",
    types_pb2.FLOAT: "a number",
    types_pb2.BOOLEAN: "true or false",
    types_pb2.DATETIME: "a time like 2026-01-31T12:00:00Z",
    types_pb2.DURATION: "a duration like 1h30m or 90s",
    types_pb2.STRUCT: "a JSON object",
    types_pb2.STRING: "text",
    types_pb2.NONE: "null",
}


def literal_of(text: str, type_: types_pb2.LiteralType) -> literals_pb2.Literal:
    """The literal of that type that the text stands for. Raises Invalid."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Invalid("it is not text in UTF-8") from None
    if size > MAX_TEXT_BYTES:
        raise Invalid(f"it has {size} bytes, and may have {MAX_TEXT_BYTES}")
    return _Converter().of_text(text, type_)


def type_name(type_: types_pb2.LiteralType) -> str:
    """The name of a type for people, in one line: `integer`, `list of string`, `one of low, high`."""
    return bounded(one_line(_name(type_, 0)), MAX_TYPE_CHARACTERS)


def simple_name(simple: int) -> str:
    """Return flyteidl's name of a simple type in small letters, its number if there is no such type."""
    names = types_pb2.SimpleType
    return names.Name(simple).lower() if simple in names.values() else f"number {simple}"


def _name(type_: types_pb2.LiteralType, depth: int) -> str:
    if depth > _MAX_NAMED_DEPTH:
        return "..."
    match type_.WhichOneof("type"):
        case "simple":
            return _SIMPLE.get(type_.simple, simple_name(type_.simple))
        case "collection_type":
            return f"list of {_name(type_.collection_type, depth + 1)}"
        case "map_value_type":
            return f"map of {_name(type_.map_value_type, depth + 1)}"
        case "enum_type":
            return "one of " + (", ".join(type_.enum_type.values[:10]) or "no values")
        case "union_type":
            return " or ".join(_name(variant, depth + 1) for variant in type_.union_type.variants[:5]) or "no type"
        case "blob":
            return "directory" if type_.blob.dimensionality == types_pb2.BlobType.MULTIPART else "file"
        case "structured_dataset_type":
            return "structured dataset"
        case kind:
            return kind or "unknown"


class _Converter:
    """One conversion, and what is left of its limits."""

    def __init__(self) -> None:
        self._values = MAX_VALUES
        self._bytes = MAX_LITERAL_BYTES

    def of_text(self, text: str, type_: types_pb2.LiteralType) -> literals_pb2.Literal:
        match type_.WhichOneof("type"):
            case "simple" if type_.simple != types_pb2.STRUCT:
                return self._simple(_plain(text, type_.simple), type_)
            case "simple" | "collection_type" | "map_value_type":
                return self.of_value(_json(text, type_), type_)
            case "union_type":
                return self._first_that_fits(text, type_, self.of_text)
            case _:
                return self.of_value(text, type_)

    def of_value(self, value: Any, type_: types_pb2.LiteralType) -> literals_pb2.Literal:
        """As `of_text`, of a value that JSON has."""
        self._values -= 1
        if self._values < 0:
            raise Invalid(f"it holds more than {MAX_VALUES} values")
        match type_.WhichOneof("type"):
            case "simple":
                return self._simple(value, type_)
            case "enum_type":
                if value not in type_.enum_type.values or not isinstance(value, str):
                    raise _unfit(value, type_name(type_))
                return self._primitive(string_value=value)
            case "collection_type":
                if not isinstance(value, list):
                    raise _unfit(value, "a JSON list")
                items = [self.of_value(item, type_.collection_type) for item in value]
                return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=items))
            case "map_value_type":
                if not isinstance(value, dict):
                    raise _unfit(value, "a JSON object")
                entries = {key: self.of_value(item, type_.map_value_type) for key, item in value.items()}
                return literals_pb2.Literal(map=literals_pb2.LiteralMap(literals=entries))
            case "union_type":
                return self._first_that_fits(value, type_, self.of_value)
            case _:
                return self._reference(value, type_)

    def _first_that_fits(self, value: Any, type_: types_pb2.LiteralType, convert: Any) -> literals_pb2.Literal:
        """Take the first variant that fits, text last: any text fits that."""
        for variant in sorted(type_.union_type.variants, key=_is_text):
            before = self._bytes
            try:
                found = convert(value, variant)
            except _Unfit:
                self._bytes = before
                continue
            self._make(variant.ByteSize())
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(union=literals_pb2.Union(value=found, type=variant)))
        raise _unfit(value, type_name(type_))

    def _simple(self, value: Any, type_: types_pb2.LiteralType) -> literals_pb2.Literal:
        simple = type_.simple
        match simple:
            case types_pb2.INTEGER if isinstance(value, int) and not isinstance(value, bool) and value in _INT64:
                return self._primitive(integer=value)
            case types_pb2.FLOAT if isinstance(value, int | float) and not isinstance(value, bool):
                return self._primitive(float_value=_float(value))
            case types_pb2.STRING if isinstance(value, str):
                return self._primitive(string_value=value)
            case types_pb2.BOOLEAN if isinstance(value, bool):
                return self._primitive(boolean=value)
            case types_pb2.DATETIME if isinstance(value, str):
                return self._datetime(value)
            case types_pb2.DURATION if isinstance(value, str | int | float) and not isinstance(value, bool):
                return self._duration(value)
            case types_pb2.NONE if value is None:
                self._make(2)
                return literals_pb2.Literal(scalar=literals_pb2.Scalar(none_type=literals_pb2.Void()))
            case types_pb2.STRUCT if isinstance(value, dict):
                _require_fields(value, type_)
                return self._struct(value)
        if simple not in _EXAMPLES:
            raise Invalid(f"a value of type {simple_name(simple)} cannot be given as text")
        raise _unfit(value, _EXAMPLES[simple])

    def _primitive(self, **field: Any) -> literals_pb2.Literal:
        text = field.get("string_value", "")
        self._make(len(text.encode()) + 12)
        return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(**field)))

    def _datetime(self, text: str) -> literals_pb2.Literal:
        try:
            time = datetime.datetime.fromisoformat(text)
            time = time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC)
            literal = self._primitive()
            literal.scalar.primitive.datetime.FromMicroseconds((time - _EPOCH) // _MICROSECOND)
        except (ValueError, OverflowError):  # also for a zone by which the year is 0 or 10000
            raise _unfit(text, _EXAMPLES[types_pb2.DATETIME]) from None
        return literal

    def _duration(self, value: str | float) -> literals_pb2.Literal:
        if isinstance(value, str) and (found := _DURATION.fullmatch(value)):
            parts = _PART.findall(found[2])
            microseconds = round(sum(float(number) * _MICROSECONDS[unit] for number, unit in parts))
            microseconds = -microseconds if found[1] else microseconds
        elif not isinstance(value, str) and abs(value) <= _MAX_SECONDS:  # NaN is not
            microseconds = round(value * 1_000_000)
        else:
            raise _unfit(value, _EXAMPLES[types_pb2.DURATION])
        if abs(microseconds) > _MAX_SECONDS * 1_000_000:
            raise _unfit(value, "a duration of less than 10,000 years")
        literal = self._primitive()
        literal.scalar.primitive.duration.FromMicroseconds(microseconds)
        return literal

    def _struct(self, value: dict[str, Any]) -> literals_pb2.Literal:
        try:
            data = msgspec.msgpack.encode(value)
        except (OverflowError, *UNDECODABLE):
            raise Invalid("it holds a number beyond 64 bits") from None
        self._make(len(data))
        return literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=literals_pb2.Binary(value=data, tag="msgpack")))

    def _reference(self, value: Any, type_: types_pb2.LiteralType) -> literals_pb2.Literal:
        """A file, directory or table by its URI."""
        kind = type_.WhichOneof("type")
        if kind not in {"blob", "schema", "structured_dataset_type"}:
            raise Invalid(f"a value of type {type_name(type_)} cannot be given as text")
        if not isinstance(value, str) or not _URI.fullmatch(value):
            raise _unfit(value, f"the URI of a {type_name(type_)}, like s3://bucket/key")
        self._make(len(value.encode()) + type_.ByteSize())
        scalar = literals_pb2.Scalar()
        if kind == "blob":
            scalar.blob.uri = value
            scalar.blob.metadata.type.CopyFrom(type_.blob)
        elif kind == "schema":
            scalar.schema.uri = value
            scalar.schema.type.CopyFrom(type_.schema)
        else:
            scalar.structured_dataset.uri = value
            scalar.structured_dataset.metadata.structured_dataset_type.CopyFrom(type_.structured_dataset_type)
        return literals_pb2.Literal(scalar=scalar)

    def _make(self, size: int) -> None:
        """Count what is made."""
        self._bytes -= size
        if self._bytes < 0:
            raise Invalid(f"as a literal it has more than {MAX_LITERAL_BYTES} bytes")


class _Unfit(Invalid):
    """The value is of another type; another variant of a union may fit."""


def _unfit(value: Any, expected: str) -> _Unfit:
    return _Unfit(f"expected {expected}, found {_shown(value)}")


def _require_fields(value: dict[str, Any], type_: types_pb2.LiteralType) -> None:
    """Raise _Unfit if the type has a schema, as that of a dataclass or model has, and the value does not fit it."""
    found = misfit(value, type_.metadata) if type_.HasField("metadata") else None
    if found is None:
        return
    expected, where = one_line(bounded(found.expected, MAX_EXPECTED_CHARACTERS)), f"field {found.path!r}"
    match found.fault:
        case Fault.MISSING:
            raise _Unfit(f"{where} is missing: expected {expected}")
        case Fault.UNKNOWN:
            raise _Unfit(f"there is no {where}: expected {expected}, found {_shown(found.found)} for it")
        case Fault.VALUE if found.path:
            raise _Unfit(f"{where}: expected {expected}, found {_shown(found.found)}")
        case Fault.VALUE:
            raise _unfit(found.found, expected)


def _shown(value: Any) -> str:
    match value:
        case str():
            return repr(value if len(value) <= _MAX_SHOWN else value[:_MAX_SHOWN] + "...")
        case dict():
            return "a JSON object"
        case list():
            return "a JSON list"
        case _:
            return bounded(msgspec.json.encode(value).decode(), _MAX_SHOWN)


def _is_text(type_: types_pb2.LiteralType) -> bool:
    return type_.WhichOneof("type") == "simple" and type_.simple == types_pb2.STRING


def _json(text: str, type_: types_pb2.LiteralType) -> Any:
    document = text.encode()
    if nests_deeper(document, MAX_DEPTH):
        raise Invalid(f"it is nested in more than {MAX_DEPTH} levels")
    try:
        return msgspec.json.decode(document)
    except UNDECODABLE:
        raise _unfit(text, f"JSON, as the type is {type_name(type_)}") from None


def _plain(text: str, simple: int) -> Any:
    """The value of a scalar's text, or the text if it is none: that fits only text."""
    match simple:
        case types_pb2.INTEGER if _WHOLE.fullmatch(text):
            return int(text)
        case types_pb2.FLOAT if _NUMBER.fullmatch(text):
            return float(text)
        case types_pb2.DURATION if _NUMBER.fullmatch(text):
            return float(text)
        case types_pb2.BOOLEAN if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        case types_pb2.NONE if text in {"null", ""}:
            return None
        case _:
            return text


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
