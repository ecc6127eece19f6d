"""A value as the text of a file, and back: one file holds one value, written as Go writes it (FlyteCopilot).

Read is more than is written: what flytekit's local run reads (`str` of a timedelta, an ISO date without a zone), too.
"""

from __future__ import annotations

import datetime
import math
import re
from decimal import Decimal
from typing import Any

import orjson
from flyteidl.core import errors_pb2, literals_pb2, types_pb2
from google.protobuf import duration_pb2, json_format, struct_pb2, timestamp_pb2

from propeller.errors import Invalid
from propeller.wire import simple_name

_GO_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_GO_DURATION = re.compile(r"([+-]?)((?:\d{1,18}(?:\.\d{0,9})?(?:ns|us|µs|μs|ms|s|m|h)){1,8})")
_GO_PART = re.compile(r"(\d{1,18}(?:\.\d{0,9})?)(ns|us|µs|μs|ms|s|m|h)")
_PYTHON_DURATION = re.compile(r"(?:(-?\d{1,9}) days?, )?(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_INT64 = 2**63
_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"0", "f", "false"})
"""Go's strconv.ParseBool, in any letter case."""


def text_of_primitive(primitive: literals_pb2.Primitive) -> str:
    """Return the text. Raises Invalid for an impossible time."""
    match primitive.WhichOneof("value"):
        case "boolean":
            return "true" if primitive.boolean else "false"
        case "integer":
            return str(primitive.integer)
        case "float_value":
            return _text_of_float(primitive.float_value)
        case "string_value":
            return primitive.string_value
        case "datetime":
            return _text_of_datetime(primitive.datetime)
        case "duration":
            return text_of_duration(primitive.duration.seconds * 10**9 + primitive.duration.nanos)
        case _:
            return "null"


def json_of_primitive(primitive: literals_pb2.Primitive) -> Any:
    """Return the value for inputs.json: times as their text."""
    match primitive.WhichOneof("value"):
        case None:
            return None
        case "datetime" | "duration":
            return text_of_primitive(primitive)
        case kind:
            return getattr(primitive, kind)


def _text_of_float(value: float) -> str:
    """As Go's FormatFloat with 'f': never an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = f"{Decimal(repr(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _text_of_datetime(moment: timestamp_pb2.Timestamp) -> str:
    """RFC 3339, with as many digits of a second as there are."""
    try:
        whole = timestamp_pb2.Timestamp(seconds=moment.seconds).ToJsonString().removesuffix("Z")
    except ValueError as error:
        raise Invalid(f"is no possible time: {error}") from error
    fraction = f"{moment.nanos:09}".rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def text_of_duration(nanoseconds: int) -> str:
    """As Go's Duration.String: `1h2m3.5s`, below a second `1.5ms`."""
    sign, rest = "-" * (nanoseconds < 0), abs(nanoseconds)
    if not rest:
        return "0s"
    if rest < 10**9:
        unit = "ms" if rest >= 10**6 else "µs" if rest >= 10**3 else "ns"
        return f"{sign}{_decimal(rest, _GO_UNITS[unit])}{unit}"
    hours, rest = divmod(rest, 3600 * 10**9)
    minutes, rest = divmod(rest, 60 * 10**9)
    seconds = f"{_decimal(rest, 10**9)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _decimal(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    digits = f"{part:0{len(str(unit)) - 1}}".rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)


def scalar_of_text(kind: int, text: str) -> literals_pb2.Scalar:
    """Return the scalar of a simple type (flyteidl's SimpleType) that a file's text says; blanks and line ends around
    it do not count. Raises Invalid if it says another type.
    """
    text = text.strip(" \n\r\t")
    match kind:
        case types_pb2.NONE:
            return literals_pb2.Scalar(none_type=literals_pb2.Void())
        case types_pb2.STRUCT:
            return literals_pb2.Scalar(generic=_struct(text))
        case types_pb2.ERROR:
            return literals_pb2.Scalar(error=types_pb2.Error(message=text))
        case types_pb2.INTEGER:
            primitive = literals_pb2.Primitive(integer=_integer(text))
        case types_pb2.FLOAT:
            primitive = literals_pb2.Primitive(float_value=_float(text))
        case types_pb2.STRING:
            primitive = literals_pb2.Primitive(string_value=text)
        case types_pb2.BOOLEAN:
            primitive = literals_pb2.Primitive(boolean=_boolean(text))
        case types_pb2.DATETIME:
            primitive = literals_pb2.Primitive(datetime=_datetime(text))
        case types_pb2.DURATION:
            primitive = literals_pb2.Primitive(duration=_duration(text))
        case _:
            raise Invalid(f"type {simple_name(kind)} cannot be read from a file")
    return literals_pb2.Scalar(primitive=primitive)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text) or not -_INT64 <= int(text) < _INT64:
        raise Invalid(f"{_shown(text)} is no integer of 64 bits")
    return int(text)


def _float(text: str) -> float:
    try:
        if "_" in text:
            raise ValueError
        return float(text)
    except ValueError as error:
        raise Invalid(f"{_shown(text)} is no number") from error


def _boolean(text: str) -> bool:
    if (small := text.lower()) in _TRUE | _FALSE:
        return small in _TRUE
    raise Invalid(f"{_shown(text)} is no boolean: write true or false")


def _datetime(text: str) -> timestamp_pb2.Timestamp:
    found = timestamp_pb2.Timestamp()
    try:
        found.FromJsonString(text)  # RFC 3339, to the nanosecond
    except ValueError:
        try:
            moment = datetime.datetime.fromisoformat(text)
            found.FromDatetime(moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC))
        except (ValueError, OverflowError) as error:
            raise Invalid(f"{_shown(text)} is no time: write 2026-01-31T08:00:00Z") from error
    return found


def _duration(text: str) -> duration_pb2.Duration:
    if match := _GO_DURATION.fullmatch(text):
        parts = _GO_PART.findall(match[2])
        nanoseconds = int(sum(Decimal(amount) * _GO_UNITS[unit] for amount, unit in parts))
        nanoseconds = -nanoseconds if match[1] == "-" else nanoseconds
    elif text in {"0", "+0", "-0"}:
        nanoseconds = 0
    elif match := _PYTHON_DURATION.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[:4])
        micros = int((match[5] or "").ljust(6, "0"))
        nanoseconds = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 10**9 + micros * 1000
    else:
        raise Invalid(f"{_shown(text)} is no duration: write 1h30m5.5s")
    sign = -1 if nanoseconds < 0 else 1
    seconds, nanos = divmod(abs(nanoseconds), 10**9)
    try:
        found = duration_pb2.Duration(seconds=sign * seconds, nanos=sign * nanos)
        found.ToJsonString()
    except ValueError as error:
        raise Invalid(f"{_shown(text)} is longer than a duration may be") from error
    return found


def _struct(text: str) -> struct_pb2.Struct:
    try:
        value = orjson.loads(text)
        if not isinstance(value, dict):
            raise Invalid(f"{_shown(text)} is JSON, but no object: a struct has names and values")
        return json_format.ParseDict(value, struct_pb2.Struct())
    except (orjson.JSONDecodeError, json_format.ParseError, RecursionError) as error:
        raise Invalid(f"{_shown(text)} is no JSON: {error}") from error


def error_document(message: str, code: str, *, system: bool, recoverable: bool) -> errors_pb2.ErrorDocument:
    """Return the document by which an attempt says how it failed (error.pb)."""
    from flyteidl.core import execution_pb2

    error = execution_pb2.ExecutionError
    return errors_pb2.ErrorDocument(
        error=errors_pb2.ContainerError(
            code=code,
            message=message,
            kind=errors_pb2.ContainerError.RECOVERABLE if recoverable else errors_pb2.ContainerError.NON_RECOVERABLE,
            origin=error.SYSTEM if system else error.USER,
        )
    )
