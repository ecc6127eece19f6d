"""The catalog's store is the same over files, over S3, whether the server honours conditions or ignores them, in SQLite
and in PostgreSQL.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from propeller.catalog import Backend, Busy, CatalogOptions, ObjectStore, Owner, Reservations, store_of
from propeller.clock import SYSTEM_CLOCK
from propeller.storage import Storage, StorageOptions
from propeller.telemetry import CatalogMetrics, Causes
from propeller.testing import S3Server
from tests.integration.storage.conditional import ConditionalFront
from tests.integration.storage.databases import database

Place = tuple[Backend, Storage, str]

FIRST, SECOND = Owner("u1", "n0", "ns/a"), Owner("u2", "n0", "ns/b")


@pytest.fixture(
    params=[
        *("file", "memory", "s3", "s3-without-conditions", "sqlite"),
        pytest.param("postgresql", marks=pytest.mark.needs("postgres")),
    ]
)
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Place]:
    """A store, the storage beside it or that it is in, and a prefix of other blobs there."""
    if request.param in ("memory", "sqlite", "postgresql"):
        options = CatalogOptions()
        if request.param == "sqlite":
            options = CatalogOptions(backend=f"sqlite://{tmp_path}/cache.db")
        elif request.param == "postgresql":
            options = await database(request.getfixturevalue("postgres"), monkeypatch)
        async with Storage(StorageOptions(metadata_prefix="memory://m")) as storage:
            store = store_of(storage, options)
            yield store, storage, "memory://m"
            await store.close()
        return
    if request.param == "file":
        prefix = f"file://{tmp_path}"
        async with Storage(StorageOptions(metadata_prefix=prefix)) as storage:
            yield ObjectStore(storage, f"{prefix}/catalog"), storage, prefix
        return
    s3: S3Server = request.getfixturevalue("s3")
    prefix = f"s3://{s3.bucket()}/metadata"
    if request.param == "s3":
        async with ConditionalFront(s3.url).running() as url:
            settings = msgspec.structs.replace(s3.settings, s3_endpoint=url, metadata_prefix=prefix)
            async with Storage(settings) as storage:
                yield ObjectStore(storage, f"{prefix}/catalog"), storage, prefix
        return
    async with Storage(msgspec.structs.replace(s3.settings, metadata_prefix=prefix)) as storage:
        yield ObjectStore(storage, f"{prefix}/catalog"), storage, prefix


def reservations(store: Backend) -> Reservations:
    """Those of a process of its own."""
    options = CatalogOptions()
    return Reservations(store, options, SYSTEM_CLOCK, CatalogMetrics(), Causes(logging.getLogger("propeller")))


async def test_an_entry_that_was_put_is_taken_and_may_be_at_the_target_already(place: Place) -> None:
    store, storage, prefix = place
    target = f"{prefix}/e/outputs.pb"
    await store.put("p/d/t/c/i", b"data", overwrite=False)
    found = await store.take("p/d/t/c/i", target)
    assert found is not None
    assert found.data == b"data"
    if prefix.startswith("s3://"):
        assert found.copied
        assert await storage.read(target, fresh=True) == b"data"


async def test_what_is_not_there_is_none_and_leaves_nothing_at_the_target(place: Place) -> None:
    store, storage, prefix = place
    assert await store.take("p/d/t/c/none", f"{prefix}/e/outputs.pb") is None
    assert await storage.find(f"{prefix}/e/outputs.pb") is None


async def test_an_entry_is_overwritten_if_that_is_asked_for(place: Place) -> None:
    store, _, prefix = place
    for data in (b"1", b"2"):
        await store.put("p/d/t/c/i", data, overwrite=True)
    found = await store.take("p/d/t/c/i", f"{prefix}/e/outputs.pb")
    assert found is not None
    assert found.data == b"2"


async def test_a_file_and_what_is_below_a_directory_exist(place: Place) -> None:
    _, storage, prefix = place
    await storage.write(f"{prefix}/raw/d/f", b"")
    await storage.write(f"{prefix}/raw/d2", b"")
    found = [await storage.exists(f"{prefix}/raw/{name}") for name in ("d/f", "d", "d2", "d/g", "d3")]
    assert found == [True, True, True, False, False]


async def test_entries_are_listed_in_order_by_pages(place: Place) -> None:
    store, _, _ = place
    await asyncio.gather(*(store.put(f"p/d/t/c/{number:04}", b"", overwrite=False) for number in range(30)))
    assert await store.paths("p/d/t/", 12) == [f"p/d/t/c/{number:04}.pb" for number in range(12)]
    assert len(await store.paths("p/d/", 100)) == 30


async def test_a_reservation_has_one_owner_at_a_time(place: Place) -> None:
    store, _, _ = place
    one, other = reservations(store), reservations(store)
    assert await one.acquire("p/d/t/c/i", FIRST, lambda: True) is None
    busy = await other.acquire("p/d/t/c/i", SECOND, lambda: True)
    assert isinstance(busy, Busy)
    assert "ns/a computes the same" in busy.reason
    async with one.running():
        one.release(FIRST, computed=False)
    assert await other.acquire("p/d/t/c/i", SECOND, lambda: True) is None


async def test_of_many_who_reserve_at_once_one_has_it_where_conditions_are_honoured(place: Place) -> None:
    store, _, prefix = place
    owners = [Owner(f"u{number}", "n0", f"ns/{number}") for number in range(8)]
    answers = await asyncio.gather(*(reservations(store).acquire("p/d/t/c/i", owner, lambda: True) for owner in owners))
    holders = answers.count(None)
    if await store.is_exclusive():
        assert holders == 1
    else:
        assert holders >= 1
        assert prefix.startswith("s3://")


async def test_that_conditions_are_ignored_is_said(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    store, _, _ = place
    await reservations(store).acquire("p/d/t/c/i", FIRST, lambda: True)
    assert ("ignores If-None-Match" in caplog.text) is not await store.is_exclusive()
