"""An informer of some shards of a kind, which may be opened and closed at any time: one list and one watch of each.

Guarantees
    Readers see one store, and changes of all open shards, as of one `Informer`. An object that moves from one open
    shard to another is in the store, whichever of the two watches says so first.
    A shard that is opened costs the others nothing: only its own objects are listed.
    A shard that is closed leaves without a change: its objects go on to live, and are others' to follow.
Caveats
    If an object leaves an open shard for one that is not open here, that looks like its deletion.
Errors
    `open` raises Unavailable if the shard cannot be listed in time; it is closed then.
"""

from __future__ import annotations

import asyncio
import functools
from collections import ChainMap
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Generic, Self, TypeVar

from propeller.informers._callbacks import refuse_coroutines
from propeller.informers._informer import Informer
from propeller.informers._selection import Selection
from propeller.informers._store import Change, IndexFunction, Store, key_of
from propeller.informers._subscribers import Subscriber, Subscribers
from propeller.kube import Resource, Undecodable

T = TypeVar("T")


class ShardedInformer(Generic[T]):
    """Follows the open shards of `resource`; use as `async with`. `part` makes the informer of one selection.

    More than 15 methods: it has those of an Informer that controllers read.
    """

    def __init__(
        self,
        resource: Resource[T],
        part: Callable[[Selection], Informer[T]],
        selection: Callable[[int], Selection],
        *,
        indexes: Mapping[str, IndexFunction[T]] | None = None,
    ) -> None:
        self.resource = resource
        self.store: Store[T] = Store(indexes)
        self._part = part
        self._selection = selection
        self._parts: dict[int, Informer[T]] = {}
        self._shard_of: dict[str, int] = {}
        """By key, the shard in which an object was seen last."""
        self._subscribers: Subscribers[T] = Subscribers(resource.plural)
        self._relists: list[tuple[set[int], Callable[[], None]]] = []
        """Shards that have not been listed again, and what is called once all have."""
        self._closed = {"failures": 0, "lists": 0, "watches": 0, "restores": 0}
        """Counts of shards that were closed."""

    @property
    def shards(self) -> frozenset[int]:
        """Those that are open."""
        return frozenset(self._parts)

    def shard_of(self, key: str) -> int | None:
        """The open shard that has the object of that key; None if none has."""
        return self._shard_of.get(key)

    def keys_of(self, shard: int) -> list[str]:
        """The keys of a shard's objects."""
        return [key for key, found in self._shard_of.items() if found == shard]

    async def open(self, shard: int, deadline: float) -> None:
        """Follow a shard; returns once its objects are in the store. If they cannot be listed, it is closed again."""
        try:
            await (await self.begin(shard)).wait_for_sync(deadline)
        except BaseException:
            await self.close(shard)
            raise

    async def begin(self, shard: int) -> Informer[T]:
        """Follow a shard, and return its informer: its objects come as soon as they can be listed."""
        part = self._part(self._selection(shard))
        self._parts[shard] = part
        await part.__aenter__()
        part.subscribe_undecodable(self._subscribers.publish_undecodable)
        part.subscribe_restores(self._subscribers.publish_restore)
        part.subscribe(functools.partial(self._changed, shard))
        return part

    async def close(self, shard: int) -> None:
        """Follow a shard no more, and drop its objects. One that is not open is closed already."""
        if (part := self._parts.pop(shard, None)) is None:
            return
        await part.__aexit__(None, None, None)
        for name in self._closed:
            self._closed[name] += getattr(part, name)
        for key in self.keys_of(shard):
            del self._shard_of[key]
            if (obj := self.store.get(key)) is not None:
                self.store.delete(obj)
        for waiting, then in tuple(self._relists):
            self._listed(shard, waiting, then)

    # as an Informer

    @property
    def restores(self) -> int:
        return self._sum("restores")

    @property
    def failures(self) -> int:
        return self._sum("failures")

    @property
    def lists(self) -> int:
        return self._sum("lists")

    @property
    def watches(self) -> int:
        return self._sum("watches")

    @property
    def objects(self) -> int:
        return len(self.store)

    @property
    def undecodable(self) -> Mapping[str, Undecodable[T]]:
        return ChainMap(*(dict(part.undecodable) for part in self._parts.values()))

    def subscribe(self, subscriber: Subscriber[T]) -> Callable[[], None]:
        """Call `subscriber` with every change of open shards, beginning with the objects in the store."""
        stop = self._subscribers.join(self._subscribers.of_changes, subscriber)
        for obj in self.store:
            self._subscribers.call(subscriber, Change(key_of(obj), None, obj))
        return stop

    def subscribe_undecodable(self, subscriber: Callable[[Undecodable[T]], None]) -> Callable[[], None]:
        stop = self._subscribers.join(self._subscribers.of_undecodable, subscriber)
        for found in self.undecodable.values():
            self._subscribers.call(subscriber, found)
        return stop

    def subscribe_restores(self, subscriber: Callable[[], None]) -> Callable[[], None]:
        return self._subscribers.join(self._subscribers.of_restores, subscriber)

    def forget(self, key: str) -> None:
        if (shard := self._shard_of.pop(key, None)) is not None:
            self._parts[shard].forget(key)
        self.store.forget(key)

    def relist(self, then: Callable[[], None]) -> None:
        """List all open shards again; `then` is called once all have been listed, or closed."""
        refuse_coroutines(then, f"what follows a list of {self.resource.plural}")
        waiting = set(self._parts)
        if not waiting:
            asyncio.get_running_loop().call_soon(then)
            return
        self._relists.append((waiting, then))
        for shard, part in self._parts.items():
            part.relist(functools.partial(self._listed, shard, waiting, then))

    def has_synced(self) -> bool:
        """Whether the first lists of all open shards are in the store."""
        return all(part.has_synced() for part in self._parts.values())

    async def wait_for_sync(self, deadline: float) -> None:
        """Wait until they are; raises Unavailable after `deadline` seconds."""
        for part in tuple(self._parts.values()):
            await part.wait_for_sync(deadline)

    def has_reached(self, version: str) -> bool:
        """Whether all open shards have followed up to a version."""
        return all(part.has_reached(version) for part in self._parts.values())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._subscribers.ended = True
        for shard in tuple(self._parts):
            await self.close(shard)

    # within

    def _changed(self, shard: int, change: Change[T]) -> None:
        """Take a change of one shard over into the common store."""
        key, new = change.key, change.new
        if new is not None:
            self._shard_of[key] = shard
            self.store.overwrite(new)
        elif self._shard_of.get(key) == shard:
            del self._shard_of[key]
            if (known := self.store.get(key)) is not None:
                self.store.delete(known)
        else:
            return  # it is in another shard by now
        self._subscribers.publish(change)

    def _listed(self, shard: int, waiting: set[int], then: Callable[[], None]) -> None:
        if shard not in waiting:
            return
        waiting.discard(shard)
        if not waiting:
            self._relists.remove((waiting, then))
            then()

    def _sum(self, name: str) -> int:
        counts: list[int] = [getattr(part, name) for part in self._parts.values()]
        return self._closed[name] + sum(counts)


AnyInformer = Informer[T] | ShardedInformer[T]
"""What readers of a cache need not tell apart."""
