"""The watchdog, on a real loop and a clock that the test sets: it names what blocks the loop, on a busy machine too."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

import pytest

from propeller.clock import LoopClock, SystemClock
from propeller.reconcile import Watchdog, WatchdogOptions

SETTINGS = WatchdogOptions(threshold=0.05)
BLOCK = 1.0
"""Seconds that a block lasts by the test's clock."""


class SetClock(SystemClock):
    """A clock that stands until it is moved. It is taken for the machine's, so the thread that watches runs."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def monotonic(self) -> float:
        return self.time


def block_until_sampled(watchdog: Watchdog, clock: SetClock) -> None:
    """Hold the loop, and let `clock` go on, until the thread has looked."""
    samples = watchdog.sites.total()
    clock.time += BLOCK
    while watchdog.sites.total() == samples:
        time.sleep(0.001)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_code_that_blocks_the_loop_is_named_with_the_time() -> None:
    blocks: list[float] = []
    clock = SetClock()
    async with Watchdog(SETTINGS, on_block=blocks.append, clock=clock) as watchdog:
        block_until_sampled(watchdog, clock)
        await until(lambda: blocks)
    (site,) = watchdog.sites
    assert "test_watchdog.py" in site
    assert site.endswith(" block_until_sampled")
    assert blocks == [watchdog.max_lag] == [BLOCK - SETTINGS.threshold / 2]


async def test_lag_is_sampled_all_the_time_and_a_block_is_one_long_sample() -> None:
    lags: list[float] = []
    clock = SetClock()
    async with Watchdog(SETTINGS, on_lag=lags.append, clock=clock) as watchdog:
        await until(lambda: len(lags) == 3)
        due_in = watchdog.interval
        clock.time += BLOCK
        await until(lambda: watchdog.blocks)
    assert lags[:4] == [0, 0, 0, BLOCK - due_in]
    assert watchdog.max_lag == BLOCK - due_in
    assert watchdog.blocks == 1


async def test_a_site_that_blocks_twice_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = SetClock()
    with caplog.at_level(logging.WARNING):
        async with Watchdog(SETTINGS, clock=clock) as watchdog:
            for times in (1, 2):
                block_until_sampled(watchdog, clock)
                await until(lambda times=times: watchdog.blocks == times)  # type: ignore[misc]
    logged = [record for record in caplog.records if "block_until_sampled" in record.getMessage().splitlines()[0]]
    assert len(logged) == len(watchdog.sites)
    assert watchdog.sites.total() == 2


@pytest.mark.parametrize(("share", "times"), [(0.0, 5), (0.2, 5), (0.4, 1), (1.0, 1)])
async def test_a_loop_that_rests_is_looked_at_more_rarely_than_a_busy_one(share: float, times: int) -> None:
    clock = SetClock()
    looks = 0

    def look(lag: float) -> None:
        nonlocal looks
        looks += 1
        clock.time += watchdog.interval  # the next look comes when it is due, as the clock has it

    async with Watchdog(SETTINGS, on_lag=look, clock=clock, cpu=lambda: share * clock.time) as watchdog:
        await until(lambda: looks == 3)
    assert watchdog.interval == SETTINGS.threshold / 2 * times


async def test_under_virtual_time_there_is_no_watching_thread() -> None:
    async with Watchdog(SETTINGS, clock=LoopClock()):
        assert "loop watchdog" not in {thread.name for thread in threading.enumerate()}


async def test_leaving_ends_the_thread() -> None:
    async with Watchdog(SETTINGS):
        assert "loop watchdog" in {thread.name for thread in threading.enumerate()}
    assert "loop watchdog" not in {thread.name for thread in threading.enumerate()}
