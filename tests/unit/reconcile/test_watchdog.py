"""The watchdog, on a real loop: it names what blocks it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from propeller.clock import LoopClock
from propeller.config import Watchdog as WatchdogSettings
from propeller.reconcile import Watchdog

SETTINGS = WatchdogSettings(threshold=0.05)


def block_until_sampled(watchdog: Watchdog, samples: int) -> None:
    """Hold the loop until the thread has looked, however slow the machine is."""
    while watchdog.sites.total() < samples:
        time.sleep(0.01)


async def test_what_blocks_the_loop_is_named_with_its_length() -> None:
    blocks: list[float] = []
    async with Watchdog(SETTINGS, on_block=blocks.append) as watchdog:
        await asyncio.sleep(0.01)
        block_until_sampled(watchdog, 1)
        while not watchdog.blocks:
            await asyncio.sleep(0.01)
    (site,) = list(watchdog.sites)[:1]
    assert "test_watchdog.py" in site
    assert site.endswith(" block_until_sampled")
    assert max(blocks) == watchdog.max_lag > SETTINGS.threshold


async def test_lag_is_sampled_all_the_time_and_a_block_is_one_long_sample() -> None:
    lags: list[float] = []
    async with Watchdog(SETTINGS, on_lag=lags.append) as watchdog:
        while len(lags) < 3:
            await asyncio.sleep(0.01)
        time.sleep(SETTINGS.threshold * 4)  # from rest
        while watchdog.blocks == 0:
            await asyncio.sleep(0.01)
    assert min(lags) >= 0
    assert max(lags) == watchdog.max_lag > SETTINGS.threshold


async def test_a_site_that_blocks_twice_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with Watchdog(SETTINGS) as watchdog:
            for samples in (1, 2):
                await asyncio.sleep(0.2)
                block_until_sampled(watchdog, samples)
    logged = [record for record in caplog.records if "block_until_sampled" in record.getMessage().splitlines()[0]]
    assert len(logged) == len([site for site in watchdog.sites if "block_until_sampled" in site])
    assert watchdog.sites.total() >= 2


async def test_a_loop_that_rests_is_looked_at_more_rarely_than_a_busy_one() -> None:
    lags: list[float] = []
    async with Watchdog(SETTINGS, on_lag=lags.append):
        await asyncio.sleep(SETTINGS.threshold * 10)
        resting = len(lags)
        until = time.monotonic() + SETTINGS.threshold * 20
        while time.monotonic() < until:
            await asyncio.sleep(0)  # busy, and never for long in one piece
    assert len(lags) - resting > 2 * resting > 0


async def test_under_virtual_time_there_is_no_watching_thread() -> None:
    async with Watchdog(SETTINGS, clock=LoopClock()):
        assert "loop watchdog" not in {thread.name for thread in threading.enumerate()}


async def test_leaving_ends_the_thread() -> None:
    async with Watchdog(SETTINGS):
        assert "loop watchdog" in {thread.name for thread in threading.enumerate()}
    assert "loop watchdog" not in {thread.name for thread in threading.enumerate()}
