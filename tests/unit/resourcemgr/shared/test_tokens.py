"""Several processes that share a store: fair together, quiet, and in order again after each fault. In virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from propeller.clock import LoopClock
from propeller.errors import Denied, Invalid
from propeller.resourcemgr import Claim, Limits, Pool, Tenant
from propeller.resourcemgr.shared import RedisOptions, SharedTokens
from tests.unit.resourcemgr.shared.exchange import Line, Server

TTL = 15.0


class _Process:
    """Claims of one process."""

    def __init__(self, server: Server, name: str, of: Limits, **options: object) -> None:
        self.name = name
        self.line = Line(server, name)
        self.tokens = SharedTokens(of, self.line, RedisOptions(**{"ttl": TTL, **options}), name, clock=LoopClock())  # type: ignore[arg-type]
        self.held: list[tuple[str, str]] = []
        """Tenants and ids of claims that have tokens."""
        self._count = 0

    def ask(self, tenant: str, count: int, *needs: tuple[str, int]) -> None:
        for _ in range(count):
            self._count += 1
            found = tenant, f"{self.name} {self._count}"
            claim = Claim(found[1], tuple(tenant.split("/")), needs or (("api", 1),))

            def granted(found: tuple[str, str] = found) -> None:
                self.tokens.use(found[1])
                self.held.append(found)

            answer = self.tokens.request(claim, granted, lambda _: None)
            if not isinstance(answer, bool):
                asyncio.ensure_future(answer).add_done_callback(
                    lambda done, granted=granted: granted() if done.result() else None  # type: ignore[misc]
                )

    def end(self) -> None:
        self.tokens.release(self.held.pop(0)[1])


@asynccontextmanager
async def _processes(of: Limits, *names: str, **options: object) -> AsyncIterator[list[_Process]]:
    server = Server()
    async with AsyncExitStack() as stack:
        found = [_Process(server, name, of, **options) for name in names]
        for process in found:
            await stack.enter_async_context(process.tokens.running())
        yield found


def _of(capacity: int, *tenants: Tenant) -> Limits:
    return Limits(pools=(Pool(name="api", capacity=capacity),), tenants=tenants)


async def test_a_tenant_with_work_in_two_processes_is_not_paid_twice() -> None:
    async with _processes(_of(12), "one", "two", "three") as processes:
        one, two, three = processes
        one.ask("a", 50)
        two.ask("a", 50)
        three.ask("b", 50)
        await asyncio.sleep(1.0)
        for _ in range(60):
            max(processes, key=lambda process: len(process.held)).end()
            await asyncio.sleep(0.1)
        held = Counter(tenant for process in processes for tenant, _ in process.held)
        assert held == {"a": 6, "b": 6}


async def test_weights_hold_over_all_processes_at_every_level() -> None:
    tenants = (Tenant(name="b", weight=3.0), Tenant(name="b/production", weight=2.0))
    async with _processes(_of(12, *tenants), "one", "two") as processes:
        processes[0].ask("a/x", 99)
        for process in processes:
            process.ask("b/production", 99)
            process.ask("b/development", 99)
        await asyncio.sleep(1.0)
        for _ in range(150):
            max(processes, key=lambda process: len(process.held)).end()
            await asyncio.sleep(0.1)
        held = Counter(tenant for process in processes for tenant, _ in process.held)
        assert held == {"a/x": 3, "b/production": 6, "b/development": 3}


async def test_two_processes_that_each_wait_for_the_others_pool_do_not_block_each_other() -> None:
    of = Limits(pools=(Pool(name="api", capacity=1), Pool(name="db", capacity=1)))
    async with _processes(of, "one", "two") as (one, two):
        for _ in range(20):
            one.ask("a", 1, ("api", 1), ("db", 1))
            two.ask("b", 1, ("db", 1), ("api", 1))
        for count in range(40):
            await asyncio.sleep(0.1)
            assert len(one.held) + len(two.held) == 1, count
            (one if one.held else two).end()


async def test_a_process_without_news_makes_three_exchanges_in_a_ttl_and_one_that_waits_no_more() -> None:
    async with _processes(_of(1), "one", "two") as (one, two):
        one.ask("a", 1)
        await asyncio.sleep(1.0)
        two.ask("b", 1)
        await asyncio.sleep(1.0)
        before = one.line.exchanges, two.line.exchanges
        await asyncio.sleep(100 * TTL)
        for process, exchanges in zip((one, two), before, strict=True):
            assert process.line.exchanges - exchanges <= 301
        one.end()
        await asyncio.sleep(0.1)
        assert two.held, "it was woken"


async def test_thousands_of_claims_cost_a_few_exchanges() -> None:
    async with _processes(_of(10_000), "one") as (one,):
        before = one.line.exchanges
        for tenant in ("a", "b", "c"):
            one.ask(tenant, 3000)
        await asyncio.sleep(1.0)
        assert len(one.held) == 9000
        for _ in range(9000):
            one.end()
        await asyncio.sleep(1.0)
        assert one.line.exchanges - before < 10


async def test_what_was_granted_by_an_answer_that_was_lost_is_granted_again() -> None:
    async with _processes(_of(2), "one", "two") as (one, two):
        one.line.loses = 1
        one.ask("a", 2)
        two.ask("b", 1)
        await asyncio.sleep(TTL)
        assert len(one.held) + len(two.held) == 2
        for process in (one, two):
            while process.held:
                process.end()
        await asyncio.sleep(1.0)
        assert len(one.held) + len(two.held) == 1


async def test_without_the_store_a_process_is_fair_within_its_slice_and_counts_rates() -> None:
    of = Limits(pools=(Pool(name="api", capacity=4), Pool(name="rate", rate=1.0, burst=1)))
    async with _processes(of, "one", "two", lost_after=5.0) as (one, _):
        one.ask("a", 4)
        await asyncio.sleep(1.0)
        one.line.cut()
        one.ask("a", 20)
        one.ask("b", 20)
        one.ask("c", 9, ("rate", 1))
        await asyncio.sleep(4.0)
        assert len(one.held) == 4
        await asyncio.sleep(2.0)
        for _ in range(12):
            one.end()
            await asyncio.sleep(1.0)
        held = Counter(tenant for tenant, _ in one.held)
        assert held["a"] == held["b"] == 2
        assert 3 <= held["c"] <= 7, "half of the rate, as there are two"
        one.line.mend()
        await asyncio.sleep(TTL)
        assert str(one.tokens.explain("one 40")).startswith("waits for api: 4 of 4 held")


async def test_what_a_process_leaves_behind_comes_back_and_what_it_waited_for_goes_to_others() -> None:
    server = Server()
    one, two = (_Process(server, name, _of(2)) for name in ("one", "two"))
    async with two.tokens.running():
        async with one.tokens.running():
            one.ask("a", 3)
            await asyncio.sleep(1.0)
            two.ask("b", 2)
            await asyncio.sleep(1.0)
        await asyncio.sleep(TTL / 2)
        assert not two.held, "pods run on when their controller stops"
        await asyncio.sleep(TTL)
        assert len(two.held) == 2


async def test_a_process_that_is_refused_when_it_begins_does_not_run_and_one_that_is_later_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server()
    one = _Process(server, "one", _of(2))
    one.line.fails = Denied("no such user")
    with pytest.raises(Invalid, match="no such user"):
        async with one.tokens.running():
            pass
    async with _processes(_of(2), "two") as (two,):
        two.line.fails = Denied("no such user any more")
        two.ask("a", 1)
        await asyncio.sleep(1.0)
        assert "no such user any more" in caplog.text
        two.line.mend()
        await asyncio.sleep(TTL)
        assert two.held


async def test_limits_that_all_processes_change_one_after_the_other_are_no_conflict(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with _processes(_of(1), "one", "two") as (one, two):
        one.ask("a", 2)
        two.ask("b", 2)
        await asyncio.sleep(1.0)
        with caplog.at_level(logging.INFO):
            one.tokens.configure(_of(3))
            await asyncio.sleep(1.0)
            assert len(one.held) + len(two.held) == 1, "the other one is configured with less"
            two.tokens.configure(_of(3))
            await asyncio.sleep(1.0)
            assert len(one.held) + len(two.held) == 3
            await asyncio.sleep(2 * TTL)
        assert "differ" not in caplog.text


async def test_each_process_reports_what_all_hold_and_wait_for_and_own_is_its_own_part() -> None:
    async with _processes(_of(3, Tenant(name="b", weight=2.0, limits={"api": 2})), "one", "two") as (one, two):
        one.ask("a/x", 40)
        two.ask("b", 100)
        for number in range(40):  # more kinds of claims than a statement has
            two.ask("b", 1, ("api", 1 + number % 2))
        for _ in range(8):
            one.tokens.report()
            two.tokens.report()
            await asyncio.sleep(1.0)
        for process in (one, two):
            usage = process.tokens.report()
            assert usage.processes == 2
            assert [(pool.name, pool.held, pool.capacity, pool.waiting) for pool in usage.pools] == [("api", 3, 3, 177)]
            tenants = {"/".join(tenant.path): tenant for tenant in usage.tenants}
            assert set(tenants) == {"a", "a/x", "b"}
            assert tenants["a/x"].held == {"api": len(one.held)}
            assert tenants["a"].waiting == {"api": 40 - len(one.held)}
            assert tenants["b"].waiting == {"api": 140 - len(two.held)}
            assert tenants["b"].weight == 2.0
        own = one.tokens.report(own=True)
        assert own.processes == 1
        assert own.pools[0].waiting == 40 - len(one.held)


async def test_a_report_is_asked_for_at_most_once_a_second_however_often_it_is_looked_at() -> None:
    async with _processes(_of(3), "one") as (one,):
        await asyncio.sleep(1.0)
        before = one.line.exchanges
        for _ in range(1000):
            one.tokens.report()
            await asyncio.sleep(0.01)
        assert one.line.exchanges - before <= 12


async def test_one_of_those_that_ask_speaks_for_all_and_another_one_when_it_is_gone() -> None:
    server = Server()
    one, two, three = (_Process(server, name, _of(2)) for name in ("one", "two", "three"))

    def speakers() -> list[str]:
        return [process.name for process in (one, two) if process.tokens.speaks()]

    async with three.tokens.running(), two.tokens.running():
        async with one.tokens.running():
            assert speakers() == []
            await asyncio.sleep(1.0)
            assert len(speakers()) == 1, "and never the third one, which does not ask"
            first = speakers()
            await asyncio.sleep(10 * TTL)
            assert speakers() == first
            (one if first == ["one"] else two).line.cut()
            for _ in range(20):
                await asyncio.sleep(TTL / 10)
                assert len(speakers()) <= 1
            assert speakers() == [name for name in ("one", "two") if name not in first]
            one.line.mend()
            two.line.mend()
            await asyncio.sleep(TTL)
            assert len(speakers()) == 1
        await asyncio.sleep(2 * TTL)
        assert speakers() == ["two"]
