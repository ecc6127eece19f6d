"""Decodes responses into typed objects: single ones, pages of lists, and the lines of a watch.

Guarantees
    The result is a value or an error of ours, for any bytes.
    A null stands for an absent value if Go's decoder takes it so.
    An object that is not of its type (a custom resource may hold anything, nested to any depth) is reported as
    `Undecodable`, with the reason and the fields that could be read. It never hides the other objects of a list or
    watch, and is never reported as deleted.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import Any, Generic, TypeVar, cast, get_origin

import msgspec

from propeller.decoding import UNDECODABLE, cut, is_cut, read
from propeller.errors import Invalid, Unavailable
from propeller.kube._objects import KubeObject, ObjectMeta
from propeller.kube._resource import Resource
from propeller.kube._responses import Status, error_of

T = TypeVar("T")

MAX_LINE = 32 * 1024 * 1024
"""Bytes. The API server takes requests of 3 MiB; a line ten times as long is no event."""


class EventType(enum.StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


_ERROR = EventType.ERROR


class Undecodable(msgspec.Struct, Generic[T], frozen=True):
    """An object that the server has, and that is not of its type.

    `error` names each field that is not. `rest` has the other fields, and defaults for these; it is None if one of them
    has no default.
    """

    metadata: ObjectMeta
    error: str
    rest: T | None = None

    @property
    def key(self) -> str:
        """`namespace/name`, or the name alone."""
        return "/".join(filter(None, (self.metadata.namespace, self.metadata.name)))


class Event(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """One line of a watch. A bookmark's `object` has only its metadata.

    `undecodable` is set if the object is not of its type: then `object` has the fields that could be read, and is a
    bare KubeObject if the type has required fields that could not.
    """

    type: EventType
    object: T
    undecodable: Undecodable[T] | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list, as of `resource_version`; `continue_token` is "" on the last. `remaining` may be unknown.

    `undecodable` has the objects that are not of their type. `shard_selector` is that of the request if the server
    honoured it (KEP-5866).
    """

    items: tuple[T, ...]
    resource_version: str = ""
    continue_token: str = ""
    remaining: int | None = None
    undecodable: tuple[Undecodable[T], ...] = ()
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


def decode_object(resource: Resource[T], body: bytes, what: str) -> T:
    """One object. Raises Invalid if a field is not of its type, Unavailable if the body is no object at all."""
    try:
        decoded: T = _decoders_of(resource).one.decode(body)
        return decoded
    except UNDECODABLE:
        pass
    try:
        found = _decode(resource, body)
    except ValueError as error:
        raise Unavailable(f"{what}: the answer is no {resource.kind} that can be read: {error}") from error
    if isinstance(found, Undecodable):
        raise Invalid(f"{what}: {resource.kind} {found.key} cannot be decoded: {found.error}")
    return found


def decode_page(resource: Resource[T], body: bytes, what: str) -> Page[T]:
    """Decode a page of a list; raises Unavailable if the body is not a list at all."""
    try:
        found = _decoders_of(resource).list.decode(body)
    except UNDECODABLE:
        return _careful_page(resource, body, what)
    return _page(resource, found.metadata, found.items or (), ())


def decode_event(resource: Resource[T], line: bytes, what: str) -> Event[T]:
    """Decode a line of a watch; raises the error that it reports, Unavailable if it is not an event at all."""
    try:
        event: Event[T] = _decoders_of(resource).event.decode(line)
        if event.type is not EventType.ERROR:
            return event
    except UNDECODABLE:
        pass  # an ERROR's object is a Status, and another object may not be of its type: decode them one by one
    return _careful_event(resource, line, what)


def decode_events(resource: Resource[T], text: bytes, what: str) -> Iterator[Event[T]]:
    """The events of whole lines of a watch, as `decode_event` of each; blank lines are none."""
    try:
        events: list[Event[T]] = _decoders_of(resource).event.decode_lines(text)
    except UNDECODABLE:
        pass
    else:
        if _ERROR not in [event.type for event in events]:
            yield from events
            return
    for line in text.split(b"\n"):
        if line.strip():
            yield decode_event(resource, line, what)


async def whole_lines(chunks: AsyncIterable[bytes], what: str) -> AsyncIterator[bytes]:
    """Regroup a stream into whole lines; an incomplete last line is dropped.

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


def _page(
    resource: Resource[T], meta: _ListMeta, items: tuple[T, ...], undecodable: tuple[Undecodable[T], ...]
) -> Page[T]:
    for item in items if resource.type is dict or get_origin(resource.type) is dict else ():
        # a list names its items' kind once: each item gets it, as if it was read alone
        cast(dict[str, Any], item).update(apiVersion=resource.api_version, kind=resource.kind)
    shard = meta.shard_info.selector if meta.shard_info is not None else ""
    return Page(items, meta.resource_version, meta.continue_, meta.remaining_item_count, undecodable, shard)


def _careful_page(resource: Resource[T], body: bytes, what: str) -> Page[T]:
    """Decode a page item by item: those that are of the type, and those that are undecodable."""
    items: list[T] = []
    undecodable: list[Undecodable[T]] = []
    try:
        found = _raw_list(body)
        for raw in found.items or ():
            item = _decode(resource, bytes(raw))
            if isinstance(item, Undecodable):
                undecodable.append(item)
            else:
                items.append(item)
    except UNDECODABLE as error:
        raise Unavailable(f"{what}: the answer is no list that can be read: {error}") from error
    return _page(resource, found.metadata, tuple(items), tuple(undecodable))


def _careful_event(resource: Resource[T], line: bytes, what: str) -> Event[T]:
    try:
        raw = _raw_event(line)
        if raw.type is EventType.ERROR:
            status = read(Status, bytes(raw.object)).value or Status()
            raise error_of(status.code, status, what)
        found = _decode(resource, bytes(raw.object))
    except UNDECODABLE as error:
        raise Unavailable(f"{what}: the stream holds a line that cannot be read: {error}") from error
    if not isinstance(found, Undecodable):
        return Event(raw.type, found)
    rest = KubeObject(metadata=found.metadata) if found.rest is None else found.rest
    return Event(raw.type, cast(T, rest), None if raw.type is EventType.BOOKMARK else found)


def _decode(resource: Resource[T], document: bytes) -> T | Undecodable[T]:
    """Decode an object of the type, or the part that can be read. Raises ValueError if it is no object."""
    if not is_cut(document):
        try:
            decoded: T = _decoders_of(resource).one.decode(document)
            return decoded
        except UNDECODABLE:
            pass
    bare = read(KubeObject, document)
    if bare.value is None:
        raise ValueError(bare.message)
    found = read(resource.type, document)
    if found.value is not None and not found.problems:
        return found.value
    return Undecodable(bare.value.metadata, found.message, found.value)


def _raw_list(body: bytes) -> _List[msgspec.Raw]:
    try:
        return _RAW_LIST.decode(body)
    except RecursionError:
        return _RAW_LIST.decode(cut(body))


def _raw_event(line: bytes) -> Event[msgspec.Raw]:
    try:
        return _RAW_EVENT.decode(line)
    except RecursionError:
        return _RAW_EVENT.decode(cut(line))
