"""The pool of effects: bounded, fair, and clean when it is left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from propeller.reconcile import FairPool
from propeller.reconcile._pool import JOBS_A_TURN


async def test_no_more_jobs_run_at_once_than_the_pool_is_large() -> None:
    running, most = 0, 0

    async def job() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    async with FairPool[str](3) as pool:
        for _ in range(20):
            pool.submit("a", lambda: job())
        while len(pool):
            await asyncio.sleep(0)
    assert most == 3


async def test_a_tenant_with_one_job_does_not_wait_behind_one_with_many() -> None:
    done: list[str] = []

    async def job(tenant: str) -> None:
        done.append(tenant)
        await asyncio.sleep(0)

    async with FairPool[str](1) as pool:
        for _ in range(50):
            pool.submit("crowd", lambda: job("crowd"))
        pool.submit("single", lambda: job("single"))
        while len(pool):
            await asyncio.sleep(0)
    assert done.index("single") <= 2
    assert len(done) == 51


async def test_a_group_of_many_tenants_does_not_hold_up_one_with_a_single_tenant() -> None:
    done: list[str] = []

    async def job(tenant: str) -> None:
        done.append(tenant)
        await asyncio.sleep(0)

    async with FairPool[str](1, group=lambda tenant: tenant.partition("/")[0]) as pool:
        for number in range(50):
            pool.submit(f"crowd/{number}", lambda: job("crowd"))
        pool.submit("single/0", lambda: job("single"))
        while len(pool):
            await asyncio.sleep(0)
    assert done.index("single") <= 2
    assert len(done) == 51


async def test_a_job_that_raises_is_logged_with_its_tenant_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    done = []

    async def bad() -> None:
        raise ValueError("broken")

    async def good() -> None:
        done.append(1)

    with caplog.at_level(logging.ERROR):
        async with FairPool[str](1) as pool:
            pool.submit("tenant-7", bad)
            pool.submit("tenant-8", good)
            while len(pool):
                await asyncio.sleep(0)
    assert done == [1]
    assert "tenant-7" in caplog.text


async def test_leaving_the_block_cancels_running_jobs_and_drops_waiting_ones() -> None:
    begun, cancelled = [], []

    async def endless(number: int) -> None:
        begun.append(number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    async with FairPool[str](2) as pool:
        for number in range(5):
            pool.submit("a", lambda number=number: endless(number))  # type: ignore[misc]
        await asyncio.sleep(0.01)
    assert begun == cancelled == [0, 1]


async def test_of_one_tenants_jobs_the_most_urgent_come_first() -> None:
    done: list[int] = []

    async def job(priority: int) -> None:
        done.append(priority)

    async with FairPool[str](1) as pool:
        for priority in (0, 0, 1, 0, 2):
            pool.submit("a", lambda priority=priority: job(priority), priority)  # type: ignore[misc]
        while len(pool):
            await asyncio.sleep(0)
    assert done == [2, 1, 0, 0, 0]


@pytest.mark.parametrize("workers", [1, 64])
async def test_jobs_that_never_suspend_yield_the_loop(workers: int) -> None:
    """Regression: ten thousand of them took one turn of the loop, seconds long."""
    done, turns = 0, 0

    async def job() -> None:
        nonlocal done
        done += 1

    async with FairPool[str](workers) as pool:
        for _ in range(100 * JOBS_A_TURN):
            pool.submit("a", lambda: job())
        most = 0
        while len(pool):
            before = done
            await asyncio.sleep(0)
            turns += 1
            most = max(most, done - before)
    assert done == 100 * JOBS_A_TURN
    assert turns >= 50
    assert most <= 2 * JOBS_A_TURN


async def test_a_delayed_job_takes_nobodys_place_and_runs_in_time() -> None:
    done: list[str] = []
    loop = asyncio.get_running_loop()

    async def job(name: str) -> None:
        done.append(name)

    began = loop.time()
    async with FairPool[str](1) as pool:
        pool.submit_after("a", lambda: job("later"), 0.02)
        pool.submit("b", lambda: job("now"))
        while len(pool):
            await asyncio.sleep(0.001)
    assert done == ["now", "later"]
    assert loop.time() - began >= 0.02


async def test_leaving_drops_delayed_jobs() -> None:
    async def job() -> None:
        raise AssertionError("it was dropped")

    async with FairPool[str](1) as pool:
        pool.submit_after("a", job, 0.001)
    pool.submit_after("a", job, 0.001)
    await asyncio.sleep(0.01)
    assert not len(pool)


async def test_an_exception_of_a_job_is_passed_to_on_error() -> None:
    told: list[tuple[str, str]] = []

    async def broken() -> None:
        raise ValueError("broken")

    async with FairPool[str](1, on_error=lambda tenant, error: told.append((tenant, str(error)))) as pool:
        pool.submit("a", broken)
        while len(pool):
            await asyncio.sleep(0)
    assert told == [("a", "broken")]


async def test_the_jobs_of_a_dropped_tenant_are_cancelled_and_those_of_others_go_on() -> None:
    done: list[str] = []
    ended: list[str] = []

    def job(name: str, seconds: float) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            try:
                await asyncio.sleep(seconds)
                done.append(name)
            finally:
                ended.append(name)

        return work

    async with FairPool[str](2) as pool:
        pool.submit("a", job("a runs", 10))
        pool.submit("b", job("b runs", 1))
        pool.submit("a", job("a waits", 1))
        pool.submit_after("a", job("a later", 1), 1)
        await asyncio.sleep(0.5)
        pool.submit("b", job("b waits", 1))
        await pool.drop({"a"})
        assert ended == ["a runs"]
        await asyncio.sleep(5)
        pool.submit("a", job("a again", 1))
        await asyncio.sleep(5)
    assert done == ["b runs", "b waits", "a again"]


async def test_a_job_that_swallows_its_end_leaves_a_worker_that_can_be_used() -> None:
    done: list[str] = []

    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        done.append("deaf")

    async def timed() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(10)
        done.append("timed")

    async with FairPool[str](1) as pool:
        pool.submit("a", deaf)
        pool.submit("b", timed)
        await asyncio.sleep(0.5)
        await pool.drop({"a"})
        await asyncio.sleep(3)
    assert done == ["deaf", "timed"]


async def test_a_pool_that_is_left_while_a_tenant_is_dropped_ends() -> None:
    async def slow_to_end() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(2)

    async with FairPool[str](1) as pool:
        pool.submit("a", slow_to_end)
        await asyncio.sleep(0.5)
        dropping = asyncio.create_task(pool.drop({"a"}))
        await asyncio.sleep(0.5)
    await asyncio.wait_for(dropping, 10)
