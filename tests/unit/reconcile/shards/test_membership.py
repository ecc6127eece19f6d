"""Members of a group divide its shards: each has one holder, whatever happens to processes, network and clocks."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from propeller.clock import LoopClock
from propeller.embedded.faults import FaultProfile
from propeller.errors import Invalid
from propeller.kube import LEASES, Client
from propeller.reconcile import ElectionOptions
from propeller.reconcile.shards import Membership, ShardOptions
from propeller.testing import now
from tests.unit.reconcile.shards.group import COUNT, GROUP, NAMESPACE, SkewedClock, Worker, group

DURATION = ElectionOptions().duration


async def test_the_first_member_has_all_shards_and_the_next_ones_their_part() -> None:
    async with group() as g, g.member() as (first, _):
        await g.settled()
        assert len(first.shards) == COUNT
        async with g.member() as (second, _), g.member() as (third, _):
            await asyncio.sleep(1)
            await g.settled()
            await asyncio.sleep(0.1)
            assert [len(worker.shards) for worker in (first, second, third)] == [3, 3, 3]
    assert not g.witness.wrong


async def test_a_member_that_joins_has_its_shards_within_a_second() -> None:
    async with group() as g, g.member():
        await g.settled()
        joined = now()
        async with g.member() as (second, _):
            await g.settled()
            await asyncio.sleep(0.1)
            assert second.shards
            assert second.taken[0][0] - joined < 1


async def test_a_shard_is_taken_only_when_it_was_given_up() -> None:
    async with group() as g, g.member(slow=3.0) as (first, _):
        await g.settled()
        async with g.member() as (second, _):
            await g.settled()
            await asyncio.sleep(0.1)
            ended = {shard: at for at, shard in first.given_up}
            assert second.taken
            assert all(at >= ended[shard] for at, shard in second.taken)


async def test_a_member_that_leaves_hands_over_within_a_second_and_leaves_nothing() -> None:
    async with group() as g, g.member() as (first, _):
        async with g.member():
            await g.settled()
        left = now()
        await g.settled()
        await asyncio.sleep(0.1)
        assert len(first.shards) == COUNT
        assert max(at for at, _ in first.taken) - left < 1
        client = Client(g.server.transport())
        names = {lease.metadata.name for lease in (await client.list(LEASES, NAMESPACE)).items}
        assert first.member is not None
        assert names == {GROUP, first.member.name}


async def test_the_shards_of_a_dead_member_are_taken_within_its_lease_and_five_seconds() -> None:
    async with group() as g, g.member() as (first, _), g.member() as (_, link):
        await g.settled()
        died = now()
        link.partitioned = True
        await asyncio.sleep(1)
        while set(g.witness.map.holders.values()) != {first.member.name}:  # type: ignore[union-attr]
            await asyncio.sleep(0.1)
        assert DURATION - 2.5 < now() - died < DURATION + 5
    assert not g.witness.wrong


async def test_a_member_whose_process_is_known_to_have_ended_is_not_waited_for() -> None:
    async with group() as g, g.member() as (first, _), g.member() as (second, link):
        await g.settled()
        link.partitioned = True
        assert first.member is not None
        assert second.member is not None
        second.ignores_loss = False
        second.shards.clear()
        await first.member.bury(second.member.name)
        await asyncio.sleep(0.5)
        assert len(first.shards) == COUNT


async def test_a_member_whose_server_fails_once_takes_its_steps_all_the_same() -> None:
    async with group() as g, g.member() as (first, _):
        await g.settled()
        assert first.member is not None
        loads, first.loads = first.loads, lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        async with g.member() as (second, _):
            await asyncio.sleep(5)
            assert "ZeroDivisionError" in str(first.member.readiness())
            first.loads = loads  # type: ignore[method-assign]
            await asyncio.sleep(5)
            await g.settled()
            assert first.member.readiness() is None
            assert second.shards
            assert first.shards


async def test_a_member_that_lost_its_lease_never_works_again() -> None:
    async with group() as g, g.member(), g.member() as (second, link):
        await g.settled()
        link.partitioned = True
        await asyncio.sleep(DURATION * 2)
        link.partitioned = False
        await asyncio.sleep(DURATION * 2)
        assert not second.shards
        assert second.member is not None
        assert second.member.name not in g.witness.map.members
    assert not g.witness.wrong


async def test_standbys_get_no_shards_until_a_member_is_gone() -> None:
    async with group(options=ShardOptions(active=1)) as g, g.member() as (first, _), g.member() as (second, _):
        await g.settled()
        await asyncio.sleep(1)
        assert len(first.shards) == COUNT
        assert not second.shards
        assert first.member is not None
        assert second.member is not None
        assert g.witness.map.members == (first.member.name, second.member.name)
    async with group(options=ShardOptions(active=1)) as g, AsyncExitStack() as stack:
        async with g.member():
            second, _ = await stack.enter_async_context(g.member())
            await g.settled()
        await asyncio.sleep(1)
        assert len(second.shards) == COUNT


async def test_heavy_shards_move_after_the_interval_and_not_before() -> None:
    async with group(options=ShardOptions(level_interval=60)) as g, g.member() as (first, _), g.member() as (second, _):
        await asyncio.sleep(1)
        await g.settled()
        first.given_up.clear()
        for shard in first.shards:
            first.load[shard] = second.load[shard] = 100.0
        began = now()
        await asyncio.sleep(30)
        assert not first.given_up
        await asyncio.sleep(60)
        await g.settled()
        assert first.given_up
        assert min(at for at, _ in first.given_up) - began > 30
        assert {shard for _, shard in first.given_up} < set(first.load)


async def test_at_rest_a_member_sends_thirty_renewals_a_minute_and_nothing_else() -> None:
    async with group() as g, g.member(), g.member(), g.member():
        await g.settled()
        await asyncio.sleep(5)
        g.witness.requests.clear()
        await asyncio.sleep(600)
        counts = Counter(method for method, _ in g.witness.requests)
        assert counts.keys() <= {"PUT", "GET"}
        assert 3 * 240 < counts["PUT"] <= 3 * 300
        assert counts["GET"] < 3 * 15  # watches that are resumed


async def test_after_a_restore_of_the_server_members_follow_its_older_map() -> None:
    async with group() as g, g.member() as (first, _):
        await g.settled()
        async with g.member() as (second, _):
            copy = g.server.back_up()  # the second one is not in the map yet
            await asyncio.sleep(3)
            assert second.shards
            g.server.restore(copy)
            g.server.start()
            await asyncio.sleep(60)
            assert not first.shards & second.shards
            assert len(first.shards | second.shards) == COUNT


async def test_a_map_of_another_number_of_shards_is_refused() -> None:
    async with group() as g, g.member() as (worker, _):
        await g.settled()
        other = Membership(Client(g.server.transport()), NAMESPACE, GROUP, COUNT + 1, worker)
        with pytest.raises(Invalid, match="divides 9 shards, and the settings say 10"):
            async with other.joined():
                pass


@pytest.mark.parametrize(("count", "named"), [(COUNT + 1, ()), (COUNT, ("east",))])
async def test_once_all_members_have_left_shards_may_be_divided_otherwise(count: int, named: tuple[str, ...]) -> None:
    async with group() as g:
        async with g.member():
            await g.settled()
        other = Membership(Client(g.server.transport()), NAMESPACE, GROUP, count, Worker(g.witness), named=named)
        async with other.joined():
            await asyncio.sleep(1)
            assert other.ready == other.map.held_by(other.name) == frozenset(range(count))


async def test_shards_are_divided_otherwise_once_a_member_that_was_killed_has_been_silent() -> None:
    async with group() as g:
        async with g.member() as (worker, link):
            await g.settled()
            link.partitioned = True
            killed = now()
        assert worker.member is not None
        other = Membership(
            Client(g.server.transport(), clock=LoopClock()),
            *(NAMESPACE, GROUP, COUNT + 1, Worker(g.witness)),
            clock=LoopClock(),
        )
        async with other.joined():
            assert now() - killed >= DURATION
            await asyncio.sleep(1)
            assert len(other.ready) == COUNT + 1
            assert worker.member.name not in other.map.names


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_no_two_work_on_a_shard_and_in_the_end_each_is_held(seed: int) -> None:
    rng = random.Random(seed)
    random.seed(seed)
    profile = FaultProfile(
        latency=rng.choice((0.0, 0.1, 1.0)),
        lost_requests=rng.choice((0.0, 0.1)),
        lost_responses=rng.choice((0.0, 0.1)),
        refusals=rng.choice((0.0, 0.1)),
        disconnects=rng.choice((0.0, 0.05)),
        black_holes=rng.choice((0.0, 0.02)),
        lag=rng.choice((0.0, 0.5)),
    )
    async with group(options=ShardOptions(level_interval=rng.choice((5.0, 60.0)))) as g:

        async def live(life: float) -> None:
            clock = SkewedClock(rng.uniform(-1e6, 1e6), rng.uniform(0.95, 1.05))
            async with g.member(profile=profile, clock=clock, slow=rng.choice((0.0, 0.5))) as (worker, link):
                for _ in range(int(life)):
                    worker.load = {shard: rng.choice((0.0, 1.0, 50.0)) for shard in range(COUNT)}
                    if rng.random() < 0.03:
                        link.partitioned = not link.partitioned
                    await asyncio.sleep(1)
                if rng.random() < 0.5:
                    link.partitioned = True  # it dies
                    await asyncio.sleep(DURATION * 2)

        async with asyncio.TaskGroup() as lives:
            for _ in range(8):
                lives.create_task(live(rng.uniform(5, 120)))
                await asyncio.sleep(rng.uniform(0, 30))
        assert not g.witness.wrong
        async with g.member() as (last, _):
            await g.settled(300)
            await asyncio.sleep(1)
            assert len(last.shards) == COUNT
