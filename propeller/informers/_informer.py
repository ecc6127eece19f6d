"""Shared informer: one list and one watch of a kind, fed to any number of readers.

Guarantees
    The store moves only forward, but for a server whose own versions went back (a restored backup): a reader never sees
    an older resourceVersion of an object than it has seen.
    After a cut, a 410 or a restart of the server, the store becomes equal to a fresh list without passing through
    empty, page by page: of a list that has not ended it may hold the beginning, and old states of the rest.
    Subscribers are told of every change of the store, in order, at once; one that raises harms no other.
Assumptions
    Subscribers are quick: they run on the loop, between an event and the next.
Caveats
    A reader of `changes` that is slow sees the latest state of an object, not every state in between.
    With selectors, the version moves with what is selected and with bookmarks, once a minute: `reached` is for writes
    of selected objects.
    An object that cannot be read, or transformed, is left out as if it were not selected; `left_out` counts them.
Errors
    Raises nothing while running: failures are counted, logged once per cause, and retried. `synced` and `reached` raise
    Unavailable when their deadline passes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Generic, Self, TypeVar

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.config import Informers as InformerSettings
from propeller.errors import Unavailable
from propeller.informers._reflector import Reflector
from propeller.informers._store import Change, IndexFunction, Store, as_number, key_of, later, metadata_of
from propeller.informers._uid_shard import UidShard
from propeller.kube import Client, Event, EventType, Resource

T = TypeVar("T")

log = logging.getLogger(__name__)

Subscriber = Callable[[Change[T]], None]


class Informer(Generic[T]):
    """Follows `resource`; use as `async with`, and read `store`, `subscribe` or `changes`."""

    def __init__(
        self,
        client: Client,
        resource: Resource[T],
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        indexes: Mapping[str, IndexFunction[T]] | None = None,
        transform: Callable[[T], T] | None = None,
        shard: UidShard | None = None,
        settings: InformerSettings | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.store: Store[T] = Store(indexes)
        self.resource = resource
        self._clock = clock
        self._subscribers: list[Subscriber[T]] = []
        self._version = ""
        self._moved: asyncio.Event = asyncio.Event()
        self._synced = asyncio.Event()
        self._seen: set[str] = set()
        """Keys of the list that is coming."""
        self._listing = False
        self._reflector = Reflector(
            client,
            resource,
            self,
            settings or InformerSettings(),
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            transform=transform,
            shard=shard,
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def version(self) -> str:
        """The resourceVersion up to which the store has followed; "" before the first list."""
        return self._version

    @property
    def failures(self) -> int:
        """Lists and watches that failed, since the start."""
        return self._reflector.failures

    @property
    def left_out(self) -> int:
        """Objects that could not be read or transformed, each time that they came."""
        return self._reflector.left_out

    def subscribe(self, subscriber: Subscriber[T]) -> Callable[[], None]:
        """Tell `subscriber` of every change, beginning with what is there now; returns how to stop."""
        self._subscribers.append(subscriber)
        for obj in self.store:
            self._tell(subscriber, Change(key_of(obj), None, obj))

        def stop() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return stop

    def resync(self) -> None:
        """Tell every subscriber of every object in the store again, as a change from its state to the same state.

        Asks the server for nothing. Never done unasked: what is lost nowhere needs no telling twice.
        """
        for obj in self.store:
            self._publish(Change(key_of(obj), obj, obj))

    async def changes(self) -> AsyncGenerator[Change[T], None]:
        """Changes one after the other, beginning with what is there now.

        Of an object that changes faster than they are read, the latest.
        """
        waiting: dict[str, Change[T]] = {}
        arrived = asyncio.Event()

        def note(change: Change[T]) -> None:
            earlier = waiting.get(change.key)
            old = change.old if earlier is None else earlier.old
            if old is None and change.new is None:
                del waiting[change.key]  # it came and went unseen
            else:
                waiting[change.key] = Change(change.key, old, change.new)  # where it stood, lest it never has its turn
                arrived.set()

        stop = self.subscribe(note)
        try:
            while True:
                await arrived.wait()
                arrived.clear()
                while waiting:
                    yield waiting.pop(next(iter(waiting)))
        finally:
            stop()

    def has_synced(self) -> bool:
        """Whether the first list is in the store."""
        return self._synced.is_set()

    async def synced(self, deadline: float) -> None:
        """Wait until the first list is in the store; raises Unavailable after `deadline` seconds."""
        try:
            async with asyncio.timeout(deadline):
                await self._synced.wait()
        except TimeoutError as error:
            raise Unavailable(f"{self.resource.plural} could not be listed within {deadline:g} s") from error

    async def reached(self, resource_version: str, deadline: float) -> None:
        """Wait until the store has followed up to a version, such as that of an own write; raises Unavailable."""
        try:
            async with asyncio.timeout(deadline):
                while not self._has_reached(resource_version):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError as error:
            raise Unavailable(
                f"the cache of {self.resource.plural} has not reached version {resource_version} within {deadline:g} s"
            ) from error

    def list_begins(self) -> None:
        """For the reflector: a list, from its first object on."""
        self._seen = set()
        self._listing = True

    def listed(self, objects: Iterable[T]) -> None:
        """For the reflector: some of the list's objects."""
        for change in self.store.take(objects, self._seen):
            self._publish(change)

    def list_ended(self, version: str) -> None:
        """For the reflector: that was the whole list, as of `version`."""
        for change in self.store.end_list(self._seen):
            self._publish(change)
        self._seen = set()
        self._listing = False
        self._version = version
        self._moved.set()
        self._synced.set()

    def happened(self, event: Event[T]) -> None:
        """For the reflector: one event."""
        metadata = metadata_of(event.object)
        match event.type:
            case EventType.ADDED | EventType.MODIFIED:
                change = self.store.put(event.object)
            case EventType.DELETED:
                change = self.store.remove(event.object)
                if change is not None and not event.problem:
                    change = Change(change.key, event.object, None)
            case _:
                change = None
        if change is not None:
            self._publish(change)
        if metadata.resource_version and not self._listing:  # else what the list is to find gone is still there
            self._version = later(self._version, metadata.resource_version)
            self._moved.set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._reflector.run(), name=f"reflect {self.resource.plural}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    def _has_reached(self, version: str) -> bool:
        if version.isdecimal() and self._version.isdecimal():
            return as_number(self._version) >= as_number(version)
        return self._version == version

    def _publish(self, change: Change[T]) -> None:
        for subscriber in tuple(self._subscribers):
            self._tell(subscriber, change)

    def _tell(self, subscriber: Subscriber[T], change: Change[T]) -> None:
        try:
            subscriber(change)
        except Exception:
            log.exception("a subscriber of %s raised on %s", self.resource.plural, change.key)
