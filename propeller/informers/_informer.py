"""Shared informer: one list and one watch of a kind, fed to any number of readers.

Guarantees
    The store moves only forward, but for a server that was restored from an older copy: a reader never sees an older
    resourceVersion of an object than it has seen.
    After a cut, a 410 or a restart of the server, the store becomes equal to a fresh list without passing through
    empty. During a list it holds the new states of the pages received so far, and previous states of the rest.
    After a restore the store becomes equal to the server's (see Reflector for the bound), `restores` grows, subscribers
    of restores are called, and waits for a version end.
    Subscribers are called with every change of the store, in order, at once; an exception of one harms no other.
    An object that cannot be decoded, or that `transform` raises on, is in `undecodable` and is published to subscribers
    of undecodable objects, never as a deletion. The store keeps its last good state, or takes the result of `salvage`.
    Each is logged once per error, with its key.
    When the informer ends, `changes` ends once all its changes were read, and `wait_for_sync` and `wait_for_version`
    raise Unavailable.
Assumptions
    Subscribers are quick: they run on the loop, between an event and the next. A coroutine function is refused.
Caveats
    A reader of `changes` that is slow sees the latest state of an object, not every state in between.
    With selectors, the version moves with the selected objects and with bookmarks, once a minute: `wait_for_version` is
    for writes of selected objects.
Errors
    Raises nothing while running: failures are counted, logged once per cause, and retried. `wait_for_sync` and
    `wait_for_version` raise Unavailable when their deadline passes, or the informer ends. Invalid for an informer that
    is entered twice or subscribed to after its end, and for a coroutine function in the place of a plain one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from types import TracebackType
from typing import Generic, Self, TypeVar

from propeller.errors import Invalid, Unavailable
from propeller.informers._cache import Cache, Salvage
from propeller.informers._callbacks import refuse_coroutines
from propeller.informers._options import InformerOptions
from propeller.informers._reflector import Reflector
from propeller.informers._selection import Selection
from propeller.informers._store import Change, IndexFunction, Store, key_of
from propeller.informers._subscribers import Subscriber, Subscribers
from propeller.informers._uid_shard import UidShard
from propeller.kube import Client, Resource, Undecodable

T = TypeVar("T")


class Informer(Generic[T]):
    """Follows `resource`; use as `async with`, and read `store`, `subscribe` or `changes`.

    More than 15 methods: six of them read one number each, for metrics and for fences of writes.
    """

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
    ) -> None:
        for name, function in {"transform": transform, "salvage": salvage, **(indexes or {})}.items():
            refuse_coroutines(function, f"{name} of an informer of {resource.plural}")
        self.resource = resource
        self._subscribers: Subscribers[T] = Subscribers(resource.plural)
        self._cache: Cache[T] = Cache(resource, indexes, salvage, self._subscribers)
        self.store: Store[T] = self._cache.store
        self._reflector = Reflector(
            client,
            resource,
            self._cache,
            settings or InformerOptions(),
            Selection(namespace, label_selector, field_selector, shard),
            transform=transform,
        )
        self._task: asyncio.Task[None] | None = None
        self._readers: set[asyncio.Event] = set()
        """Events that wake the readers of `changes`."""

    @property
    def version(self) -> str:
        """The resourceVersion up to which the store has followed; "" before the first list."""
        return self._cache.version

    @property
    def restores(self) -> int:
        """How often the server's versions went back."""
        return self._cache.restores

    @property
    def failures(self) -> int:
        """Lists and watches that failed, since the start."""
        return self._reflector.failures

    @property
    def lists(self) -> int:
        """Lists that were begun, since the start: more than one after relists."""
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
        """By key, the objects whose present state could not be decoded, without their readable fields."""
        return self._cache.undecodable

    def subscribe(self, subscriber: Subscriber[T]) -> Callable[[], None]:
        """Call `subscriber` with every change, beginning with the objects in the store; returns how to stop.

        Raises Invalid if the informer has ended, or the subscriber is a coroutine function.
        """
        stop = self._subscribers.join(self._subscribers.of_changes, subscriber)
        for obj in self.store:
            self._subscribers.call(subscriber, Change(key_of(obj), None, obj))
        return stop

    def subscribe_undecodable(self, subscriber: Callable[[Undecodable[T]], None]) -> Callable[[], None]:
        """Call `subscriber` with every object that cannot be decoded, each time it comes, beginning with the present
        ones; returns how to stop.
        """
        stop = self._subscribers.join(self._subscribers.of_undecodable, subscriber)
        for found in tuple(self._cache.undecodable.values()):
            self._subscribers.call(subscriber, found)
        return stop

    def subscribe_restores(self, subscriber: Callable[[], None]) -> Callable[[], None]:
        """Call `subscriber` each time the server's versions have gone back, once the store is equal to the server's;
        returns how to stop.

        Versions from before, such as that of an own write, are void then.
        """
        return self._subscribers.join(self._subscribers.of_restores, subscriber)

    def forget(self, key: str) -> None:
        """Drop an object from the store that no reader has use for any more; nobody is told. An event or a list brings
        it back.
        """
        self.store.forget(key)

    def relist(self, then: Callable[[], None]) -> None:
        """List everything again soon, regardless of versions; an open watch is given up. `then` is called once the
        store has a list that was requested after this call.

        For a controller that knows of a restore from the informer of another kind. Raises Invalid if `then` is a
        coroutine function.
        """
        refuse_coroutines(then, f"what follows a list of {self.resource.plural}")
        self._cache.after_list(self._reflector.relist(), then)

    async def changes(self) -> AsyncGenerator[Change[T], None]:
        """Yield changes one after the other, beginning with the objects in the store.

        If an object changes faster than they are read, only its latest. Ends when the informer does.
        """
        waiting: dict[str, Change[T]] = {}
        arrived = asyncio.Event()

        def note(change: Change[T]) -> None:
            earlier = waiting.get(change.key)
            old = change.old if earlier is None else earlier.old
            if old is None and change.new is None:
                del waiting[change.key]  # created and deleted before it was read
            else:
                waiting[change.key] = Change(change.key, old, change.new)  # in its old position, so that its turn comes
                arrived.set()

        stop = self.subscribe(note)
        self._readers.add(arrived)
        try:
            while waiting or not self._subscribers.ended:
                await arrived.wait()
                arrived.clear()
                while waiting:
                    yield waiting.pop(next(iter(waiting)))
        finally:
            self._readers.discard(arrived)
            stop()

    def has_synced(self) -> bool:
        """Whether the first list is in the store."""
        return self._cache.is_filled

    async def wait_for_sync(self, deadline: float) -> None:
        """Wait until the first list is in the store; raises Unavailable after `deadline` seconds."""
        try:
            async with asyncio.timeout(deadline):
                await self._cache.wait_until(self.has_synced)
        except TimeoutError as error:
            raise Unavailable(f"{self.resource.plural} could not be listed within {deadline:g} s") from error

    def has_reached(self, version: str) -> bool:
        """Whether the store has followed up to a version; of versions that are not numbers, whether it is at it."""
        return self._cache.has_reached(version)

    async def wait_for_version(self, resource_version: str, deadline: float) -> None:
        """Wait until the store has followed up to a version, such as that of an own write; raises Unavailable.

        Returns as well once the server was restored from an older copy meanwhile: the version may never come.
        """
        restores = self.restores
        try:
            async with asyncio.timeout(deadline):
                await self._cache.wait_until(lambda: self.has_reached(resource_version) or restores != self.restores)
        except TimeoutError as error:
            raise Unavailable(
                f"the cache of {self.resource.plural} has not reached version {resource_version} within {deadline:g} s"
            ) from error

    async def __aenter__(self) -> Self:
        """Raises Invalid unless it is the first time."""
        if self._task is not None:
            state = "has ended" if self._subscribers.ended else "runs already"
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

    def _end(self, task: asyncio.Task[None]) -> None:
        """The reflector has ended: wake all readers and waiters."""
        self._subscribers.ended = True
        self._cache.end()
        for arrived in self._readers:
            arrived.set()
