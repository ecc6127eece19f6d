"""Shared informer: one list and one watch of a kind, fed to any number of readers.

Guarantees
    The store moves only forward, but for a server that was restored from an older copy: a reader never sees an older
    resourceVersion of an object than it has seen.
    After a cut, a 410 or a restart of the server, the store becomes equal to a fresh list without passing through
    empty. During a list it holds the new states of the pages received so far, and previous states of the rest.
    After a restore the store becomes what the server has (see Reflector for the bound), `restores` grows, and those who
    called `subscribe_restores` are told. Who waits in `reached` meanwhile waits no longer.
    Subscribers are told of every change of the store, in order, at once; one that raises harms no other.
    An object that cannot be decoded, or that `transform` raises on, is in `undecodable` and is published to those who
    called `subscribe_undecodable`, never as a deletion. The store keeps its last good state, or has what `salvage`
    makes of it. Each is logged once per error, with its key.
    When the informer ends, `changes` ends once what it has was read, and who waits in `synced` or `reached` hears so.
Assumptions
    Subscribers are quick: they run on the loop, between an event and the next. One that is `async def` is refused.
Caveats
    A reader of `changes` that is slow sees the latest state of an object, not every state in between.
    With selectors, the version moves with what is selected and with bookmarks, once a minute: `reached` is for writes
    of selected objects.
Errors
    Raises nothing while running: failures are counted, logged once per cause, and retried. `synced` and `reached` raise
    Unavailable when their deadline passes, or the informer ends. Invalid for what is entered twice, subscribed to after
    its end, or given a coroutine function in the place of a plain one.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Generic, Self, TypeVar

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.errors import Invalid, Unavailable
from propeller.informers._callbacks import refuse_coroutines
from propeller.informers._options import InformerOptions
from propeller.informers._reflector import Reflector
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
from propeller.informers._uid_shard import UidShard
from propeller.kube import Client, Event, EventType, Resource, Undecodable

T = TypeVar("T")

log = logging.getLogger(__name__)

Subscriber = Callable[[Change[T]], None]

Salvage = Callable[[Undecodable[T], T | None], T | None]
"""Makes an object of what could be read, and of the last good state (None if there is none): it is taken into the
store. None keeps the last good state.
"""

S = TypeVar("S")


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
        salvage: Salvage[T] | None = None,
        shard: UidShard | None = None,
        settings: InformerOptions | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        for name, function in {"transform": transform, "salvage": salvage, **(indexes or {})}.items():
            refuse_coroutines(function, f"{name} of an informer of {resource.plural}")
        self.store: Store[T] = Store(indexes)
        self.resource = resource
        self.restores = 0
        """How often the server's versions went back."""
        self._clock = clock
        self._salvage = salvage
        self._undecodable: dict[str, Undecodable[T]] = {}
        self._subscribers: list[Subscriber[T]] = []
        self._undecodable_subscribers: list[Callable[[Undecodable[T]], None]] = []
        self._restore_subscribers: list[Callable[[], None]] = []
        self._went_back = False
        """Whether the list that is coming has an object of another history than the store had."""
        self._awaited: list[tuple[int, Callable[[], None]]] = []
        """Which list who waits for, and what to call then."""
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
            settings or InformerOptions(),
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            transform=transform,
            shard=shard,
        )
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        self._readers: set[asyncio.Event] = set()
        """What readers of `changes` wait for."""

    @property
    def version(self) -> str:
        """The resourceVersion up to which the store has followed; "" before the first list."""
        return self._version

    @property
    def failures(self) -> int:
        """Lists and watches that failed, since the start."""
        return self._reflector.failures

    @property
    def lists(self) -> int:
        """Lists that were begun, since the start: one unless it had to be listed anew."""
        return self._reflector.lists

    @property
    def watches(self) -> int:
        """Watches that were begun, since the start."""
        return self._reflector.watches

    @property
    def objects(self) -> int:
        """In the store."""
        return len(self.store)

    @property
    def undecodable(self) -> Mapping[str, Undecodable[T]]:
        """By key, the objects whose present state could not be decoded, without what could be read of them."""
        return self._undecodable

    def subscribe(self, subscriber: Subscriber[T]) -> Callable[[], None]:
        """Tell `subscriber` of every change, beginning with what is there now; returns how to stop.

        Raises Invalid if the informer has ended, or the subscriber is a coroutine function.
        """
        stop = self._join(self._subscribers, subscriber)
        for obj in self.store:
            self._tell(subscriber, Change(key_of(obj), None, obj))
        return stop

    def subscribe_undecodable(self, subscriber: Callable[[Undecodable[T]], None]) -> Callable[[], None]:
        """Tell `subscriber` of every object that cannot be decoded, each time it comes, beginning with what is there
        now; returns how to stop.
        """
        stop = self._join(self._undecodable_subscribers, subscriber)
        for found in tuple(self._undecodable.values()):
            self._tell(subscriber, found)
        return stop

    def subscribe_restores(self, subscriber: Callable[[], None]) -> Callable[[], None]:
        """Tell `subscriber` each time the server's versions have gone back, once the store has what the server has;
        returns how to stop.

        What was known by a version from before, such as that of an own write, is void then.
        """
        return self._join(self._restore_subscribers, subscriber)

    def list_anew(self, then: Callable[[], None]) -> None:
        """List everything again soon, whatever the server's versions say; a watch that is open is given up. `then` is
        called once the store has a list that was asked for after this call.

        For who has learned otherwise that the server has another history, as from the informer of another kind. Raises
        Invalid if `then` is a coroutine function.
        """
        refuse_coroutines(then, f"what follows a list of {self.resource.plural}")
        self._awaited.append((self._reflector.list_anew(), then))

    def resync(self) -> None:
        """Tell every subscriber of every object in the store again, as a change from its state to the same state.

        Asks the server for nothing. Never done unasked: what is lost nowhere needs no telling twice.
        """
        for obj in self.store:
            self._publish(Change(key_of(obj), obj, obj))

    async def changes(self) -> AsyncGenerator[Change[T], None]:
        """Changes one after the other, beginning with what is there now.

        Of an object that changes faster than they are read, the latest. Ends when the informer does.
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
        self._readers.add(arrived)
        try:
            while waiting or not self._ended:
                await arrived.wait()
                arrived.clear()
                while waiting:
                    yield waiting.pop(next(iter(waiting)))
        finally:
            self._readers.discard(arrived)
            stop()

    def has_synced(self) -> bool:
        """Whether the first list is in the store."""
        return self._synced.is_set()

    async def synced(self, deadline: float) -> None:
        """Wait until the first list is in the store; raises Unavailable after `deadline` seconds."""
        try:
            async with asyncio.timeout(deadline):
                while not self.has_synced():
                    await self._wait_for_news()
        except TimeoutError as error:
            raise Unavailable(f"{self.resource.plural} could not be listed within {deadline:g} s") from error

    async def reached(self, resource_version: str, deadline: float) -> None:
        """Wait until the store has followed up to a version, such as that of an own write; raises Unavailable.

        Returns as well once the server was restored from an older copy meanwhile: the version may never come.
        """
        restores = self.restores
        try:
            async with asyncio.timeout(deadline):
                while not self.has_reached(resource_version) and restores == self.restores:
                    await self._wait_for_news()
        except TimeoutError as error:
            raise Unavailable(
                f"the cache of {self.resource.plural} has not reached version {resource_version} within {deadline:g} s"
            ) from error

    def list_begins(self) -> None:
        """For the reflector: a list, from its first object on."""
        self._seen = set()
        self._listing = True
        self._went_back = False

    def listed(self, objects: Iterable[T]) -> None:
        """For the reflector: some of the list's objects."""
        for change in self.store.take(objects, self._seen):
            if self._undecodable:
                self._mended(change.key)
            if change.old is not None and change.new is not None:
                self._went_back |= of_another_history(change.old, change.new)
            self._publish(change)

    def listed_undecodable(self, found: Undecodable[T]) -> None:
        """For the reflector: one of the list's objects, which could not be decoded."""
        self._seen.add(found.key)
        self._take_undecodable(found)

    def list_ended(self, version: str) -> None:
        """For the reflector: that was the whole list, as of `version`."""
        for change in self.store.end_list(self._seen):
            self._publish(change)
        for key in self._undecodable.keys() - self._seen:
            del self._undecodable[key]
        restored = self._went_back or went_back(self._version, version)
        self._seen = set()
        self._listing = False
        self._version = version
        self.restores += restored
        self._moved.set()
        self._synced.set()
        if restored:
            log.warning(
                "%s: the server was restored from an older copy; the cache has what it has", self.resource.plural
            )
            for subscriber in tuple(self._restore_subscribers):
                subscriber()
        awaited, self._awaited = self._awaited, []
        for number, then in awaited:
            if number <= self._reflector.lists:
                then()
            else:
                self._awaited.append((number, then))

    def happened(self, event: Event[T]) -> None:
        """For the reflector: one event."""
        metadata = metadata_of(event.object)
        if event.type is not EventType.BOOKMARK and (change := self._taken(event)) is not None:
            self._publish(change)
        if metadata.resource_version and not self._listing:  # else what the list is to find gone is still there
            self._version = later(self._version, metadata.resource_version)
            self._moved.set()

    def _taken(self, event: Event[T]) -> Change[T] | None:
        """What an event changes in the store."""
        if event.undecodable is None:
            if self._undecodable:
                self._mended(key_of(event.object))
            if event.type is not EventType.DELETED:
                return self.store.put(event.object)
            change = self.store.remove(event.object)
            return None if change is None else Change(change.key, event.object, None)
        if event.type is not EventType.DELETED:
            self._take_undecodable(event.undecodable)
            return None
        self._undecodable.pop(event.undecodable.key, None)
        return self.store.remove(event.object)

    async def __aenter__(self) -> Self:
        """Raises Invalid unless it is the first time."""
        if self._task is not None:
            state = "has ended" if self._ended else "runs already"
            raise Invalid(f"the informer of {self.resource.plural} {state}: it is entered once; make another one")
        self._task = asyncio.create_task(self._reflector.run(), name=f"reflect {self.resource.plural}")
        self._task.add_done_callback(self._end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    def has_reached(self, version: str) -> bool:
        """Whether the store has followed up to a version; of versions that are not numbers, whether it is at it."""
        if version.isdecimal() and self._version.isdecimal():
            return as_number(self._version) >= as_number(version)
        return self._version == version

    def _end(self, task: asyncio.Task[None]) -> None:
        """The reflector has ended: nothing will happen any more."""
        self._ended = True
        self._moved.set()
        for arrived in self._readers:
            arrived.set()

    async def _wait_for_news(self) -> None:
        """Wait until the store has moved. Raises Unavailable if it never will again."""
        if self._ended:
            raise Unavailable(f"the informer of {self.resource.plural} has ended")
        self._moved.clear()
        await self._moved.wait()

    def _join(self, subscribers: list[S], subscriber: S) -> Callable[[], None]:
        if self._ended:
            raise Invalid(f"the informer of {self.resource.plural} has ended: nobody will be told of anything")
        refuse_coroutines(subscriber, f"a subscriber of {self.resource.plural}")
        subscribers.append(subscriber)

        def stop() -> None:
            if subscriber in subscribers:
                subscribers.remove(subscriber)

        return stop

    def _take_undecodable(self, found: Undecodable[T]) -> None:
        """Note an object that cannot be decoded; what the store has of it stays, or is what `salvage` makes."""
        if (dropped := self.store.drop_other(found.metadata)) is not None:
            self._publish(dropped)
        last = self.store.get(found.key)
        known = self._undecodable.get(found.key)
        noted: Undecodable[T] = Undecodable(found.metadata, found.error)
        if known == noted:
            return  # a list after a watch, which had it already
        self._undecodable[found.key] = noted
        salvaged = self._salvage(found, last) if self._salvage is not None else None
        if salvaged is not None:
            self._publish(self.store.replace(salvaged))
        if known is None or known.error != noted.error:
            consequence = (
                "its last good state stays in use" if last is not None else "it is left out until it is mended"
            )
            log.warning(
                "%s %s cannot be decoded: %s%s",
                self.resource.kind,
                found.key,
                found.error,
                "" if salvaged is not None else f"; {consequence}",
            )
        for subscriber in tuple(self._undecodable_subscribers):
            self._tell(subscriber, noted)

    def _mended(self, key: str) -> None:
        if self._undecodable.pop(key, None) is not None:
            log.info("%s %s can be decoded again, or is gone", self.resource.kind, key)

    def _publish(self, change: Change[T]) -> None:
        for subscriber in tuple(self._subscribers):
            self._tell(subscriber, change)

    def _tell(self, subscriber: Callable[[S], object], news: S) -> None:
        try:
            result = subscriber(news)
            if result is not None and inspect.iscoroutine(result):  # of a lambda: what it calls was not to be seen
                result.close()
                raise Invalid("it returned a coroutine, which nobody awaits: add a key to a queue, or read `changes()`")
        except Exception:
            key = news.key if isinstance(news, Change | Undecodable) else ""
            log.exception("a subscriber of %s raised on %s", self.resource.plural, key)
