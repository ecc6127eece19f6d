"""One level of msgpack at a time: the form in which flytekit (1.14 and later) stores dataclasses, pydantic models and
untyped dicts.
"""

from __future__ import annotations

from typing import Any

import msgspec
from flyteidl.core import literals_pb2

from propeller.errors import CorruptBlob, Invalid

MSGPACK = "msgpack"
"""The tag of a flyteidl.core.Binary that holds it."""

_INT64 = 2**63

_MAP: msgspec.msgpack.Decoder[dict[Any, msgspec.Raw]] = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])
_LIST: msgspec.msgpack.Decoder[list[msgspec.Raw]] = msgspec.msgpack.Decoder(list[msgspec.Raw])
_ANY = msgspec.msgpack.Decoder()


def step_into_msgpack(data: bytes, attribute: str | int, at: str) -> bytes:
    """The bytes of one entry or item. Raises Invalid where there is none, CorruptBlob where `data` is no msgpack."""
    if _is_map(data):
        entries = _decoded(_MAP, data, at)
        if attribute not in entries:
            raise Invalid(f"{at} does not exist: the keys are {sorted(map(repr, entries))[:20]}")
        return bytes(entries[attribute])
    if _is_list(data):
        items = _decoded(_LIST, data, at)
        if not isinstance(attribute, int):
            raise Invalid(f"{at} takes attribute {attribute!r} of a list")
        if not 0 <= attribute < len(items):
            raise Invalid(f"{at} does not exist: the list has {len(items)} items, counted from 0")
        return bytes(items[attribute])
    raise Invalid(f"{at} leads into a single value, which has no attributes")


def literal_of_msgpack(data: bytes, name: str) -> literals_pb2.Literal:
    """A value as tasks get it: lists as collections, text, numbers and booleans as primitives, the rest as msgpack."""
    literal = literals_pb2.Literal()
    if _is_list(data):
        literal.collection.SetInParent()
        for item in _decoded(_LIST, data, name):
            _fill_binary(literal.collection.literals.add(), bytes(item))
        return literal
    value = None if _is_map(data) else _decoded(_ANY, data, name)
    primitive = literals_pb2.Primitive()
    match value:
        case bool():
            primitive.boolean = value
        case int() if -_INT64 <= value < _INT64:
            primitive.integer = value
        case int():
            raise Invalid(f"{name} is {value}, which does not fit into 64 bits with a sign")
        case float():
            primitive.float_value = value
        case str():
            primitive.string_value = value
        case _:
            _fill_binary(literal, data)
            return literal
    literal.scalar.primitive.CopyFrom(primitive)
    return literal


def decode_msgpack(data: bytes, name: str) -> Any:
    """The whole value. Raises CorruptBlob where `data` is no msgpack, or nests too deep."""
    return _decoded(_ANY, data, name)


def _fill_binary(literal: literals_pb2.Literal, data: bytes) -> None:
    literal.scalar.binary.value = data
    literal.scalar.binary.tag = MSGPACK


def _decoded(decoder: msgspec.msgpack.Decoder[Any], data: bytes, at: str) -> Any:
    try:
        return decoder.decode(data)
    except RecursionError as error:
        raise CorruptBlob(f"{at} leads into msgpack that nests deeper than it may") from error
    except (msgspec.DecodeError, ValueError, TypeError) as error:
        raise CorruptBlob(f"{at} leads into {len(data)} bytes that are not msgpack: {error}") from error


def _is_map(data: bytes) -> bool:
    return bool(data) and (0x80 <= data[0] <= 0x8F or data[0] in {0xDE, 0xDF})


def _is_list(data: bytes) -> bool:
    return bool(data) and (0x90 <= data[0] <= 0x9F or data[0] in {0xDC, 0xDD})
