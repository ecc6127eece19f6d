"""Tokens that processes share, of executions that go from one process to another."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from propeller.clock import LoopClock
from propeller.config import RedisOptions, ResourceOptions
from propeller.controller._handed_tokens import HELD, SETTLED, HandedTokens
from propeller.handlers import Asked
from propeller.reconcile import ElectionOptions
from propeller.resourcemgr import Pool, Rule
from propeller.testing import now
from tests.simulation.event_log import EventLog
from tests.simulation.shared import SharedPools
from tests.unit.controller.bench import Bench
from tests.unit.controller.sharded import Sharded
from tests.unit.controller.test_shards import create, end_pods, member, phases, scene

LEASES = ElectionOptions()
POOL, CAPACITY = "slots", 20


class _Tokens:
    """Hands over one claim for each execution, and notes what is given back."""

    def __init__(self) -> None:
        self.given_back: list[tuple[float, tuple[str, ...]]] = []

    def hand_over(self, uids: Any) -> tuple[str, ...]:
        return tuple(f"{uid}/claim" for uid in uids)

    def give_back(self, names: tuple[str, ...]) -> None:
        self.given_back.append((now(), names))


def _handed(tokens: Any, leases: ElectionOptions = LEASES) -> HandedTokens:
    return HandedTokens(tokens, LoopClock(), leases)


async def test_claims_are_given_back_once_another_process_is_seen_to_run_executions_of_their_shard() -> None:
    tokens = _Tokens()
    handed = _handed(tokens)
    handed.hand_over(1, ["a", "b"])
    handed.hand_over(2, ["c"])
    began = now()
    for _ in range(5):
        handed.met({1: 2.0, 3: 1.0})  # what a Lease says at first may be of before
        await asyncio.sleep(1.0)
    assert tokens.given_back == []
    await asyncio.sleep(SETTLED)
    assert [names for _, names in tokens.given_back] == [("a/claim", "b/claim")]
    assert tokens.given_back[0][0] - began == pytest.approx(2 * LEASES.retry + SETTLED, abs=0.1)
    await asyncio.sleep(HELD)
    assert [names for _, names in tokens.given_back] == [("a/claim", "b/claim"), ("c/claim",)]


async def test_claims_come_back_after_a_while_if_no_process_is_seen_and_only_once() -> None:
    tokens = _Tokens()
    handed = _handed(tokens)
    handed.hand_over(1, ["a"])
    await asyncio.sleep(HELD - 1.0)
    assert tokens.given_back == []
    handed.met({1: 1.0})
    await asyncio.sleep(5.0)
    assert len(tokens.given_back) == 1


async def test_where_leases_last_for_longer_claims_are_out_for_longer() -> None:
    tokens = _Tokens()
    _handed(tokens, ElectionOptions(duration=60)).hand_over(1, ["a"])
    await asyncio.sleep(119.0)
    assert tokens.given_back == []
    await asyncio.sleep(2.0)
    assert len(tokens.given_back) == 1


async def test_without_limits_nothing_is_handed_over() -> None:
    handed = _handed(None)
    handed.hand_over(1, ["a"])
    handed.met({1: 1.0})
    await asyncio.sleep(2 * HELD)


class Store:
    """What the processes' store of tokens has out."""

    def __init__(self) -> None:
        self.pools = SharedPools(0, EventLog(now))

    @property
    def held(self) -> float:
        return sum(pool.held for pool in self.pools._store.pools.values())

    async def join(self, stack: AsyncExitStack, b: Bench, who: str) -> Sharded:
        with self.pools.backend(who):
            made = member(b)
            return await stack.enter_async_context(made)


async def test_what_waits_when_its_shard_moves_asks_at_once_where_it_goes() -> None:
    async with scene() as plain, AsyncExitStack() as stack:
        resources = ResourceOptions(pools=(Pool(name=POOL, capacity=2),), rules=(Rule(pools={POOL: 1}),))
        settings = msgspec.structs.replace(plain.settings, resources=resources, redis=RedisOptions(url="redis://x/0"))
        b, store = replace(plain, settings=settings), Store()
        one = await store.join(stack, b, "one")
        await asyncio.sleep(2.5 * LEASES.duration)
        for number in range(12):
            await create(b, f"w{number}", "a")
        await asyncio.sleep(2.0)
        two = await store.join(stack, b, "two")
        await asyncio.sleep(4.0)
        assert one.keys
        assert two.keys
        waits = [one.controller.queue(Asked())["claims"], two.controller.queue(Asked())["claims"]]
        assert sum(map(len, waits)) == 10, "each asks again within seconds, wherever it is"
        assert all(waits)


async def _running(b: Bench) -> int:
    return sum(phase not in {3, 5, 6} for phase in (await phases(b)).values())


async def test_what_runs_counts_once_in_the_store_soon_after_its_shard_has_moved_and_never_less() -> None:
    async with scene() as plain, AsyncExitStack() as stack:
        resources = ResourceOptions(pools=(Pool(name=POOL, capacity=CAPACITY),), rules=(Rule(pools={POOL: 1}),))
        settings = msgspec.structs.replace(plain.settings, resources=resources, redis=RedisOptions(url="redis://x/0"))
        b, store = replace(plain, settings=settings), Store()
        one = await store.join(stack, b, "one")
        # a store without data grants nothing until all can have told it what they have
        await asyncio.sleep(2.5 * LEASES.duration)
        for number in range(12):
            await create(b, f"w{number}", "a")
        await asyncio.sleep(2.0)
        assert store.held == 12
        two = await store.join(stack, b, "two")
        seen = []
        for _ in range(120):
            await asyncio.sleep(0.1)
            seen.append(store.held)
        assert one.keys
        assert two.keys
        assert min(seen) == 12, "what runs is never out of the store"
        assert max(seen) > 12, "for a while both processes count what has moved"
        assert seen[-1] == 12, "then only one does"
        await end_pods(b)
        await asyncio.sleep(3.0)
        assert await _running(b) == 0
        assert store.held == 0
