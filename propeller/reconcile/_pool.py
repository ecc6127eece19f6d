"""A pool of workers for jobs that reconciles submit: bounded, and fair between tenants.

Guarantees
    At most `size` jobs run at once, in the fair order of `resourcemgr.FairGroups`, so that a tenant with 50,000 jobs
    does not hold up one with a single job, nor a group of 50,000 tenants that with one; within a tenant the highest
    priority is first.
    Jobs that never suspend yield the loop after `JOBS_A_TURN` of them.
    A waiting job costs an entry, not a task. Leaving the block cancels running jobs and drops waiting ones.
Assumptions
    Jobs handle their own errors. An exception is a defect: it is logged with its tenant and passed to `on_error`, and
    the pool goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Hashable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Generic, Self, TypeVar

from propeller.reconcile._delays import Delays
from propeller.resourcemgr import FairGroups

T = TypeVar("T", bound=Hashable)

Job = Callable[[], Awaitable[None]]

log = logging.getLogger(__name__)

JOBS_A_TURN = 32
"""Jobs, of all workers, that begin in one turn of the loop: those that do not suspend take 0.05 to 0.3 ms."""


class FairPool(Generic[T]):
    """Runs jobs of tenants; use as `async with`. Workers start with the first jobs, not before. `group` names the group
    of a tenant; all are in one if None.
    """

    def __init__(
        self,
        size: int,
        *,
        group: Callable[[T], Hashable] | None = None,
        on_error: Callable[[T, Exception], None] | None = None,
    ) -> None:
        self._size = size
        self._group_of = group
        self._on_error = on_error
        self._waiting: FairGroups[Job] = FairGroups()
        self._delayed: Delays[Job] = Delays(self._due)
        self._tenants: dict[Job, T] = {}
        self._running = 0
        self._group = asyncio.TaskGroup()
        self._tasks: dict[asyncio.Task[None], T | None] = {}  # in the order of their start, with whose job runs now
        self._dropping: dict[asyncio.Task[None], asyncio.Future[None]] = {}
        """Workers whose job is being cancelled, and who go on with the next; done when the job has ended."""
        self._open = AsyncExitStack()
        self._in_turn = 0
        """Jobs begun in this turn of the loop."""

    def __len__(self) -> int:
        """Jobs that wait or run."""
        return len(self._waiting) + len(self._delayed) + self._running

    def submit(self, tenant: T, job: Job, priority: int = 0) -> None:
        """Run `job` when its turn comes."""
        self._waiting.add(job, "" if self._group_of is None else self._group_of(tenant), tenant, priority)
        self._tenants[job] = tenant
        if self._running < self._size:
            self._running += 1
            task = self._group.create_task(self._work(), name="effects")
            self._tasks[task] = None
            task.add_done_callback(self._tasks.pop)

    def submit_after(self, tenant: T, job: Job, seconds: float, priority: int = 0) -> None:
        """Submit `job` in so many seconds. Until then it occupies no worker."""
        if self._size:
            self._tenants[job] = tenant
            self._delayed.add(job, seconds, priority)

    async def drop(self, tenants: Collection[T]) -> None:
        """Drop the jobs of tenants: those that wait never run, those that run are cancelled, and awaited. Jobs that are
        submitted meanwhile are dropped as well.
        """
        while True:
            for job in [job for job, tenant in self._tenants.items() if tenant in tenants]:
                del self._tenants[job]
                self._delayed.discard(job, 0)
            running = [task for task, tenant in self._tasks.items() if tenant is not None and tenant in tenants]
            if not running:
                return
            for task in running:
                if task not in self._dropping:
                    self._dropping[task] = asyncio.get_running_loop().create_future()
                    task.cancel()
            await asyncio.wait([self._dropping[task] for task in running])

    def _due(self, job: Job, priority: int) -> None:
        if (tenant := self._tenants.get(job)) is not None:
            self.submit(tenant, job, priority)

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self._group)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._size = 0
        self._delayed.clear()
        self._waiting.clear()
        self._tenants.clear()
        for task in tuple(self._tasks):
            task.cancel()
        if isinstance(error, Exception):  # the caller's own, which is not to come out within a group
            kind = error = traceback = None
        await self._open.__aexit__(kind, error, traceback)

    async def _work(self) -> None:
        """Jobs one after the other, until none waits."""
        this = asyncio.current_task()
        assert this is not None
        try:
            while self._waiting:
                if self._in_turn >= JOBS_A_TURN:
                    await asyncio.sleep(0)
                    continue
                if not self._in_turn:
                    asyncio.get_running_loop().call_soon(self._end_turn)
                self._in_turn += 1
                job = self._waiting.pop()
                tenant = self._tenants.pop(job, None)
                if tenant is None:
                    continue  # it was dropped
                self._tasks[this] = tenant
                try:
                    await job()
                except asyncio.CancelledError:
                    if this not in self._dropping or this.cancelling() > 1:
                        raise
                except Exception as error:
                    log.exception("a job of %s raised", tenant)
                    if self._on_error is not None:
                        self._on_error(tenant, error)
                finally:
                    self._tasks[this] = None
                    if (dropped := self._dropping.pop(this, None)) is not None:
                        this.uncancel()
                        dropped.set_result(None)
        finally:
            self._running -= 1

    def _end_turn(self) -> None:
        self._in_turn = 0
