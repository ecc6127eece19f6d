"""Work queue: keys wait to be reconciled, once each, in fair order between tenants, now or at a later time.

A key waits, is delayed until a time, or neither; and it is with at most one worker. A key that is added while a worker
has it waits again when the worker is done with it.

Guarantees
    However often a key is added, it waits once; of several delays the earliest time wins. A key that is added while it
    is being reconciled is reconciled again afterwards. So no change goes unseen.
    Between tenants the order is weighted and fair, within a tenant by priority (see `resourcemgr.FairQueue`).
    All delays share one timer of the loop.
Assumptions
    Used from the loop's thread. Delays are in the loop's time, which may be virtual.
Caveats
    Bound: with a `limit`, adding a *new* key is refused with Throttled once that many wait or are delayed, and nothing
    has changed then; `put` waits for room instead. A key that the queue knows already is never refused, nor is one that
    its own reconcile adds again, so the queue may exceed the limit by the number of workers. A controller whose keys
    come from an informer needs no limit: coalescing bounds the queue by the objects that exist, and an event must not
    be refused. A limit is for producers that can wait.
    After `close`, additions have no effect: no worker is left, and the next process lists everything again.
Errors
    Closed from `get`, `try_get` and `put` once the queue has ended; Throttled as above.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from propeller.errors import PropellerError, Throttled
from propeller.reconcile._delays import Delays
from propeller.reconcile._options import QueueOptions
from propeller.resourcemgr import FairQueue

K = TypeVar("K", bound=Hashable)


class Closed(PropellerError):
    """The queue has ended: stop working."""


class WorkQueue(Generic[K]):
    """Keys to reconcile. `tenant` names the tenant of a key, `weight` a tenant's share (1.0 if None).

    `limit` bounds the keys that wait or are delayed; `rng` draws the jitter of the backoff.

    More than 15 methods: it is all of client-go's queues (order, delay, backoff, bound), and metrics read it.
    """

    def __init__(
        self,
        settings: QueueOptions | None = None,
        *,
        tenant: Callable[[K], Hashable] | None = None,
        weight: Callable[[Hashable], float] | None = None,
        limit: int | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._settings = settings or QueueOptions()
        self._tenant = tenant
        self._limit = limit
        self._rng = rng or random.Random(random.getrandbits(64))  # a seed of the module is a seed of ours
        self._waiting: FairQueue[K] = FairQueue(weight=weight)
        self._active: dict[K, int | None] = {}  # keys with a worker; the priority to wait at again, if they have to
        self._delayed: Delays[K] = Delays(self._ready)
        self._failures: dict[K, int] = {}
        self._takers: deque[asyncio.Future[None]] = deque()
        self._waking = False
        """Whether a woken worker has not run yet. Only that worker wakes the next, so that a worker whose reconciles
        never suspend drains the queue without waking the others, which would cost more than the reconciles.
        """
        self._putters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        """Keys that wait or are delayed; not those with a worker."""
        return len(self._waiting) + len(self._delayed)

    def depths(self) -> dict[Hashable, int]:
        """How many keys wait now, by tenant."""
        return self._waiting.depths()

    def waiting(self) -> Iterator[K]:
        """Keys that wait now, tenant by tenant."""
        return iter(self._waiting)

    def delayed(self) -> dict[K, float]:
        """Keys that wait for a time, and that time (loop time, seconds)."""
        return self._delayed.due()

    def active(self) -> list[K]:
        """Keys that workers have."""
        return list(self._active)

    def failures(self, key: K) -> int:
        """How often `key` has failed since its last success."""
        return self._failures.get(key, 0)

    def add(self, key: K, priority: int = 0) -> None:
        """Reconcile `key` now; ends a delay of it. Raises Throttled for a new key over the limit."""
        if key in self._active:
            again = self._active[key]
            self._active[key] = priority if again is None else max(again, priority)
        elif self._admits(key):
            self._enqueue(key, priority)

    def add_after(self, key: K, seconds: float, priority: int = 0) -> None:
        """Reconcile `key` in `seconds`, or earlier if it is due earlier already. Raises as `add` does."""
        if seconds <= 0:
            self.add(key, priority)
        elif key not in self._waiting and (key in self._active or self._admits(key)) and not self._closed:
            self._delayed.add(key, seconds, priority)

    def add_rate_limited(self, key: K, *, after: float | None = None, priority: int = 0) -> float:
        """Reconcile `key` again, which failed, after its backoff, which is returned (seconds).

        `after`, the server's Retry-After, takes the place of the backoff and does not grow it; it is stretched by up to
        a tenth, so that not all clients come back at once.
        """
        if after is not None:
            delay = after * self._rng.uniform(1.0, 1.1)
        else:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            delay = backoff(self._settings, failures, self._rng.uniform)
        self.add_after(key, delay, priority)
        return delay

    def forget(self, key: K) -> None:
        """Reset the backoff of `key`, which succeeded."""
        self._failures.pop(key, None)

    async def put(self, key: K, priority: int = 0) -> None:
        """As `add`, but waits for room if the queue is full. Raises Closed once the queue has ended."""
        while self._lacks_room(key):
            await self._wait_in(self._putters, lambda: not self._lacks_room(key))
        if self._closed:
            raise Closed("the work queue is closed")
        self.add(key, priority)

    def try_get(self) -> K | None:
        """Take the next key without waiting: None if there is none now. Each key taken needs a `done`."""
        if not self._waiting:
            if self._closed:
                raise Closed("the work queue is closed")
            return None
        key = self._waiting.pop()
        self._active[key] = None
        if self._putters:
            _wake(self._putters)
        return key

    async def get(self) -> K:
        """Take the next key, waiting for one. Each key taken needs a `done`. Raises Closed once the queue has ended."""
        while (key := self.try_get()) is None:
            try:
                await self._wait_in(self._takers, lambda: bool(self._waiting))
            finally:
                self._waking = False
        if self._waiting and self._takers:
            self._wake_taker()
        return key

    def done(self, key: K) -> None:
        """Give `key` back; it waits again if it was added in between. ValueError if no worker has it."""
        try:
            again = self._active.pop(key)
        except KeyError:
            raise ValueError(f"{key!r} is with no worker") from None
        if again is not None:
            self._enqueue(key, again)

    def close(self, *, finish: bool = False) -> None:
        """End the queue: nothing can be added, delays are dropped, and waiting keys too unless `finish` is set.

        With `finish`, `get` hands out the keys that wait (and raises Closed after the last); otherwise it raises now.
        """
        self._closed = True
        self._delayed.clear()
        if not finish:
            for key in list(self._waiting):
                self._waiting.remove(key)
        for future in (*self._takers, *self._putters):
            if not future.done():
                future.set_result(None)

    def _admits(self, key: K) -> bool:
        """Whether to take `key` in: not after `close`; raises Throttled if it is new and there is no room."""
        if self._closed:
            return False
        if self._lacks_room(key):
            raise Throttled(f"{len(self)} keys wait already, no room for {key!r}")
        return True

    def _lacks_room(self, key: K) -> bool:
        if self._limit is None or len(self) < self._limit or self._closed:
            return False
        return not (key in self._waiting or key in self._delayed or key in self._active)

    def _enqueue(self, key: K, priority: int) -> None:
        if self._closed:
            return
        if self._delayed:
            priority = max(priority, self._delayed.discard(key, priority))
        self._waiting.add(key, "" if self._tenant is None else self._tenant(key), priority)
        if self._takers and not self._waking:
            self._wake_taker()

    def _wake_taker(self) -> None:
        self._waking = _wake(self._takers)

    def _ready(self, key: K, priority: int) -> None:
        """The time of a delayed key has come."""
        if key in self._active:
            self.add(key, priority)
        else:
            self._enqueue(key, priority)

    async def _wait_in(self, line: deque[asyncio.Future[None]], worthwhile: Callable[[], bool]) -> None:
        """Wait in `line` to be woken; a wake-up that a cancelled waiter cannot use goes to the next one."""
        future = asyncio.get_running_loop().create_future()
        line.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and worthwhile():
                _wake(line)
            raise
        finally:
            if future in line:
                line.remove(future)


def _wake(line: deque[asyncio.Future[None]]) -> bool:
    """Wake the first waiter in `line`; False if there is none."""
    while line:
        future = line.popleft()
        if not future.done():
            future.set_result(None)
            return True
    return False


def backoff(settings: QueueOptions, failures: int, uniform: Callable[[float, float], float]) -> float:
    """Seconds before the next try after `failures` failures before this one: doubles up to the cap, half is jitter."""
    return min(settings.backoff * 2.0 ** min(failures, 64), settings.backoff_cap) * uniform(0.5, 1.0)
