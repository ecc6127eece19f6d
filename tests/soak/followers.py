"""An informer under test with its subscribers, and the eyes that are always on it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

from propeller.errors import Unavailable
from propeller.informers import Informer, InformerOptions, as_number
from propeller.kube import Client, Request, Response, Stream, Transport
from tests.soak.fences import Fence
from tests.soak.fold import Fold, identity
from tests.soak.plan import PROGRESS_DEADLINE
from tests.soak.scopes import Scope
from tests.soak.truth import differences, objects_of, versions_of, wrong_indexes
from tests.soak.writers import ANCHORS

_FENCE_DEADLINE = 2.0  # seconds
_MAX_DELAY = 0.1  # seconds that a slow reader takes for a change, at most


class CountingTransport:
    """What an informer asks of the server: `lists` are those it began, by pages and as streams; then it watches."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.lists = 0
        self.watches = 0

    async def send(self, request: Request, *, deadline: float) -> Response:
        self.lists += "continue" not in request.query
        return await self._inner.send(request, deadline=deadline)

    def stream(self, request: Request, *, deadline: float) -> AbstractAsyncContextManager[Stream]:
        if "sendInitialEvents" in request.query:
            self.lists += 1
        else:
            self.watches += 1
        return self._inner.stream(request, deadline=deadline)

    async def close(self) -> None:
        await self._inner.close()


class Follower:
    """`broken` is called with each promise that did not hold; `anchors` are the keys that are always there."""

    def __init__(self, client: Client, scope: Scope, anchors: set[str], broken: Callable[[str], None]) -> None:
        self.scope = scope
        self._tell = broken
        self._anchors = anchors
        self._version = 0
        self._values: set[str] = set()
        self.transport = CountingTransport(client.transport)
        self.informer: Informer[Any] = Informer(
            Client(self.transport, client.settings),
            scope.resource,
            namespace=scope.namespace,
            label_selector=scope.label_selector,
            field_selector=scope.field_selector,
            indexes=scope.indexes,
            transform=scope.transform,
            settings=_settings(scope),
        )
        self._folds = {"all changes": self._fold()}
        self._late: Callable[[], None] | None = None
        fold = self._folds["all changes"]

        def note(change: Any) -> None:
            fold.take(change)
            for obj in (change.old, change.new):
                if obj is not None:
                    self._values.update(value for function in scope.indexes.values() for value in function(obj))
            self.look()

        self.informer.subscribe(note)

    @property
    def told(self) -> int:
        """Changes that its first subscriber was told."""
        return self._folds["all changes"].told

    def look(self) -> None:
        """See whether the store is as it must be at every moment."""
        if not self.informer.has_synced():
            return
        if lost := [key for key in self._anchors if key not in self.informer.store]:
            self._broken(f"{sorted(lost)} left the store, which holds {len(self.informer.store)}, and are there")
        version = as_number(self.informer.version)
        if version < self._version:
            self._broken(f"its version went back from {self._version} to {version}")
        self._version = version

    def subscribe_late(self) -> None:
        """One more subscriber, in the midst of it; for the next quiet point alone."""
        fold = self._folds["a late subscriber"] = self._fold()
        self._late = self.informer.subscribe(fold.take)

    def unsubscribe(self) -> None:
        """The late one has seen enough."""
        if self._late is not None:
            self._late()
            del self._folds["a late subscriber"]
            self._late = None

    def has_settled(self, expected: dict[str, Any]) -> bool:
        """Whether store and readers have come to the list."""
        versions = versions_of(expected)
        return versions_of(objects_of(self.informer)) == versions and all(
            versions_of(fold.objects) == versions for fold in self._folds.values()
        )

    def check(self, expected: dict[str, Any]) -> None:
        """Say how store, indexes, fence and readers are not what the list says."""
        found = objects_of(self.informer)
        for line in differences(found, expected):
            self._broken(f"the store is not the list: {line}")
        for line in wrong_indexes(self.informer, self.scope, expected, self._values):
            self._broken(line)
        for name, fold in self._folds.items():
            for line in differences(fold.objects, expected):
                self._broken(f"{name}, folded, are not the list: {line}")
        newest = max((version for _, version in versions_of(found).values()), default=0)
        if as_number(self.informer.version) < newest:
            self._broken(f"its version is {self.informer.version}, and it holds an object of {newest}")
        if self.informer.undecodable:
            self._broken(f"it could not decode {sorted(self.informer.undecodable)}, which are well")

    async def check_fence(self, fence: Fence) -> bool:
        """Wait until a version is reached, and see what is in the store then. Returns whether it was reached."""
        if fence.plural != self.scope.resource.plural or fence.kept not in self._anchors:
            return False
        try:
            await self.informer.wait_for_version(fence.version, _FENCE_DEADLINE)
        except Unavailable:
            return False  # it is cut off: who waits for a fence is told so
        kept, gone = (self.informer.store.get(key) for key in (fence.kept, fence.gone))
        if kept is None or identity(kept)[1] < int(fence.version):
            self._broken(f"version {fence.version} is reached, and {fence.kept} is {kept and identity(kept)}")
        if gone is not None:
            self._broken(
                f"version {fence.version} is reached, and {fence.gone}, deleted before it, is {identity(gone)}"
            )
        return True

    async def read_slowly(self, rng: random.Random) -> None:
        """Follow `changes()`, and take one's time over each."""
        fold = self._folds["the changes of a slow reader"] = self._fold(coalesced=True)
        async with aclosing(self.informer.changes()) as changes:
            async for change in changes:
                fold.take(change)
                await asyncio.sleep(rng.choice((0.0, 0.0, rng.uniform(0.0, _MAX_DELAY))))

    def _fold(self, *, coalesced: bool = False) -> Fold:
        return Fold(self._broken, selects=self.scope.selects, coalesced=coalesced)

    def _broken(self, what: str) -> None:
        self._tell(f"{self.scope.name}: {what}")


@asynccontextmanager
async def following(follower: Follower, rng: random.Random) -> AsyncIterator[Follower]:
    """Its informer runs, and its slow reader, until the block is left."""
    async with follower.informer:
        reading = asyncio.create_task(follower.read_slowly(rng)) if follower.scope.slow else None
        try:
            yield follower
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.wait([reading])
                if not reading.cancelled():
                    reading.result()


def anchors_in(objects: dict[str, Any]) -> set[str]:
    """The keys of a list that no store may ever lose."""
    return {key for key in objects if key.partition("/")[2] in ANCHORS}


def _settings(scope: Scope) -> InformerOptions:
    """Everything that is minutes in production is seconds here: a soak has hundreds of resumes."""
    return InformerOptions(
        watch_timeout=8.0,
        progress_deadline=PROGRESS_DEADLINE,
        stream_lists=scope.streams,
        backoff=0.05,
        backoff_cap=0.5,
    )
