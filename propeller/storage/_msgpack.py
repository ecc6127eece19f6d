"""One level of msgpack at a time: the form in which flytekit (1.14 and later) stores dataclasses, pydantic models and
untyped dicts.
"""

from __future__ import annotations

from typing import Any

import msgspec
from flyteidl.core import literals_pb2

from propeller.errors import CorruptBlob, Invalid
from propeller.wire import COLLECTION, FIRST, SCALAR, SECOND, Encoded, Slice, whole

MSGPACK = "msgpack"
"""The tag of a flyteidl.core.Binary that holds it."""

MAX_BYTES = 16 * 1024 * 1024
"""Of msgpack that a path leads into: to pass over so many takes 25 ms, in which nothing else runs."""

MAX_DECODED_BYTES = 256 * 1024
"""Of msgpack that is decoded to its last value, for a command: an argument of a process has 128 KiB at most."""

_INT64 = 2**63

_MAP: msgspec.msgpack.Decoder[dict[Any, msgspec.Raw]] = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])
_LIST: msgspec.msgpack.Decoder[list[msgspec.Raw]] = msgspec.msgpack.Decoder(list[msgspec.Raw])
_ANY = msgspec.msgpack.Decoder()


def step_into_msgpack(data: bytes, attribute: str | int, at: str, most: int) -> bytes:
    """The bytes of one entry or item, of `most` that there may be. Raises Invalid if there is none, CorruptBlob if
    `data` is no msgpack.
    """
    _require_passable(data, at, most)
    if _is_map(data):
        entries = _decoded(_MAP, data, at)
        if attribute not in entries:
            raise Invalid(f"{at} does not exist: the keys are {[key[:100] for key in sorted(map(repr, entries))[:20]]}")
        return bytes(entries[attribute])
    if _is_list(data):
        items = _decoded(_LIST, data, at)
        if not isinstance(attribute, int):
            raise Invalid(f"{at} takes attribute {attribute!r} of a list")
        if not 0 <= attribute < len(items):
            raise Invalid(f"{at} does not exist: the list has {len(items)} items, counted from 0")
        return bytes(items[attribute])
    raise Invalid(f"{at} leads into a single value, which has no attributes")


def literal_of_msgpack(data: bytes, name: str, most: int) -> Slice:
    """A value as the literal that tasks get: lists as collections, of `most` items at most, text, numbers and booleans
    as primitives, the rest as msgpack.
    """
    _require_passable(data, name, most)
    if _is_list(data):
        collection = Encoded()
        for item in _decoded(_LIST, data, name):
            collection.add(FIRST, _binary(bytes(item)))
        return whole(Encoded().add(COLLECTION, collection).tobytes())
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
            return whole(_binary(data).tobytes())
    return whole(Encoded().add(SCALAR, Encoded().add(FIRST, primitive)).tobytes())


def decode_msgpack(data: bytes, name: str) -> Any:
    """Decode the whole value. Raises CorruptBlob if `data` is not msgpack or nests too deep, Invalid if it is too
    large.
    """
    if len(data) > MAX_DECODED_BYTES:
        raise Invalid(f"{name} has {len(data)} bytes of msgpack, and may have {MAX_DECODED_BYTES}: pass it in a file")
    return _decoded(_ANY, data, name)


def _binary(data: bytes) -> Encoded:
    return Encoded().add(SCALAR, Encoded().add(_BINARY, Encoded().add(FIRST, data).add(SECOND, MSGPACK.encode())))


def _require_passable(data: bytes, at: str, most: int) -> None:
    """Raise Invalid if the data takes too long to skip over, or has more entries than may be kept separately."""
    if len(data) > MAX_BYTES:
        raise Invalid(f"{at} leads into {len(data)} bytes of msgpack, and may into {MAX_BYTES}: pass it in a file")
    width = _COUNTED_IN.get(data[0]) if data else None
    if width is not None and (count := int.from_bytes(data[1 : 1 + width], "big")) > most:
        raise Invalid(f"{at} leads into msgpack with {count} entries, and may into {most} (storage.max_messages)")


def _decoded(decoder: msgspec.msgpack.Decoder[Any], data: bytes, at: str) -> Any:
    try:
        return decoder.decode(data)
    except RecursionError as error:
        raise CorruptBlob(f"{at} leads into msgpack that nests deeper than it may") from error
    except (msgspec.DecodeError, ValueError, TypeError) as error:
        raise CorruptBlob(f"{at} leads into {len(data)} bytes that are not msgpack: {error}") from error


_COUNTED_IN = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
"""By first byte, the bytes after it that tell how many items or entries follow."""

_BINARY = 0x1A
"""The tag of a flyteidl.core.Scalar's binary."""


def _is_map(data: bytes) -> bool:
    return bool(data) and (0x80 <= data[0] <= 0x8F or data[0] in {0xDE, 0xDF})


def _is_list(data: bytes) -> bool:
    return bool(data) and (0x90 <= data[0] <= 0x9F or data[0] in {0xDC, 0xDD})
