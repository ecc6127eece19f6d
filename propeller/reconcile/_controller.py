"""Controller: workers that take keys from a queue, and reconcile each.

Guarantees
    No key is reconciled before `synced` says that the caches are filled: otherwise an object that is not listed yet
    would look deleted.
    One reconcile at a time for a key; up to `workers` at once. A failure concerns its own key alone: the key waits for
    its backoff (or the server's Retry-After) and is reconciled again.
    A reconcile that returns without awaiting costs no task switch; after `_MAX_TURN` seconds of such reconciles in one
    turn of the loop, of all workers together, the rest of the loop runs.
    Stopping: when `run` is cancelled no further key is taken, running reconciles get `grace` seconds to end, then they
    are cancelled; `run` returns only when all have ended.
Assumptions
    Reconciles are level-triggered: they read the present state, so that the next process's first list makes up for one
    that a stop or crash left out. A reconcile that swallows cancellation is a defect; `liveness` reports it.
Caveats
    `round_deadline` cannot interrupt a reconcile that blocks the loop; the watchdog names it, and a probe that is
    served on this loop fails.
Errors
    `run` raises Unavailable if the caches are not filled within `sync_deadline`: the process should end.
    Exceptions of a reconcile do not leave `run`: each is logged once per cause, as `telemetry.Causes` says, and counted
    in `on_reconcile`.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import msgspec

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.errors import Invalid, Retryable, Unavailable
from propeller.reconcile._options import QueueOptions
from propeller.reconcile._queue import Closed, WorkQueue
from propeller.telemetry import Causes

K = TypeVar("K", bound=Hashable)

_MIN_SYNC_POLL = 0.01
_MAX_SYNC_POLL = 0.25
"""Seconds between two checks of whether the caches are filled."""

_MAX_TURN = 0.005  # seconds; the longest time that reconciles may hold the event loop

log = logging.getLogger(__name__)


class Result(msgspec.Struct, frozen=True):
    """The result of a reconcile: requeue the key after `requeue_after` seconds, or only with the next change."""

    requeue_after: float | None = None


class Outcome(enum.StrEnum):
    """How a reconcile ended."""

    OK = "ok"
    RETRY = "retry"  # Retryable: expected now and then
    ERROR = "error"  # any other exception
    DEADLINE = "deadline"


class Controller(Generic[K]):
    """Runs `reconcile` for the keys of `queue`.

    `reconcile` may be a plain function or a coroutine function; None is short for `Result()`. `synced` says whether the
    caches it reads are filled: workers start when it is true. `on_reconcile` is called with the outcome and seconds of
    each reconcile.
    """

    def __init__(
        self,
        queue: WorkQueue[K],
        reconcile: Callable[[K], Awaitable[Result | None] | Result | None],
        settings: QueueOptions | None = None,
        *,
        name: str = "controller",
        synced: Callable[[], bool] = lambda: True,
        on_reconcile: Callable[[Outcome, float], None] = lambda outcome, seconds: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        for function, what in ((synced, "synced"), (on_reconcile, "on_reconcile")):
            if inspect.iscoroutinefunction(function):
                raise Invalid(f"{what} of controller {name} cannot be `async def`: give has_synced, not synced")
        self.queue = queue
        self.name = name
        self._reconcile = reconcile
        self._settings = settings or QueueOptions()
        self._synced = synced
        self._on_reconcile = on_reconcile
        self._clock = clock
        self._causes = Causes(log)
        self._running: dict[K, float] = {}
        self._turn_began: float | None = None
        """When the first reconcile in this turn of the loop began."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        """Workers that wait for another turn."""

    async def run(self) -> None:
        """Wait for the caches, and work until cancelled, or until the queue is closed and its last key done.

        Raises Unavailable if the caches are not filled in time.
        """
        try:
            await self._wait_for_caches()
        except BaseException:
            self.queue.close()
            raise
        workers = [
            asyncio.create_task(self._work(), name=f"{self.name} worker {number}")
            for number in range(self._settings.workers)
        ]
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self.queue.close()
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)
            try:
                await asyncio.wait(workers, timeout=self._settings.grace)
            finally:
                for worker in workers:
                    worker.cancel()
                ends = await asyncio.gather(*workers, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def liveness(self) -> str | None:
        """Why the process should be restarted; None while all is well."""
        limit = self._settings.round_deadline + self._settings.grace
        now = self._clock.monotonic()
        for key, since in self._running.items():
            if now - since > limit:
                return (
                    f"{self.name}: reconciling {key!r} has not ended for {now - since:.0f} s, and ignores cancellation"
                )
        return None

    def readiness(self) -> str | None:
        """Why the process does no work yet; None when it does."""
        return None if self._synced() else f"{self.name}: caches are not synced yet"

    async def _wait_for_caches(self) -> None:
        """Wait until the caches are filled, by polling, as there may be any number of them."""
        pause, end = _MIN_SYNC_POLL, self._clock.monotonic() + self._settings.sync_deadline
        while not self._synced():
            if self._clock.monotonic() >= end:
                raise Unavailable(
                    f"{self.name}: the caches were not filled within {self._settings.sync_deadline:g} s; the log says "
                    "why their lists fail"
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_SYNC_POLL)

    async def _work(self) -> None:
        """One worker: reconcile key after key, until the queue is closed."""
        while True:
            if self._turn_is_over():
                await self._next_turn()
                continue
            try:
                key = self.queue.try_get()
                if key is None:
                    key = await self.queue.get()
            except Closed:
                self._wake_next()
                return
            began = self._clock.monotonic()
            if self._turn_began is None:
                self._turn_began = began
                asyncio.get_running_loop().call_soon(self._end_turn)
            self._running[key] = began
            try:
                outcome = await self._reconcile_key(key)
            finally:
                del self._running[key]
                self.queue.done(key)
            self._on_reconcile(outcome, self._clock.monotonic() - began)

    def _turn_is_over(self) -> bool:
        return self._turn_began is not None and self._clock.monotonic() - self._turn_began > _MAX_TURN

    async def _next_turn(self) -> None:
        """Wait until the loop has had its turn, and those workers that waited before.

        One worker is woken per turn: if reconciles do not suspend it does the work of all, and dozens that look at the
        clock in every turn would cost more than the reconciles.
        """
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake_next()  # it was this worker's turn
            raise

    def _end_turn(self) -> None:
        self._turn_began = None
        self._wake_next()

    def _wake_next(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _reconcile_key(self, key: K) -> Outcome:
        """Reconcile `key`, and requeue it if needed."""
        deadline: asyncio.Timeout | None = None
        try:
            result = self._reconcile(key)
            if not isinstance(result, Result | None) and inspect.isawaitable(result):
                async with asyncio.timeout(self._settings.round_deadline) as deadline:
                    result = await result
        except Retryable as error:
            delay = self.queue.add_rate_limited(key, after=error.after)
            self._causes.report(error, "reconciling %r of %s: trying again in %.1f s", key, self.name, delay)
            return Outcome.RETRY
        except (Exception, asyncio.CancelledError) as error:  # after any exception the other keys keep their worker
            if isinstance(error, asyncio.CancelledError) and _cancelling():
                raise
            delay = self.queue.add_rate_limited(key)
            late = isinstance(error, TimeoutError) and deadline is not None and deadline.expired()
            outcome = Outcome.DEADLINE if late else Outcome.ERROR
            self._causes.report(error, "reconciling %r of %s failed: trying again in %.1f s", key, self.name, delay)
            return outcome
        self.queue.forget(key)
        if result is not None and result.requeue_after is not None:
            self.queue.add_after(key, result.requeue_after)
        return Outcome.OK


def _cancelling() -> bool:
    """Whether this task itself is being cancelled, rather than something that it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
