"""The sink of an informer: takes a reflector's lists and events into a store, and publishes the changes.

Guarantees
    The store moves only forward, but for a server that was restored from an older copy. During a list it holds the new
    states of the pages received so far, and previous states of the rest.
    An object that cannot be decoded is in `undecodable`, and is never published as a deletion. The store keeps its last
    good state, or takes the result of `salvage`. Each is logged once per error, with its key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from propeller.errors import Unavailable
from propeller.informers._store import (
    Change,
    IndexFunction,
    Store,
    as_number,
    key_of,
    later,
    metadata_of,
    of_another_history,
    went_back,
)
from propeller.informers._subscribers import Subscribers
from propeller.kube import Event, EventType, Resource, Undecodable

T = TypeVar("T")

Salvage = Callable[[Undecodable[T], T | None], T | None]
"""Makes an object for the store from the fields that could be read, and from the last good state (None if there is
none). None keeps the last good state.
"""

log = logging.getLogger(__name__)


class Cache(Generic[T]):
    """Implements `_sink.Sink`, for one informer."""

    def __init__(
        self,
        resource: Resource[T],
        indexes: Mapping[str, IndexFunction[T]] | None,
        salvage: Salvage[T] | None,
        subscribers: Subscribers[T],
    ) -> None:
        self.store: Store[T] = Store(indexes)
        self.version = ""
        """The resourceVersion up to which the store has followed; "" before the first list."""
        self.restores = 0
        """How often the server's versions went back."""
        self.undecodable: dict[str, Undecodable[T]] = {}
        """By key, the objects whose present state could not be decoded, without their readable fields."""
        self.is_filled = False
        """Whether the first list is in the store."""
        self._resource = resource
        self._salvage = salvage
        self._subscribers = subscribers
        self._went_back = False
        """Whether the list in progress has an object of another history than the store had."""
        self._lists = 0
        """Lists that were begun."""
        self._awaited: list[tuple[int, Callable[[], None]]] = []
        """Numbers of lists that are waited for, each with the function to call at its end."""
        self._moved: asyncio.Event = asyncio.Event()
        self._seen: set[str] = set()
        """Keys of the list in progress."""
        self._listing = False

    def on_list_start(self) -> None:
        self._lists += 1
        self._seen = set()
        self._listing = True
        self._went_back = False

    def on_list_page(self, objects: Iterable[T]) -> None:
        for change in self.store.replace_page(objects, self._seen):
            if self.undecodable:
                self._record_decodable(change.key)
            if change.old is not None and change.new is not None:
                self._went_back |= of_another_history(change.old, change.new)
            self._subscribers.publish(change)

    def on_list_undecodable(self, found: Undecodable[T]) -> None:
        self._seen.add(found.key)
        self._record_undecodable(found)

    def on_list_end(self, version: str) -> None:
        for change in self.store.finish_replace(self._seen):
            self._subscribers.publish(change)
        for key in self.undecodable.keys() - self._seen:
            del self.undecodable[key]
        restored = self._went_back or went_back(self.version, version)
        self._seen = set()
        self._listing = False
        self.version = version
        self.restores += restored
        self.is_filled = True
        self._moved.set()
        if restored:
            log.warning(
                "%s: the server was restored from an older copy; the cache has what it has", self._resource.plural
            )
            self._subscribers.publish_restore()
        awaited, self._awaited = self._awaited, []
        for number, then in awaited:
            if number <= self._lists:
                then()
            else:
                self._awaited.append((number, then))

    def on_event(self, event: Event[T]) -> None:
        metadata = metadata_of(event.object)
        if event.type is not EventType.BOOKMARK and (change := self._apply(event)) is not None:
            self._subscribers.publish(change)
        if metadata.resource_version and not self._listing:  # a list may yet find deletions before this version
            self.version = later(self.version, metadata.resource_version)
            self._moved.set()

    def after_list(self, number: int, then: Callable[[], None]) -> None:
        """Call `then` once the store has the list of that number, or a later one."""
        self._awaited.append((number, then))

    def has_reached(self, version: str) -> bool:
        """Whether the store has followed up to a version; of versions that are not numbers, whether it is at it."""
        if version.isdecimal() and self.version.isdecimal():
            return as_number(self.version) >= as_number(version)
        return self.version == version

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds, which is checked whenever the store moves. Raises Unavailable at the end."""
        while not condition():
            if self._subscribers.ended:
                raise Unavailable(f"the informer of {self._resource.plural} has ended")
            self._moved.clear()
            await self._moved.wait()

    def end(self) -> None:
        """The reflector has ended: wake all waiters."""
        self._moved.set()

    def _apply(self, event: Event[T]) -> Change[T] | None:
        """Apply an event to the store; returns the change."""
        if event.undecodable is None:
            if self.undecodable:
                self._record_decodable(key_of(event.object))
            if event.type is not EventType.DELETED:
                return self.store.upsert(event.object)
            change = self.store.delete(event.object)
            return None if change is None else Change(change.key, event.object, None)
        if event.type is not EventType.DELETED:
            self._record_undecodable(event.undecodable)
            return None
        self.undecodable.pop(event.undecodable.key, None)
        return self.store.delete(event.object)

    def _record_undecodable(self, found: Undecodable[T]) -> None:
        """Record an object that cannot be decoded; its last good state stays, or `salvage` replaces it."""
        if (dropped := self.store.drop_other(found.metadata)) is not None:
            self._subscribers.publish(dropped)
        last = self.store.get(found.key)
        known = self.undecodable.get(found.key)
        noted: Undecodable[T] = Undecodable(found.metadata, found.error)
        if known == noted:
            return  # a list after a watch, which had it already
        self.undecodable[found.key] = noted
        salvaged = self._salvage(found, last) if self._salvage is not None else None
        if salvaged is not None:
            self._subscribers.publish(self.store.overwrite(salvaged))
        if known is None or known.error != noted.error:
            consequence = (
                "its last good state stays in use" if last is not None else "it is left out until it is mended"
            )
            log.warning(
                "%s %s cannot be decoded: %s%s",
                self._resource.kind,
                found.key,
                found.error,
                "" if salvaged is not None else f"; {consequence}",
            )
        self._subscribers.publish_undecodable(noted)

    def _record_decodable(self, key: str) -> None:
        if self.undecodable.pop(key, None) is not None:
            log.info("%s %s can be decoded again, or is gone", self._resource.kind, key)
