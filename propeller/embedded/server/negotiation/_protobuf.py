"""Bodies that clients in Go send as protobuf: `kubectl create`, client-go's typed clients. Answers are JSON.

The fields' numbers, names and types are in protobuf.json (made by tests/integration/kubectl/protobuf_fields.py from the
tags of the Go structs). Zero values of fields that Go cannot leave out are left out, as its JSON does.
Source: k8s.io/apimachinery/pkg/runtime/serializer/protobuf; protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import base64
import functools
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import orjson

from propeller.clock import rfc3339
from propeller.embedded.server._storage import Object

FIELDS_FILE = Path(__file__).with_name("protobuf.json")
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\x00"
_ZERO_TIME = -62135596800  # Go's zero time, year 1
_KINDS = {
    ("v1", "Eviction"): "io.k8s.api.policy.v1.Eviction",
    ("policy/v1", "Eviction"): "io.k8s.api.policy.v1.Eviction",
}
_DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"


class NotProtobuf(ValueError):
    """Bytes that are no object of a known type in Kubernetes' protobuf form."""


class _Field(msgspec.Struct, frozen=True):
    """`name` is "" for a struct whose members are its parent's."""

    name: str
    type: str
    repeated: bool
    mapped: bool
    keeps_zero: bool


def decode(body: bytes) -> Object:
    """The object in a body, as JSON would have it, type fields included. Raises NotProtobuf."""
    if not body.startswith(_MAGIC):
        raise NotProtobuf("the body does not begin as Kubernetes' protobuf does")
    try:
        envelope = dict(_wire(memoryview(body)[len(_MAGIC) :]))
        type_meta = dict(_wire(envelope.get(1, memoryview(b""))))
        api_version, kind = _text(type_meta.get(1, b"")), _text(type_meta.get(2, b""))
        obj = _message(envelope.get(2, memoryview(b"")), _type_name(api_version, kind))
    except (IndexError, ValueError, TypeError, struct.error) as error:
        raise NotProtobuf(f"the body is no protobuf that can be read: {error}") from error
    return {"kind": kind, "apiVersion": api_version, **obj}


def _type_name(api_version: str, kind: str) -> str:
    if kind == "DeleteOptions":
        return _DELETE_OPTIONS
    if (api_version, kind) in _KINDS:
        return _KINDS[api_version, kind]
    group, _, version = api_version.rpartition("/")
    name = f"io.k8s.api.{group.partition('.')[0] or 'core'}.{version}.{kind}"
    if name not in _table():
        raise NotProtobuf(f"{kind} of {api_version} is not taken as protobuf; send it as JSON")
    return name


@functools.cache
def _table() -> Mapping[str, Mapping[int, _Field]]:
    raw: dict[str, dict[str, str]] = orjson.loads(FIELDS_FILE.read_bytes())
    return {name: {int(number): _field(text) for number, text in fields.items()} for name, fields in raw.items()}


def _field(text: str) -> _Field:
    name, _, type_ = text.partition(" ")
    bare = type_.rstrip("?")
    return _Field(
        name, bare.removeprefix("[]").removeprefix("{}"), bare.startswith("[]"), bare.startswith("{}"), bare != type_
    )


def _message(data: memoryview, type_name: str) -> Object:
    fields = _table()[type_name]
    obj: Object = {}
    for number, value in _wire(data):
        field = fields.get(number)
        if field is None:
            continue
        if field.mapped:
            entry = dict(_wire(value))
            member = obj.setdefault(field.name, {})
            member[_text(entry.get(1, b""))] = _value(entry.get(2, b""), field.type)
        elif field.repeated:
            obj.setdefault(field.name, []).extend(_repeated(value, field.type))
        elif not field.name:
            obj |= _message(value, field.type)
        else:
            decoded = _value(value, field.type)
            if decoded is not None and (field.keeps_zero or decoded not in ("", 0, False)):
                obj[field.name] = decoded
    return obj


def _repeated(value: Any, type_: str) -> Iterator[Any]:
    """Yield one element, or several if numbers are packed."""
    if type_ in ("int", "bool") and isinstance(value, memoryview):
        position = 0
        while position < len(value):
            number, position = _varint(value, position)
            yield _value(number, type_)
    else:
        yield _value(value, type_)


def _value(value: Any, type_: str) -> Any:
    """A field's value as JSON has it; None for none."""
    match type_:
        case "string":
            return _text(value)
        case "int":
            return value - (1 << 64) if value >= 1 << 63 else value
        case "bool":
            return bool(value)
        case "bytes":
            return base64.b64encode(value).decode()
        case "quantity":
            return _text(dict(_wire(value)).get(1, b"0")) or "0"
        case "time" | "microtime":
            return _time(dict(_wire(value)), type_)
        case "intorstring":
            found = dict(_wire(value))
            return _text(found.get(3, b"")) if found.get(1) else _value(found.get(2, 0), "int")
        case "raw" | "fields":
            content = bytes(dict(_wire(value)).get(1, b""))
            return orjson.loads(content) if content else None
        case _:
            return _message(value, type_)


def _time(parts: Mapping[int, Any], type_: str) -> str | None:
    seconds = _value(parts.get(1, 0), "int")
    if not parts or seconds == _ZERO_TIME:
        return None
    nanos = parts.get(2, 0) if type_ == "microtime" else 0
    return rfc3339(seconds + nanos / 1e9, microseconds=type_ == "microtime")


def _text(value: Any) -> str:
    return bytes(value).decode()


def _wire(data: memoryview | bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and raw values: numbers, or views of bytes."""
    view = memoryview(data)
    position = 0
    value: Any
    while position < len(view):
        key, position = _varint(view, position)
        match key & 7:
            case 0:
                value, position = _varint(view, position)
            case 1:
                value, position = struct.unpack_from("<d", view, position)[0], position + 8
            case 2:
                length, position = _varint(view, position)
                if position + length > len(view):
                    raise ValueError("a field is longer than what is left")
                value, position = view[position : position + length], position + length
            case 5:
                value, position = struct.unpack_from("<f", view, position)[0], position + 4
            case other:
                raise ValueError(f"unknown wire type {other}")
        yield key >> 3, value


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")
