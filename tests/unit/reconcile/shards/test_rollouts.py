"""A new version in a group: it gets shards in stages, loses them when it is bad, and never has more than its stage."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from propeller.errors import Conflict, NotFound
from propeller.kube import LEASES, Client
from propeller.reconcile import ElectionOptions
from propeller.reconcile.rollouts import Rollout, RolloutOptions, State, abort, begin
from propeller.reconcile.shards import GroupView, change_rollout, view_group
from propeller.testing import now
from tests.unit.reconcile.shards.group import COUNT, GROUP, NAMESPACE, Group, group

OPTIONS = RolloutOptions(stages=(0.1, 0.4), bake=60.0, longest=300.0, least=50)


def started(view: GroupView) -> Rollout:
    return begin("2", "1", view.loads, view.map.count, OPTIONS, now())


async def start(g: Group, change: Callable[[GroupView], Rollout] = started) -> None:
    await asyncio.sleep(1)
    await g.settled()
    await change_rollout(Client(g.server.transport()), NAMESPACE, GROUP, change)


def state(g: Group) -> State | None:
    """As the last write of a member has it."""
    rollout = g.witness.map.rollout
    return None if rollout is None else rollout.state


async def until(condition: Callable[[], bool], seconds: float) -> None:
    for _ in range(int(seconds * 10)):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it has not come so far")


async def test_a_good_version_gets_one_shard_then_more_and_then_all() -> None:
    async with group() as g, g.member(version="1") as (old, _), g.member(version="2") as (new, _):
        await start(g)
        await until(lambda: len(new.shards) == 1, 5)
        assert len(old.shards) == COUNT - 1
        await until(lambda: len(new.shards) == 3, 90)
        await until(lambda: len(new.shards) == COUNT, 90)
        assert not old.shards
        assert state(g) is State.PROMOTED
    assert not g.witness.wrong


async def test_a_rollout_that_is_done_is_forgotten_when_the_old_version_has_left() -> None:
    async with group() as g, AsyncExitStack() as old:
        await old.enter_async_context(g.member(version="1"))
        new, _ = await old.enter_async_context(g.member(version="2"))
        await start(g)
        await until(lambda: len(new.shards) == COUNT, 200)
        assert state(g) is State.PROMOTED
        async with g.member(version="2") as (other, _):
            await until(lambda: bool(other.shards), 5)
            assert new.member is not None
            await change_rollout(Client(g.server.transport()), NAMESPACE, GROUP, lambda view: _of(view))
            await old.aclose()
            await until(lambda: g.witness.map.rollout is None, 30)
            assert len(other.shards) == COUNT
    assert not g.witness.wrong


async def test_a_bad_version_loses_its_shard_at_once_and_nobody_else_has_run_it() -> None:
    async with group() as g, g.member(version="1") as (old, _), g.member(version="2", failing=0.5) as (new, _):
        await start(g)
        await until(lambda: len(new.shards) == 1, 5)
        began, kept = now(), set(new.shards)
        await until(lambda: state(g) is State.ABORTED, 30)
        taken = {shard for at, shard in new.taken if at > began}
        await until(lambda: not new.shards, 5)
        await until(lambda: len(old.shards) == COUNT, 5)
        assert taken <= kept
        assert g.witness.map.rollout is not None
        assert "failed work" in g.witness.map.rollout.reason
        async with g.member(version="2") as (again, _):
            await asyncio.sleep(30)
            assert not again.shards
    assert not g.witness.wrong


async def test_a_version_whose_members_die_is_rolled_back() -> None:
    async with group() as g, g.member(version="1") as (old, _):
        async with g.member(version="2") as (_, one), g.member(version="2") as (_, other):
            await start(g)
            await asyncio.sleep(2)
            one.partitioned = other.partitioned = True
            await until(lambda: state(g) is State.ABORTED, 3 * ElectionOptions().duration)
        assert g.witness.map.rollout is not None
        assert g.witness.map.rollout.reason == "2 members of 2 fell silent"
        await until(lambda: len(old.shards) == COUNT, 60)
    assert not g.witness.wrong


async def test_a_version_that_was_rolled_back_gets_nothing_even_if_nobody_else_lives() -> None:
    async with group() as g, g.member(version="2") as (bad, _):
        async with g.member(version="1"):
            await start(g)
            await change_rollout(
                Client(g.server.transport()), NAMESPACE, GROUP, lambda view: abort(_of(view), "by hand", now())
            )
            await asyncio.sleep(2)
            assert not bad.shards
        await asyncio.sleep(60)
        assert not bad.shards
    assert not g.witness.wrong


def _of(view: GroupView) -> Rollout:
    assert view.map.rollout is not None
    return view.map.rollout


async def test_while_it_bakes_the_old_version_has_the_shards_of_a_new_one_that_is_not_there() -> None:
    async with group() as g, g.member(version="1") as (old, _):
        await start(g)
        await asyncio.sleep(2)
        await g.settled()
        assert len(old.shards) == COUNT


async def test_a_rollout_may_be_started_before_its_version_is_there() -> None:
    async with group() as g, g.member(version="1") as (old, _):
        await start(g)
        await asyncio.sleep(600)
        assert len(old.shards) == COUNT
        assert state(g) is State.HELD
        async with g.member(version="2") as (new, _):
            await until(lambda: len(new.shards) == 1, 5)
            assert len(old.shards) == COUNT - 1
    assert not g.witness.wrong


async def test_without_a_rollout_members_send_no_counts_and_nothing_else_than_before() -> None:
    async with group() as g, g.member(version="1"), g.member(version="2"):
        await g.settled()
        g.witness.requests.clear()
        await asyncio.sleep(600)
        counts = Counter(method for method, _ in g.witness.requests)
        assert counts["PUT"] <= 2 * 300
        leases = (await Client(g.server.transport()).list(LEASES, NAMESPACE)).items
        assert not any("propeller.dev/counts" in (lease.metadata.annotations or {}) for lease in leases)


async def test_a_group_is_seen_from_outside_with_what_each_version_has_done() -> None:
    async with group() as g:
        client = Client(g.server.transport())
        with pytest.raises(NotFound, match="no controller has joined"):
            await view_group(client, NAMESPACE, GROUP)
        async with g.member(version="1") as (old, _), g.member(version="2", failing=1.0):
            await start(g)
            await asyncio.sleep(3)
            view = await view_group(client, NAMESPACE, GROUP)
            assert old.member is not None
            assert view.map.versions[old.member.name] == "1"
            assert view.counts[old.member.name].shares["failed work"].total > 0


async def test_of_two_changes_at_once_the_second_sees_the_first() -> None:
    async with group() as g, g.member(version="1"), g.member(version="2"):
        await start(g)
        client = Client(g.server.transport())
        ends = await asyncio.gather(
            *(change_rollout(client, NAMESPACE, GROUP, lambda view: abort(_of(view), "by hand", now())) for _ in "ab"),
            return_exceptions=True,
        )
        assert [type(end) for end in ends if isinstance(end, Exception)] == [Conflict]
