"""Look at many jobs in turn: one heap of times, looks in batches, spread by jitter, a bounded number at once a service.

Guarantees
    A job's own age decides how often it is looked at: `poll_share` of it, between `poll_shortest` and `poll_longest`. A
    look that fails is followed by ever longer pauses.
    A job is looked at by one call at a time. Those that are due within `SLOT` seconds are begun together, so that a
    thousand jobs wake the loop ten times a second and not a thousand times.
    A service that hangs holds `polls_at_once` calls, and delays the jobs of no other.
    A job that is no longer followed is not looked at; a call for it that is under way has no effect.
Errors
    `look` raises nothing that ends the poller: what it raises is logged, and counts as a failure.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from propeller.clock import Clock
from propeller.connectors._options import ConnectorOptions
from propeller.telemetry import Causes

_log = logging.getLogger(__name__)

SLOT = 0.1
"""Seconds."""

Job = TypeVar("Job", bound=Hashable)


class _Followed:
    """One job: when it is due, since when it runs, and how often looks have failed in a row."""

    __slots__ = ("due", "failures", "looking", "since")

    def __init__(self, since: float, due: float) -> None:
        self.since = since
        self.due = due
        self.failures = 0
        self.looking = False


class _Room(Generic[Job]):
    """The calls to one service: how many there are, and the jobs that wait for their turn."""

    __slots__ = ("calls", "waiting")

    def __init__(self) -> None:
        self.calls = 0
        self.waiting: deque[tuple[Job, _Followed]] = deque()


class Poller(Generic[Job]):
    """`look` looks at a job once, and returns whether that was answered; `service` is whose job it is. See the module's
    text.
    """

    def __init__(
        self,
        options: ConnectorOptions,
        look: Callable[[Job], Awaitable[bool]],
        service: Callable[[Job], Hashable],
        clock: Clock,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._options = options
        self._look = look
        self._service = service
        self._clock = clock
        self._uniform = uniform
        self._jobs: dict[Job, _Followed] = {}
        self._heap: list[tuple[float, int, Job]] = []
        self._count = 0
        self._rooms: dict[Hashable, _Room[Job]] = {}
        """Of services that are being called."""
        self._wake = asyncio.Event()
        self._causes = Causes(_log)

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job: object) -> bool:
        return job in self._jobs

    def follow(self, job: Job, age: float = 0.0) -> None:
        """Look at a job from now on, first within `poll_shortest` seconds. `age` is the seconds since it began. One
        that is followed already is looked at soon.
        """
        now = self._clock.monotonic()
        first = self._options.poll_shortest * self._uniform(0.0, 1.0)
        if (found := self._jobs.get(job)) is None:
            found = self._jobs[job] = _Followed(now - max(0.0, age), now + first)
            self._put(job, found)
        elif not found.looking and found.due > now + first:
            found.due = now + first
            self._put(job, found)

    def forget(self, job: Job) -> None:
        """Look at a job no more."""
        self._jobs.pop(job, None)

    def forget_if(self, drops: Callable[[Job], bool]) -> None:
        """Look no more at the jobs of which that holds: O(jobs)."""
        for job in [job for job in self._jobs if drops(job)]:
            del self._jobs[job]

    async def run(self) -> None:
        """Look at jobs until this is cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                now = self._clock.monotonic()
                while self._heap and self._heap[0][0] <= now:
                    due, _, job = heapq.heappop(self._heap)
                    followed = self._jobs.get(job)
                    if followed is not None and not followed.looking and followed.due == due:
                        self._begin(job, followed, group)
                await self._sleep()

    def _begin(self, job: Job, followed: _Followed, group: asyncio.TaskGroup) -> None:
        """Look at a job, once its service has room."""
        followed.looking = True
        room = self._rooms.setdefault(self._service(job), _Room())
        if room.calls >= self._options.polls_at_once:
            room.waiting.append((job, followed))
        else:
            room.calls += 1
            group.create_task(self._look_at(job, followed, room))

    async def _sleep(self) -> None:
        """Wait for the next job that is due, at least a slot."""
        await asyncio.sleep(SLOT)
        if self._heap and self._heap[0][0] <= self._clock.monotonic() + SLOT:
            return
        self._wake.clear()
        left = self._heap[0][0] - self._clock.monotonic() if self._heap else None
        try:
            async with asyncio.timeout(left):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _look_at(self, job: Job, followed: _Followed, room: _Room[Job]) -> None:
        """Look at a job, then at those of its service that have waited for this call to end."""
        try:
            await self._one(job, followed)
            while room.waiting:
                await self._one(*room.waiting.popleft())
        finally:
            room.calls -= 1

    async def _one(self, job: Job, followed: _Followed) -> None:
        answered = False
        try:
            if self._jobs.get(job) is followed:
                answered = await self._look(job)
        except Exception as error:  # noqa: BLE001 - a defect must not end the looks at all other jobs
            self._causes.report(error, "a look at a job failed")
        finally:
            followed.looking = False
        followed.failures = 0 if answered else followed.failures + 1
        if self._jobs.get(job) is followed:
            followed.due = self._clock.monotonic() + self._pause(followed)
            self._put(job, followed)

    def _pause(self, followed: _Followed) -> float:
        options, age = self._options, self._clock.monotonic() - followed.since
        failed = options.poll_shortest * 2 ** min(followed.failures, 20) if followed.failures else 0.0
        pause = max(options.poll_shortest, age * options.poll_share, failed)
        return min(pause, options.poll_longest) * self._uniform(0.75, 1.25)

    def _put(self, job: Job, followed: _Followed) -> None:
        self._count += 1
        is_first = not self._heap or followed.due < self._heap[0][0]
        heapq.heappush(self._heap, (followed.due, self._count, job))
        if is_first:
            self._wake.set()
