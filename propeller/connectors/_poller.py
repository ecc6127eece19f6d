"""Look at many jobs in turn: one heap of times, looks in batches, spread by jitter, bounded for each service.

Guarantees
    A job's own age decides how often it is looked at: `poll_share` of it, between `poll_shortest` and `poll_longest`. A
    look that fails is followed by ever longer pauses.
    A service gets `polls_per_second` looks a second, and at most a second's more at once. If more jobs are due, their
    tenants take turns, and of one tenant the job goes first that is due for longest. So with n jobs of a service the
    end of one is seen at most a pause and n / `polls_per_second` seconds later, apart from the time of the call.
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
import math
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from propeller.clock import Clock
from propeller.connectors._options import ConnectorOptions
from propeller.resourcemgr import FairQueue
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
    """The looks at jobs of one service: how many are under way, how many may begin by `at`, and the jobs that wait."""

    __slots__ = ("at", "begins", "calls", "waiting")

    def __init__(self, now: float, begins: float) -> None:
        self.at = now
        self.begins = begins
        self.calls = 0
        self.waiting: FairQueue[Job] = FairQueue()


class Poller(Generic[Job]):
    """`look` looks at a job once, and returns whether that was answered; `service` is where it runs, and `tenant` whose
    it is. See the module's text.
    """

    def __init__(
        self,
        options: ConnectorOptions,
        look: Callable[[Job], Awaitable[bool]],
        service: Callable[[Job], Hashable],
        tenant: Callable[[Job], Hashable],
        clock: Clock,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._options = options
        self._look = look
        self._service = service
        self._tenant = tenant
        self._clock = clock
        self._uniform = uniform
        self._jobs: dict[Job, _Followed] = {}
        self._heap: list[tuple[float, int, Job]] = []
        self._count = 0
        self._rooms: dict[Hashable, _Room[Job]] = {}
        self._called: set[Job] = set()
        self._burst = max(1.0, options.polls_per_second)
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
                        self._wait(job, followed, now)
                for room in self._rooms.values():
                    while room.calls < self._options.polls_at_once and (took := self._take(room, now)) is not None:
                        room.calls += 1
                        group.create_task(self._look_in_turn(*took, room))
                await self._sleep()

    def _wait(self, job: Job, followed: _Followed, now: float) -> None:
        """Let a job wait for a look, which its service and its tenant's turn allow."""
        followed.looking = True
        service = self._service(job)
        if (room := self._rooms.get(service)) is None:
            room = self._rooms[service] = _Room(now, self._burst)
        room.waiting.add(job, self._tenant(job))

    def _take(self, room: _Room[Job], now: float) -> tuple[Job, _Followed] | None:
        """Take the job whose turn it is, if a look may begin now."""
        room.begins = min(self._burst, room.begins + (now - room.at) * self._options.polls_per_second)
        room.at = now
        while room.waiting and room.begins >= 1.0:
            job = room.waiting.pop()
            if (followed := self._jobs.get(job)) is None:
                continue  # it was forgotten meanwhile
            if job in self._called:  # it was forgotten and followed anew during that call
                followed.looking, followed.due = False, now + self._options.poll_shortest
                self._put(job, followed)
                continue
            room.begins -= 1.0
            followed.looking = True  # followed anew while it waited, it may not be due yet
            self._called.add(job)
            return job, followed
        return None

    async def _sleep(self) -> None:
        """Wait for the next job that is due, or the next look that may begin: at least a slot."""
        await asyncio.sleep(SLOT)
        now = self._clock.monotonic()
        begins = [self._next_of(room) for room in self._rooms.values() if room.waiting]
        if (next_ := min([*begins, *(due for due, *_ in self._heap[:1])], default=math.inf)) <= now + SLOT:
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(next_ - now if next_ < math.inf else None):
                await self._wake.wait()
        except TimeoutError:
            return

    def _next_of(self, room: _Room[Job]) -> float:
        """Return when the next look of a room may begin; if that depends on a call's end, the call goes on itself."""
        if room.calls >= self._options.polls_at_once:
            return math.inf
        return room.at + max(0.0, 1.0 - room.begins) / self._options.polls_per_second

    async def _look_in_turn(self, job: Job, followed: _Followed, room: _Room[Job]) -> None:
        """Look at a job, then at those of its service that have waited for this call to end."""
        try:
            await self._one(job, followed)
            while (took := self._take(room, self._clock.monotonic())) is not None:
                await self._one(*took)
        finally:
            room.calls -= 1
            if room.waiting:
                self._wake.set()  # what comes next depends on the time, no more on a call

    async def _one(self, job: Job, followed: _Followed) -> None:
        answered = False
        try:
            if self._jobs.get(job) is followed:
                answered = await self._look(job)
        except Exception as error:  # noqa: BLE001 - a defect must not end the looks at all other jobs
            self._causes.report(error, "a look at a job failed")
        finally:
            followed.looking = False
            self._called.discard(job)
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
