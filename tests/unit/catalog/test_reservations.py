"""Who is told when a reservation is released."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from propeller.catalog import CatalogOptions, Owner, Reservations, store_of
from propeller.clock import LoopClock
from propeller.storage import Storage, StorageOptions
from propeller.telemetry import CatalogMetrics, Causes

PATH = "p/d/t/c/i"
BLOB = f"memory://m/catalog/{PATH}.reservation"
OWNER = Owner("u0", "n0", "ns/first")


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    async with Storage(StorageOptions(metadata_prefix="memory://m")) as storage:
        yield storage


@pytest.fixture
def reservations(storage: Storage) -> Reservations:
    options, causes = CatalogOptions(), Causes(logging.getLogger("propeller"))
    return Reservations(store_of(storage, options), options, LoopClock(), CatalogMetrics(), causes)


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


DEEP = b'{"owner": "u/n", "execution": "e", "node": "n", "renewed": 1.0, "ttl": 60.0, "x": %b}' % (
    b"[" * 5000 + b"]" * 5000
)


async def test_a_reservation_that_nobody_can_read_is_taken_over(reservations: Reservations, storage: Storage) -> None:
    for data in (DEEP, b'{"owner": "\xff"}', b"[]", b""):
        await storage.write(BLOB, data)
        assert await reservations.acquire(PATH, OWNER, lambda: True) is None
        reservations.forget(OWNER.uid, is_over=False)


async def test_one_that_somebody_has_spoilt_keeps_no_other_from_being_renewed(
    reservations: Reservations, storage: Storage
) -> None:
    other = Owner("u1", "n0", "ns/other")
    async with reservations.running():
        assert await reservations.acquire(PATH, OWNER, lambda: True) is None
        assert await reservations.acquire(f"{PATH}2", other, lambda: True) is None
        first = await storage.read(f"{BLOB[:-12]}2.reservation", fresh=True)
        await storage.write(BLOB, DEEP)
        await asyncio.sleep(2 * CatalogOptions().reservation_ttl)
        assert await storage.read(f"{BLOB[:-12]}2.reservation", fresh=True) != first
        assert reservations.count == 1


async def test_a_defect_of_one_renewal_keeps_no_other_from_being_made(
    reservations: Reservations, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[str] = []
    replace = storage.replace

    async def fails_at_first(uri: str, data: bytes, version: str) -> str | None:
        if uri == BLOB and not failed:
            failed.append(uri)
            raise ZeroDivisionError
        return await replace(uri, data, version)

    monkeypatch.setattr(storage, "replace", fails_at_first)
    async with reservations.running():
        assert await reservations.acquire(PATH, OWNER, lambda: True) is None
        first = await storage.read(BLOB, fresh=True)
        await asyncio.sleep(2 * CatalogOptions().reservation_ttl)
        assert failed
        assert await storage.read(BLOB, fresh=True) != first


@pytest.mark.parametrize("ends", ["deleted", "ended"])
async def test_a_node_that_ends_while_the_store_is_asked_holds_nothing(
    reservations: Reservations, storage: Storage, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Found by the simulation: the reservation was renewed for ever, and whoever would compute the same waited."""
    create = storage.create

    async def slowly(uri: str, data: bytes) -> str | None:
        await asyncio.sleep(1.0)
        return await create(uri, data)

    monkeypatch.setattr(storage, "create", slowly)
    async with reservations.running():
        asking = asyncio.create_task(reservations.acquire(PATH, OWNER, lambda: True))
        await asyncio.sleep(0.5)
        if ends == "deleted":
            reservations.forget(OWNER.uid, is_over=True)
        else:
            assert reservations.count
            reservations.release(OWNER, computed=False)
        assert await asking is None
        await asyncio.sleep(5.0)
        assert not reservations.count
        assert await reservations.acquire(PATH, Owner("u1", "n0", "ns/other"), lambda: True) is None
