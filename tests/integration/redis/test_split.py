"""Two primaries at once: by how much a pool may be exceeded then is what docs/limits.md states, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from propeller.testing import RedisServer, TcpProxy, eventually, run_redis_server
from tests.integration.redis.processes import CAPACITY, TTL, Process, process, short
from tests.integration.redis.stores import prime

pytestmark = pytest.mark.needs("redis-server")


@dataclass
class Sides:
    """A primary with its replica, and two processes."""

    old: RedisServer
    new: RedisServer
    of_a: TcpProxy
    of_b: TcpProxy
    a: Process
    b: Process

    @property
    def processes(self) -> tuple[Process, Process]:
        return self.a, self.b

    @property
    def held(self) -> int:
        return len(self.a.held) + len(self.b.held)

    def promote(self) -> None:
        """The replica is a primary, too, and hears nothing of the old one any more."""
        self.new.follow(None)

    def lead_a_to_new(self) -> None:
        self.of_a.lead_to(self.new.url)
        self.of_a.cut()

    def lead_b_to_new(self) -> None:
        self.of_b.lead_to(self.new.url)
        self.of_b.cut()

    async def churn(self, seconds: float) -> None:
        """Tasks end all the time, and others take their places as far as they may."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            for one in self.processes:
                if one.held:
                    one.end()
                one.ask(1)
            await asyncio.sleep(0.02)


@dataclass
class Watch:
    """The most tokens that were out at once."""

    sides: Sides
    most: int = 0

    async def run(self) -> None:
        while True:
            self.most = max(self.most, self.sides.held)
            await asyncio.sleep(0.005)


@asynccontextmanager
async def _watched(sides: Sides) -> AsyncIterator[Watch]:
    watch = Watch(sides)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()


@asynccontextmanager
async def _pair(tmp_path: Path, *flags: str) -> AsyncIterator[tuple[RedisServer, RedisServer]]:
    """A primary, and a replica that has its data."""
    with run_redis_server(tmp_path / "old", flags) as old, run_redis_server(tmp_path / "new") as new:
        new.follow(old)
        await eventually(lambda: new.is_in_step or None, interval=0.02)
        await eventually(lambda: "'state': 'online'" in old.command("INFO", "replication") or None, interval=0.02)
        await prime(short(old))
        yield old, new


@asynccontextmanager
async def _on_two_sides(tmp_path: Path, *flags: str) -> AsyncIterator[Sides]:
    """Two processes, each with a line to the primary of its own."""
    async with (
        _pair(tmp_path, *flags) as (old, new),
        TcpProxy(old.url) as of_a,
        TcpProxy(old.url) as of_b,
        process("a", short(old, url=of_a.url)) as a,
        process("b", short(old, url=of_b.url)) as b,
    ):
        yield Sides(old, new, of_a, of_b, a, b)


async def test_with_two_primaries_each_side_has_the_capacity_at_most_and_both_have_it_once_when_it_is_over(
    tmp_path: Path,
) -> None:
    async with _on_two_sides(tmp_path) as sides:
        for one in sides.processes:
            one.ask(10)
        await eventually(lambda: sides.held == CAPACITY or None, interval=0.01)
        async with _watched(sides) as watch:
            sides.promote()
            sides.lead_b_to_new()
            await asyncio.sleep(TTL / 3)
            assert watch.most == CAPACITY, "until a side has missed the other one for a TTL"
            await sides.churn(2 * TTL)
            await eventually(lambda: sides.held == 2 * CAPACITY or None, interval=0.01)
            assert watch.most == 2 * CAPACITY
        sides.lead_a_to_new()
        await sides.churn(2 * TTL)
        await eventually(lambda: sides.held == CAPACITY or None, interval=0.01)
        await sides.churn(TTL / 2)
        assert sides.held <= CAPACITY


async def test_an_old_primary_that_must_have_a_replica_refuses_and_its_side_goes_on_within_its_slice(
    tmp_path: Path,
) -> None:
    flags = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")
    async with _on_two_sides(tmp_path, *flags) as sides:
        sides.a.ask(1)
        await sides.a.has(1)
        sides.b.ask(3)
        await sides.b.has(3)
        async with _watched(sides) as watch:
            sides.promote()
            sides.lead_b_to_new()
            for one in sides.processes:
                one.ask(10)
            await sides.churn(3 * TTL)
            await sides.b.has(CAPACITY)
            assert len(sides.a.held) <= 1
            assert watch.most <= CAPACITY + 1, "the capacity, and the slice of those at the old primary"


async def test_after_a_failover_that_lost_writes_the_slice_of_a_process_that_is_late_at_the_new_primary_is_the_bound(
    tmp_path: Path,
) -> None:
    """The replica has not heard of what that process has taken, and it does not say so for longer than a TTL."""
    async with _on_two_sides(tmp_path) as sides:
        a, b = sides.processes
        a.ask(1)
        await a.has(1)
        sides.promote()
        a.ask(1)
        await a.has(2)
        sides.old.stop(crash=True)
        sides.lead_b_to_new()
        async with _watched(sides) as watch:
            a.ask(5)
            b.ask(9)
            await sides.churn(3 * TTL)
            await b.has(CAPACITY)
            assert watch.most <= CAPACITY + 2, "the capacity, and the slice of the one that is late"
            sides.lead_a_to_new()
            await sides.churn(2 * TTL)
            await eventually(lambda: sides.held == CAPACITY or None, interval=0.01)
