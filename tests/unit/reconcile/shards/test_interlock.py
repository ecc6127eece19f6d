"""A leader that does everything, and members that divide the same objects, never act at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from propeller.clock import LoopClock
from propeller.errors import Unavailable
from propeller.kube import Client
from propeller.reconcile import Election, ElectionOptions, LeaseLost
from propeller.reconcile.shards import NoMembers, lead_alone
from propeller.testing import now
from tests.unit.reconcile.shards.group import COUNT, GROUP, LEADER, NAMESPACE, Group, Link, group

DURATION = ElectionOptions().duration


class Leader:
    """A controller without shards, as `propeller controller` runs one."""

    def __init__(self) -> None:
        self._acts = False
        self.looks = 0
        """Each after it has got the lease."""
        self.failures = 0
        """Looks that fail, before the next that does not."""

    def acts(self) -> bool:
        return self._acts

    async def live(self, g: Group, seed: int, link: Link) -> None:
        clock = LoopClock()
        client = Client(g.server.transport(interceptor=link), clock=clock)
        election = Election(client, NAMESPACE, LEADER, f"leader {seed}", clock=clock, rng=random.Random(seed))
        members = NoMembers(client, NAMESPACE, GROUP, clock=clock)
        while True:
            with suppress(LeaseLost):
                async with lead_alone(election, Looking(self, members), 1.0):
                    self._acts = True
                    try:
                        await asyncio.Event().wait()
                    finally:
                        self._acts = False
            await asyncio.sleep(1.0)


class Looking:
    """Counts a leader's looks, some of which fail."""

    def __init__(self, leader: Leader, members: NoMembers) -> None:
        self._leader = leader
        self._members = members

    async def obstacle(self) -> str:
        self._leader.looks += 1
        if self._leader.failures:
            self._leader.failures -= 1
            raise Unavailable("the API server answers 500")
        return await self._members.obstacle()


@asynccontextmanager
async def led(g: Group, seed: int = 1) -> AsyncIterator[tuple[Leader, Link]]:
    leader, link = Leader(), Link(g.witness, random.Random(seed))
    living = asyncio.create_task(leader.live(g, seed, link))
    try:
        yield leader, link
    finally:
        living.cancel()
        with suppress(asyncio.CancelledError):
            await living


async def test_members_wait_until_the_leader_has_ended_and_begin_at_once() -> None:
    async with group() as g:
        async with led(g) as (leader, _):
            await asyncio.sleep(5)
            assert leader.acts()
            async with g.member(heeds_leader=True) as (member, _):
                await asyncio.sleep(60)
                assert leader.acts()
                assert not member.shards
                assert member.member is not None
                assert "leader 1 has lease flyte/leader" in member.member.obstacle
                assert member.member.readiness() is None
        async with g.member(heeds_leader=True) as (member, _):
            began = now()
            await g.settled()
            await asyncio.sleep(0.1)
            assert len(member.shards) == COUNT
            assert now() - began < 5


async def test_a_leader_gives_its_lease_up_while_members_live_and_acts_when_they_have_left() -> None:
    async with group() as g, g.member(heeds_leader=True) as (member, _):
        await g.settled()
        async with led(g) as (leader, _):
            await asyncio.sleep(60)
            assert not leader.acts()
            assert leader.looks > 5, "it had the lease as often"
            assert len(member.shards) == COUNT
    async with group() as g, led(g) as (leader, _):
        await asyncio.sleep(5)
        assert leader.acts()


async def test_a_leader_that_could_not_look_for_members_looks_again_and_does_nothing_before() -> None:
    async with group() as g, led(g) as (leader, _):
        leader.failures = 5
        await asyncio.sleep(4.0)
        assert not leader.acts()
        await asyncio.sleep(4.0)
        assert leader.acts()
        assert leader.looks == 6


async def test_who_is_dead_is_waited_for_as_in_an_election() -> None:
    async with group() as g, g.member() as (_, link):
        await g.settled()
        link.partitioned = True
        async with led(g) as (leader, _):
            await asyncio.sleep(DURATION - 5)
            assert not leader.acts()
            await asyncio.sleep(10)
            assert leader.acts()
    async with group() as g, led(g) as (leader, link):
        await asyncio.sleep(5)
        link.partitioned = True
        async with g.member(heeds_leader=True) as (member, _):
            await asyncio.sleep(DURATION - 5)
            assert not member.shards
            await asyncio.sleep(15)
            assert member.shards
            assert not leader.acts()


@pytest.mark.parametrize("seed", range(12))
async def test_whenever_they_come_and_go_only_one_kind_acts(seed: int) -> None:
    draw = random.Random(seed)
    async with group() as g:
        acting: list[tuple[Leader, object]] = []
        both: list[float] = []
        workers: list[set[int]] = []

        async def watch() -> None:
            while True:
                if any(leader.acts() for leader, _ in acting) and any(workers):
                    both.append(now())
                await asyncio.sleep(0.005)

        async def leader(number: int) -> None:
            await asyncio.sleep(draw.choice([0.0, 0.01, draw.uniform(0, 40)]))
            async with led(g, number) as one:
                acting.append(one)
                await asyncio.sleep(draw.uniform(5, 60))

        async def member() -> None:
            await asyncio.sleep(draw.choice([0.0, 0.01, draw.uniform(0, 40)]))
            async with g.member(heeds_leader=True, slow=draw.uniform(0, 2)) as (one, _):
                workers.append(one.shards)
                await asyncio.sleep(draw.uniform(5, 60))

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(leader(number) for number in range(2)), *(member() for _ in range(3)))
        watching.cancel()
        assert not both
