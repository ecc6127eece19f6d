"""Parse documents, and flyteidl messages that a resource holds as JSON, on demand; errors name the path of the wrong
field.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec
from google.protobuf import (
    descriptor_pb2,  # noqa: F401 - options of messages need it: protobuf would import it on the loop, at the first one
    json_format,
)
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from propeller.decoding import UNDECODABLE, Found, nests_deeper, read
from propeller.errors import Invalid

M = TypeVar("M", bound=Message)
T = TypeVar("T")

_MAX_NESTING = 200
"""Levels of JSON: protobuf accepts 100 levels of messages, each in a list or a map."""

_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_FLOATS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


def decode_document(decoder: msgspec.json.Decoder[T], document: bytes, what: str) -> T:
    """Decode a document, named in messages as `what`. Raises Invalid with the path of the first bad field."""
    try:
        return decoder.decode(document)
    except UNDECODABLE:
        found: Found[T] = read(decoder.type, document, patience=len(document))
        if found.value is None or found.problems:
            raise Invalid(f"{what} is malformed: {found.message}") from None
        return found.value


def parse_message(json: bytes, message: M, path: str) -> M:
    """Parse into `message`. Raises Invalid with the path of the field that is wrong, below `path`.

    Types are checked first, as protobuf's parser reads a text or a list instead of a message as an empty message.
    """
    if wrong := _wrong_field(json, cast(Descriptor, message.DESCRIPTOR), path):
        raise Invalid(wrong)
    try:
        json_format.Parse(json, message, ignore_unknown_fields=True)
    except (json_format.ParseError, TypeError, AttributeError, *UNDECODABLE) as error:
        if "too deep" in str(error):  # protobuf's limit is 100 levels
            raise Invalid(f"{path} is nested too deep to be read") from error
        raise Invalid(f"{path} is not a {message.DESCRIPTOR.full_name} as JSON") from error
    return message


def _wrong_field(json: bytes, descriptor: Descriptor, path: str) -> str:
    if nests_deeper(json, _MAX_NESTING):
        return f"{path} is nested too deep to be read"
    try:
        return _wrong_in(msgspec.json.decode(json), descriptor, path)
    except UNDECODABLE:
        return f"{path} is not JSON"


def _wrong_in(value: Any, descriptor: Descriptor, path: str) -> str:
    """The first field of a message that is wrong; "" if none is found."""
    if descriptor.full_name.startswith("google.protobuf."):
        return ""  # they have JSON forms of their own
    if not isinstance(value, dict):
        return f"{path}: expected an object, found {_found(value)}"
    fields = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
    for name, inner in value.items():
        field = fields.get(name)
        if field is None or inner is None:
            continue
        if wrong := _wrong_value(inner, field, f"{path}.{name}"):
            return wrong
    return ""


def _wrong_value(value: Any, field: FieldDescriptor, path: str) -> str:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        if not isinstance(value, dict):
            return f"{path}: expected an object, found {_found(value)}"
        of_value = message.fields_by_name["value"]
        return next(filter(None, (_wrong_one(inner, of_value, f"{path}[{key}]") for key, inner in value.items())), "")
    if field.is_repeated:
        if not isinstance(value, list):
            return f"{path}: expected a list, found {_found(value)}"
        return next(filter(None, (_wrong_one(inner, field, f"{path}[{at}]") for at, inner in enumerate(value))), "")
    return _wrong_one(value, field, path)


def _wrong_one(value: Any, field: FieldDescriptor, path: str) -> str:
    if field.message_type is not None:
        return _wrong_in(value, field.message_type, path)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        fits, expected = isinstance(value, str), "text"
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        fits, expected = isinstance(value, bool), "true or false"
    elif field.enum_type is not None:
        named = isinstance(value, str) and (value in field.enum_type.values_by_name or value.isdecimal())
        fits = named or (isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31)
        expected = "one of " + ", ".join(field.enum_type.values_by_name)
    else:
        fits, expected = _is_number(value, field), "a number" if field.cpp_type in _FLOATS else "a whole number"
    return "" if fits else f"{path}: expected {expected}, found {_found(value)}"


def _is_number(value: Any, field: FieldDescriptor) -> bool:
    """Whether a value is a number that the field can hold; it may be written as text."""
    if isinstance(value, bool):
        return False
    try:
        number = float(value)
        if field.cpp_type in _FLOATS:
            return True
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        return False
    least, most = _RANGES[field.cpp_type]
    return (isinstance(value, str) or number.is_integer()) and least <= whole <= most


def _found(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case dict():
            return "an object"
        case list():
            return "a list"
    return "a number"
