"""Ended workflows are collected when their time is over, and not before."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from propeller.clock import rfc3339
from propeller.config import ControllerOptions
from propeller.errors import NotFound
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import task

TTL = 3600.0


def lasting(of: Bench, ttl: float) -> Bench:
    """The bench, with another time to live."""
    settings = msgspec.structs.replace(of.settings, controller=ControllerOptions(ttl=ttl))
    return Bench(of.user, of.clock, of.server, of.storage, settings)


async def is_there(of: Bench) -> bool:
    try:
        await of.user.get(WORKFLOWS, "w", "ns")
    except NotFound:
        return False
    return True


async def end(of: Bench) -> None:
    status = {"phase": 5, "stoppedAt": rfc3339(of.clock.now())}
    await of.user.patch(WORKFLOWS, "w", "ns", body={"status": status}, subresource="status")


async def test_an_ended_workflow_stays_for_its_time_and_goes_with_its_pods() -> None:
    async with bench() as plain:
        of = lasting(plain, TTL)
        async with of.controller():
            await of.create(task("a", executionDeadline="10s"))
            await asyncio.sleep(60.0)
            assert (await of.status())["state"] == "Failed"
            await asyncio.sleep(TTL - 120.0)
            assert await is_there(of)
            await asyncio.sleep(120.0)
            assert not await is_there(of)
            assert not await of.pods()


async def test_the_time_is_counted_over_a_restart_from_the_end_that_the_status_names() -> None:
    async with bench() as plain:
        of = lasting(plain, TTL)
        await of.create(task("a"))
        await end(of)
        await asyncio.sleep(TTL / 2)
        async with of.controller():
            await asyncio.sleep(TTL / 2 - 60.0)
            assert await is_there(of)
            await asyncio.sleep(120.0)
            assert not await is_there(of)


async def test_with_no_time_to_live_it_stays_for_ever() -> None:
    async with bench() as plain:
        of = lasting(plain, 0.0)
        await of.create(task("a"))
        await end(of)
        async with of.controller():
            await asyncio.sleep(100 * TTL)
            assert await is_there(of)


async def test_one_that_runs_is_not_collected_however_old() -> None:
    async with bench() as plain:
        of = lasting(plain, TTL)
        await of.create(task("a"))
        async with of.controller():
            await asyncio.sleep(10 * TTL)
            assert await is_there(of)


@pytest.mark.parametrize("stopped", [None, 7, "yesterday"])
async def test_where_a_status_does_not_say_when_it_ended_its_creation_counts(stopped: object) -> None:
    async with bench() as plain:
        of = lasting(plain, TTL)
        await of.create(task("a"))
        await of.user.patch(
            WORKFLOWS, "w", "ns", body={"status": {"phase": 3, "stoppedAt": stopped}}, subresource="status"
        )
        async with of.controller():
            await asyncio.sleep(TTL - 60.0)
            assert await is_there(of)
            await asyncio.sleep(120.0)
            assert not await is_there(of)
