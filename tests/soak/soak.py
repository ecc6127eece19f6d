"""Rounds of storm and quiet, until it is enough or a promise is broken.

In a storm writers write, and the round's faults come over server and ways; meanwhile one more informer starts and one
more subscriber of each comes. Then all is mended, the writers stop, and within `settle` seconds every store, and what
every subscriber has been told, must be what a fresh list says.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from contextlib import AsyncExitStack

from propeller.errors import Retryable
from propeller.kube import ClientOptions
from tests.soak.fences import write_fence
from tests.soak.followers import Follower, anchors_in, following
from tests.soak.ground import Ground
from tests.soak.plan import ROUTES, Fault, Round, draw
from tests.soak.report import Report, listening
from tests.soak.scopes import Scope, scopes
from tests.soak.truth import fresh_list
from tests.soak.writers import Writer, plant_anchors

SETTLE = 30.0
"""Seconds. Ten times what the longest chain of an informer's deadlines and backoffs takes here."""

_NAMESPACES = 3
_LOOKS_EVERY = 0.02  # seconds between two looks at all stores
_FENCE_EVERY = 0.2  # seconds between two writes whose versions are waited for, at most
_ASKS_EVERY = 0.5  # seconds between two lists of the truth while stores settle
_CLIENT = ClientOptions(deadline=3.0, page_size=7)  # a list is several pages, between which things happen


class Soak:
    """One run on `ground`; `say` takes a line for each round."""

    def __init__(self, ground: Ground, seed: int, say: Callable[[str], None], *, settle: float = SETTLE) -> None:
        self._ground = ground
        self._say = say
        self._settle = settle
        self._rng = random.Random(f"soak {seed} readers")
        self._fences = itertools.count(1)
        self._stack = AsyncExitStack()
        self._direct = ground.face.client
        self._namespaces: list[str] = []
        self._followers: list[Follower] = []
        self.report = Report(seed)

    async def run(self, is_enough: Callable[[Report], bool]) -> Report:
        """Rounds until the report says that it is enough."""
        report = self.report
        with listening(report.broken):
            async with self._stack:
                await self._begin()
                while not report.failures and not is_enough(report):
                    await self._round(draw(report.seed, report.rounds))
                    report.rounds += 1
            for follower in self._followers:
                self._count(follower)
        return report

    async def _begin(self) -> None:
        """Namespaces, anchors, and the informers that are there from the first round to the last."""
        face = self._ground.face
        self._direct = await self._stack.enter_async_context(face.connect(settings=ClientOptions(deadline=3.0)))
        self._namespaces = [face.namespace, *[await face.another_namespace() for _ in range(_NAMESPACES - 1)]]
        await plant_anchors(self._direct, self._namespaces)
        for number, scope in enumerate(scopes(self._namespaces)):
            follower = await self._follower(scope, number % ROUTES, self._stack)
            self._followers.append(await self._stack.enter_async_context(following(follower, self._rng)))
        watching = asyncio.create_task(self._look())
        self._stack.push_async_callback(_ended, watching)

    async def _follower(self, scope: Scope, route: int, stack: AsyncExitStack) -> Follower:
        """One with connections of its own, on that route."""
        url = self._ground.routes[route].url
        client = await stack.enter_async_context(self._ground.face.connect(server=url, settings=_CLIENT))
        anchors = anchors_in(await self._truth(scope))
        assert anchors, f"{scope.name} has no anchor: it could be empty, and rightly so"
        return Follower(client, scope, anchors, self.report.broken)

    async def _round(self, planned: Round) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with AsyncExitStack() as stack:
            newcomer = await self._storm(planned, stack)
            followers = [*self._followers, newcomer]
            settled = await self._quiet(followers)
            for follower in followers:
                follower.unsubscribe()
            self._count(newcomer)
        self.report.seconds += loop.time() - began
        self.report.slowest = max(self.report.slowest, settled)
        self._say(
            f"round {planned.number}, {self.report.seconds:.0f} s: {', '.join(map(str, planned.faults))}; "
            f"{self.report.writes.total()} writes in all; "
            + ("a promise broke" if self.report.failures else f"settled in {settled:.1f} s")
        )

    async def _storm(self, planned: Round, stack: AsyncExitStack) -> Follower:
        """Writers and faults, until both are over; returns the informer that started meanwhile."""
        over = asyncio.Event()
        writers = [Writer(self._direct, self._namespaces, seed, planned.writes_per_second) for seed in planned.writers]
        scope = scopes(self._namespaces)[planned.number % len(scopes(self._namespaces))]
        newcomer = await self._follower(scope, planned.number % ROUTES, stack)
        async with asyncio.TaskGroup() as writing:
            for writer in writers:
                writing.create_task(writer.run(over))
            writing.create_task(self._try_fences(over, random.Random(f"{planned.writers[0]} fences")))
            async with asyncio.TaskGroup() as falling:
                for fault in planned.faults:
                    falling.create_task(self._befall(fault))
                await asyncio.sleep(planned.newcomer_at)
                await stack.enter_async_context(following(newcomer, self._rng))
                for follower in self._followers:
                    follower.subscribe_late()
                await asyncio.sleep(planned.seconds - planned.newcomer_at)
            over.set()
        for writer in writers:
            self.report.writes.update(writer.counts)
        return newcomer

    async def _try_fences(self, over: asyncio.Event, rng: random.Random) -> None:
        """Write, and have every informer of it wait for the version."""
        while not over.is_set():
            await asyncio.sleep(rng.uniform(0.0, _FENCE_EVERY))
            try:
                fence = await write_fence(
                    self._direct, rng.choice(self._namespaces), f"fence-{next(self._fences)}", rng
                )
            except Retryable:
                continue
            self.report.fences += sum(await asyncio.gather(*(each.check_fence(fence) for each in self._followers)))

    async def _befall(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        await self._ground.befall(fault)
        self.report.faults[fault.kind] += 1

    async def _quiet(self, followers: list[Follower]) -> float:
        """Wait until all have settled, at most `settle` seconds, and check them; returns how long it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            truths = [await self._truth(follower.scope) for follower in followers]
            until = loop.time() + _ASKS_EVERY
            pairs = list(zip(followers, truths, strict=True))
            while not (settled := all(follower.has_settled(truth) for follower, truth in pairs)):
                if loop.time() > until:
                    break  # somebody else may have written: the server itself does
                await asyncio.sleep(_LOOKS_EVERY)
            if settled or loop.time() - began > self._settle:
                break
        took = loop.time() - began
        for follower, truth in pairs:
            follower.check(truth)
        return took

    async def _truth(self, scope: Scope) -> dict[str, object]:
        """A fresh list; asked for until it is had, as a server that has come back may not be well at once."""
        while True:
            try:
                return await fresh_list(self._direct, scope)
            except Retryable:
                await asyncio.sleep(_LOOKS_EVERY)

    async def _look(self) -> None:
        while True:
            for follower in self._followers:
                follower.look()
            await asyncio.sleep(_LOOKS_EVERY)

    def _count(self, follower: Follower) -> None:
        self.report.told += follower.told
        self.report.lists += follower.transport.lists
        self.report.watches += follower.transport.watches
        self.report.errors += follower.informer.failures


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel it, and wait for its end; raises what it raised."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
