"""A group of members on an API server, each with a way to it of its own, and a witness of who may work on what."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import orjson

from propeller.clock import LoopClock
from propeller.embedded.faults import NO_FAULTS, FaultProfile, FaultyLink
from propeller.embedded.server import ApiServer, Forward
from propeller.errors import PropellerError
from propeller.kube import NAMESPACES, Client, Request, Response
from propeller.reconcile import Leadership, LeaseLost
from propeller.reconcile.rollouts import Counts, Share
from propeller.reconcile.shards import Membership, NoLeader, ShardMap, ShardOptions
from propeller.reconcile.shards._map_store import MAP_ANNOTATION
from propeller.reconcile.shards._shard_map import decode_map
from propeller.testing import now

COUNT = 9
NAMESPACE = "flyte"
GROUP = "group"
LEADER = "leader"


class SkewedClock(LoopClock):
    """Wrong about the time by `skew` seconds, and faster or slower by `rate`."""

    def __init__(self, skew: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self._skew = skew
        self._rate = rate

    def now(self) -> float:
        return super().now() + self._skew

    def monotonic(self) -> float:
        return self._skew + self._rate * super().monotonic()


class Witness:
    """Knows the map as the server has it, at each moment."""

    def __init__(self) -> None:
        self.map = ShardMap(COUNT)
        self.writes = 0
        self.requests: list[tuple[str, str]] = []
        self.wrong: list[str] = []

    def applied(self, request: Request, response: Response) -> None:
        self.requests.append((request.method, request.path))
        if response.status >= 300 or request.method not in {"PUT", "POST"}:
            return
        metadata = orjson.loads(response.body)["metadata"]
        if metadata["name"] == GROUP:
            self.writes += 1
            self.map = decode_map(metadata["annotations"][MAP_ANNOTATION], COUNT, GROUP)


class Link(FaultyLink):
    """As the simulated network, and every effect is seen."""

    def __init__(self, witness: Witness, rng: random.Random, profile: FaultProfile = NO_FAULTS) -> None:
        super().__init__(rng, profile)
        self._witness = witness

    async def exchange(self, request: Request, forward: Forward) -> Response:
        async def seen(passed: Request) -> Response:
            response = await forward(passed)
            self._witness.applied(passed, response)
            return response

        return await super().exchange(request, seen)


@dataclass
class Worker:
    """Works on the shards of one member: says so ten times a second, if its Lease lets it."""

    witness: Witness
    load: dict[int, float] = field(default_factory=dict)
    slow: float = 0.0
    """Seconds that it takes to begin or end."""
    ignores_loss: bool = False
    heeds_leader: bool = False
    """Whether it waits while a leader does everything."""
    version: str = ""
    failing: float = 0.0
    """Share of its work that fails, to be seen in a rollout."""
    done: int = 0
    shards: set[int] = field(default_factory=set)
    taken: list[tuple[float, int]] = field(default_factory=list)
    given_up: list[tuple[float, int]] = field(default_factory=list)
    leadership: Leadership | None = None
    member: Membership | None = None

    async def take(self, shard: int) -> None:
        await asyncio.sleep(self.slow)
        self.shards.add(shard)
        self.taken.append((now(), shard))

    async def give_up(self, shards: Collection[int]) -> None:
        await asyncio.sleep(self.slow)
        self.shards -= set(shards)
        self.given_up.extend((now(), shard) for shard in shards)

    def loads(self) -> Mapping[int, float]:
        return {shard: self.load.get(shard, 0.0) for shard in self.shards}

    def counts(self) -> Counts:
        return Counts({"failed work": Share(int(self.done * self.failing), self.done)})

    async def work(self) -> None:
        assert self.member is not None
        while True:
            if self.leadership is not None and (self.ignores_loss or self.leadership.remaining()):
                for shard in self.shards:
                    self.done += 1
                    if (holder := self.witness.map.holders.get(shard)) != self.member.name:
                        self.witness.wrong.append(f"{self.member.name} works on {shard}, held by {holder or 'nobody'}")
            await asyncio.sleep(0.1)


class Group:
    def __init__(self, server: ApiServer, options: ShardOptions) -> None:
        self.server = server
        self.witness = Witness()
        self._options = options
        self._number = 0

    @asynccontextmanager
    async def member(
        self, *, profile: FaultProfile = NO_FAULTS, clock: LoopClock | None = None, **options: object
    ) -> AsyncIterator[tuple[Worker, Link]]:
        """A member that has joined; its Lease may be lost, which ends it."""
        self._number += 1
        rng = random.Random(f"member {self._number}")
        link = Link(self.witness, rng, profile)
        clock = clock or LoopClock()
        client = Client(self.server.transport(interceptor=link), clock=clock)
        worker = Worker(self.witness, **options)  # type: ignore[arg-type]
        worker.member = Membership(
            *(client, NAMESPACE, GROUP, COUNT, worker, self._options),
            version=worker.version,
            counts=worker.counts,
            interlock=NoLeader(client, NAMESPACE, LEADER, clock=clock) if worker.heeds_leader else None,
            clock=clock,
            rng=rng,
        )
        ready = asyncio.Event()

        async def live() -> None:
            assert worker.member is not None
            with suppress(LeaseLost):
                async with worker.member.joined() as worker.leadership:
                    ready.set()
                    await asyncio.Event().wait()
            worker.shards.clear()

        living = asyncio.create_task(live())
        working = asyncio.create_task(worker.work())
        try:
            while not ready.is_set() and not living.done():
                await asyncio.sleep(0.05)
            yield worker, link
        finally:
            living.cancel()
            with suppress(asyncio.CancelledError, PropellerError):
                await living
            working.cancel()

    async def settled(self, seconds: float = 120.0) -> float:
        """Wait until every shard is held by who is to have it; returns when."""
        for _ in range(int(seconds / 0.05)):
            map_ = self.witness.map
            if len(map_.holders) == COUNT and dict(map_.holders) == dict(map_.wanted):
                return now()
            await asyncio.sleep(0.05)
        raise AssertionError(f"not settled: {self.witness.map}")


@asynccontextmanager
async def group(options: ShardOptions | None = None) -> AsyncIterator[Group]:
    async with ApiServer(clock=LoopClock(), randomness=random.Random(0)) as server:
        await Client(server.transport()).create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        yield Group(server, options or ShardOptions())
