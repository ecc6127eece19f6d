"""What a server sends, as typed objects: single ones, pages of lists, and the lines of a watch.

Guarantees
    Whatever the bytes are, the result is a value or an error of ours.
    An object that is not of its type (a custom resource may hold anything, nested to any depth) concerns itself alone:
    it is left out of a page, and is as good as deleted in a watch, with the reason beside it. So one bad object cannot
    hide the others from those who list and watch.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from typing import Any, Generic, TypeVar, cast, get_origin

import msgspec

from propeller.errors import Unavailable
from propeller.kube._answers import Status, error_of
from propeller.kube._objects import KubeObject
from propeller.kube._resource import Resource

T = TypeVar("T")
R = TypeVar("R")

UNDECODABLE = (ValueError, RecursionError)
"""What msgspec raises: its own errors and UnicodeDecodeError are ValueErrors; depth has Python's own error."""

MAX_LINE = 32 * 1024 * 1024
"""Bytes. The API server takes requests of 3 MiB; a line ten times as long is no event."""

_MAX_DEPTH = 100  # of nesting that the careful way keeps; the interpreter's limit is about 1000
_TOO_DEEP = b'"\\u0000nested too deep to be read"'
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]++|[\]}]++', re.DOTALL)


class EventType(enum.StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


class Event(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """One line of a watch. A bookmark's `object` has only its metadata; so has one that is not of its type.

    `problem` says why the object could not be read, and is "" where it could. The type is DELETED then: to who reads
    this type, the object is not there.
    """

    type: EventType
    object: T
    problem: str = ""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list, as of `resource_version`; `continue_token` is "" on the last. `remaining` may be unknown.

    `problems` says which objects are left out, and why: they are not of their type. `shard_selector` is that of the
    request where the server kept to it (KEP-5866).
    """

    items: tuple[T, ...]
    resource_version: str = ""
    continue_token: str = ""
    remaining: int | None = None
    problems: tuple[str, ...] = ()
    shard_selector: str = ""


class _ShardInfo(msgspec.Struct, frozen=True):
    selector: str = ""


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None
    shard_info: _ShardInfo | None = None


class _List(msgspec.Struct, Generic[T], frozen=True):
    items: tuple[T, ...] | None = None
    metadata: _ListMeta = _ListMeta()


class _Decoders(msgspec.Struct, frozen=True):
    """Built once per type: building one costs as much as decoding a hundred objects."""

    one: msgspec.json.Decoder[Any]
    list: msgspec.json.Decoder[Any]
    event: msgspec.json.Decoder[Any]


@functools.cache
def _decoders(type_: Any) -> _Decoders:
    return _Decoders(
        msgspec.json.Decoder(type_), msgspec.json.Decoder(_List[type_]), msgspec.json.Decoder(Event[type_])
    )


def _decoders_of(resource: Resource[Any]) -> _Decoders:
    type_: Any = resource.type
    return _decoders(type_)


_RAW_LIST = msgspec.json.Decoder(_List[msgspec.Raw])
_RAW_EVENT = msgspec.json.Decoder(Event[msgspec.Raw])
_STATUS = msgspec.json.Decoder(Status)
_METADATA = msgspec.json.Decoder(KubeObject)


def decode_object(resource: Resource[T], body: bytes, what: str) -> T:
    """One object; raises Unavailable where it is none."""
    try:
        decoded: T = _decoders_of(resource).one.decode(body)
    except UNDECODABLE as error:
        raise Unavailable(f"{what}: the answer is no {resource.kind} that can be read: {error}") from error
    return decoded


def decode_page(resource: Resource[T], body: bytes, what: str) -> Page[T]:
    """A page of a list; raises Unavailable where the body is none at all."""
    try:
        found = _decoders_of(resource).list.decode(body)
    except UNDECODABLE:
        return _careful_page(resource, body, what)
    return _page(resource, found.metadata, found.items or (), ())


def decode_event(resource: Resource[T], line: bytes, what: str) -> Event[T]:
    """A line of a watch; raises the error that it tells of, Unavailable where it is none at all."""
    try:
        event: Event[T] = _decoders_of(resource).event.decode(line)
        if event.type is not EventType.ERROR:
            return event
    except UNDECODABLE:
        pass  # an ERROR's object is a Status, and others may not be of their type: look at them one by one
    return _careful_event(resource, line, what)


def decode_events(resource: Resource[T], text: bytes, what: str) -> Iterator[Event[T]]:
    """The events of whole lines of a watch, as `decode_event` of each; blank lines are none."""
    try:
        events: list[Event[T]] = _decoders_of(resource).event.decode_lines(text)
    except UNDECODABLE:
        pass
    else:
        if not any(event.type is EventType.ERROR for event in events):
            yield from events
            return
    for line in text.split(b"\n"):
        if line.strip():
            yield decode_event(resource, line, what)


async def whole_lines(chunks: AsyncIterable[bytes], what: str) -> AsyncIterator[bytes]:
    """A stream again, cut where lines end; what follows the last end is dropped, for it is not whole.

    A line that comes in many chunks is joined once. Raises Unavailable for one over MAX_LINE.
    """
    begun: list[bytes] = []
    size = 0
    async for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if end:
            text = b"".join((*begun, memoryview(chunk)[:end])) if begun else chunk[:end]
            begun, size = [], 0
            yield text
        if end < len(chunk):
            begun.append(chunk[end:])
            size += len(begun[-1])
        if size > MAX_LINE:
            raise Unavailable(f"{what}: the stream holds a line of more than {MAX_LINE} bytes")


def _page(resource: Resource[T], meta: _ListMeta, items: tuple[T, ...], problems: tuple[str, ...]) -> Page[T]:
    for item in items if resource.type is dict or get_origin(resource.type) is dict else ():
        # a list names its items' kind once: each has it, as where it comes alone
        cast(dict[str, Any], item).update(apiVersion=resource.api_version, kind=resource.kind)
    shard = meta.shard_info.selector if meta.shard_info is not None else ""
    return Page(items, meta.resource_version, meta.continue_, meta.remaining_item_count, problems, shard)


def _careful_page(resource: Resource[T], body: bytes, what: str) -> Page[T]:
    """A page whose items are decoded one by one: those that are of their type, and why others are not."""

    def read(document: bytes) -> Page[T]:
        items: list[T] = []
        problems: list[str] = []
        found = _RAW_LIST.decode(document)
        for raw in found.items or ():
            if problem := _problem(resource, raw, what):
                problems.append(problem)
            else:
                items.append(_decoders_of(resource).one.decode(raw))
        return _page(resource, found.metadata, tuple(items), tuple(problems))

    try:
        return _at_any_depth(read, body)
    except UNDECODABLE as error:
        raise Unavailable(f"{what}: the answer is no list that can be read: {error}") from error


def _careful_event(resource: Resource[T], line: bytes, what: str) -> Event[T]:
    def read(document: bytes) -> Event[T]:
        raw = _RAW_EVENT.decode(document)
        if raw.type is EventType.ERROR:
            status = _STATUS.decode(raw.object)
            raise error_of(status.code, status, what)
        problem = _problem(resource, raw.object, what)
        if not problem:
            return Event(raw.type, _decoders_of(resource).one.decode(raw.object))
        bare = msgspec.json.encode(_METADATA.decode(raw.object))
        type_ = raw.type if raw.type is EventType.BOOKMARK else EventType.DELETED
        return Event(type_, _decoders_of(resource).one.decode(bare), problem)

    try:
        return _at_any_depth(read, line)
    except UNDECODABLE as error:
        raise Unavailable(f"{what}: the stream holds a line that cannot be read: {error}") from error


def _at_any_depth(read: Callable[[bytes], R], document: bytes) -> R:
    """Read a document, and only if decoders cannot go so deep, which costs fifty times as much, one that is cut."""
    try:
        return read(document)
    except RecursionError:
        return read(_flattened(document))


def _problem(resource: Resource[Any], raw: msgspec.Raw, what: str) -> str:
    """Why an object is not of its type, "" where it is. Raises where not even its metadata can be read."""
    metadata = _METADATA.decode(raw).metadata
    name = "/".join(filter(None, (metadata.namespace, metadata.name)))
    if _TOO_DEEP in memoryview(raw).tobytes():
        return f"{what}: {resource.kind} {name} is nested too deep to be read; it is left out until that is mended"
    try:
        _decoders_of(resource).one.decode(raw)
    except ValueError as error:
        return f"{what}: {resource.kind} {name} cannot be read: {error}; it is left out until that is mended"
    return ""


def _flattened(document: bytes) -> bytes:
    """A JSON document with a mark in the place of whatever is nested deeper than decoders can go."""
    depth = start = done = 0
    parts: list[bytes] = []
    for found in _STRUCTURE.finditer(document):
        first, last = found.span()
        match document[first]:
            case 0x5B | 0x7B:  # [ {
                if depth < _MAX_DEPTH <= depth + last - first:
                    start = first + _MAX_DEPTH - depth - 1
                depth += last - first
            case 0x5D | 0x7D:  # ] }
                if depth >= _MAX_DEPTH > depth - (last - first):
                    parts += [document[done:start], _TOO_DEEP]
                    done = first + depth - _MAX_DEPTH + 1
                depth -= last - first
    return b"".join((*parts, document[done:])) if parts else document
