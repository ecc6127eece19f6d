"""Selects a shard's objects of lists and watches, and transforms them.

Guarantees
    If `transform` raises on an object, the object becomes Undecodable. Each error is logged once per cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from propeller.informers._store import key_of, metadata_of
from propeller.informers._uid_shard import UidShard
from propeller.kube import Event, EventType, Undecodable
from propeller.telemetry import Causes

T = TypeVar("T")


class Filter(Generic[T]):
    """Passes objects of the kind `plural` that are in `shard` (None: all), through `transform` (None: unchanged)."""

    def __init__(self, plural: str, shard: UidShard | None, transform: Callable[[T], T] | None, causes: Causes) -> None:
        self._plural = plural
        self._shard = shard
        self._transform = transform
        self._causes = causes
        self.server_shards = False
        """Whether the server filters by the shard itself."""
        self.is_open = shard is None and transform is None
        """Whether everything passes unchanged."""

    def is_wanted(self, obj: T) -> bool:
        return self._shard is None or self.is_wanted_uid(metadata_of(obj).uid)

    def is_wanted_uid(self, uid: str) -> bool:
        return self._shard is None or self.server_shards or self._shard.holds(uid)

    def event(self, event: Event[T]) -> Event[T]:
        """The event as the cache wants it."""
        if event.type is EventType.BOOKMARK:
            return event
        if not self.is_wanted(event.object):
            return Event(EventType.BOOKMARK, event.object)  # of another shard: it only moves the version
        if self._transform is None or event.undecodable is not None:
            return event
        transformed = self.transformed(event.object)
        if isinstance(transformed, Undecodable):
            return Event(event.type, event.object, transformed)
        return Event(event.type, transformed)

    def objects(self, objects: Iterable[T], undecodable: Callable[[Undecodable[T]], None]) -> Iterator[T]:
        """The objects of a list as the cache wants them; those that cannot be transformed go to `undecodable`."""
        for obj in objects:
            if not self.is_wanted(obj):
                continue
            transformed = self.transformed(obj)
            if isinstance(transformed, Undecodable):
                undecodable(transformed)
            else:
                yield transformed

    def transformed(self, obj: T) -> T | Undecodable[T]:
        """One object as the cache wants it."""
        if self._transform is None:
            return obj
        try:
            return self._transform(obj)
        except Exception as error:  # noqa: BLE001 - it is the caller's function, and one object must not stop the others
            self._causes.report(error, "%s: transforming %s failed", self._plural, key_of(obj))
            return Undecodable(metadata_of(obj), f"transforming it failed: {type(error).__name__}: {error}")
