"""Who is told when a reservation is released."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable

import pytest

from propeller.catalog import CatalogOptions, Owner, Reservations, store_of
from propeller.clock import LoopClock
from propeller.storage import Storage, StorageOptions
from propeller.telemetry import CatalogMetrics, Causes

PATH = "p/d/t/c/i"


@pytest.fixture
async def reservations() -> AsyncIterator[Reservations]:
    options, causes = CatalogOptions(), Causes(logging.getLogger("propeller"))
    async with Storage(StorageOptions(metadata_prefix="memory://m")) as storage:
        yield Reservations(store_of(storage, options), options, LoopClock(), CatalogMetrics(), causes)


async def test_one_that_is_over_is_not_the_one_that_is_told(reservations: Reservations) -> None:
    """Regression: it was told alone, and those behind it waited for the next poll."""
    told: list[str] = []

    def waiter(name: str, *, is_over: bool = False) -> Callable[[], bool]:
        def tell() -> bool:
            told.append(name)
            return not is_over

        return tell

    assert await reservations.acquire(PATH, Owner("u0", "n0", "ns/first"), lambda: True) is None
    for name, is_over in (("over", True), ("next", False), ("last", False)):
        assert await reservations.acquire(PATH, Owner(name, "n0", f"ns/{name}"), waiter(name, is_over=is_over))
    async with reservations.running():
        reservations.release(Owner("u0", "n0", "ns/first"), computed=False)
    assert told == ["over", "next"]
