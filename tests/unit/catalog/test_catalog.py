"""Entries in an object store: what a hit costs, which entries are not used, and why a computation is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest
from flyteidl.core import literals_pb2, tasks_pb2
from google.protobuf import json_format

from propeller.catalog import (
    Backend,
    Catalog,
    CatalogOptions,
    Entry,
    Key,
    Origin,
    _inventory,
    encode_entry,
    evict,
    explain,
    key_of,
    list_paths,
    origin_of,
    read_entries,
    store_of,
)
from propeller.clock import LoopClock
from propeller.errors import CorruptBlob
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.telemetry import CatalogMetrics
from propeller.wire import Literals, whole
from propeller.workflow import CacheStatus, Caching
from tests.unit.controller.cached import INTEGER, outputs, template

T = TypeVar("T")

TARGET = "memory://m/e/n0/data/0/outputs.pb"


class FarStore(MemoryStore):
    """Each request takes a second."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []

    async def _travel(self, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        self.requests.append(what)
        await asyncio.sleep(1.0)
        return await operation()

    async def read_version(self, uri: str, limit: int) -> tuple[bytes, str]:
        read = super().read_version
        return await self._travel("get", lambda: read(uri, limit))

    async def copy(self, source: str, target: str) -> str | None:
        copy = super().copy
        return await self._travel("copy", lambda: copy(source, target))

    async def create(self, uri: str, data: bytes) -> str | None:
        create = super().create
        return await self._travel("put", lambda: create(uri, data))

    async def delete(self, uri: str) -> None:
        delete = super().delete
        await self._travel("delete", lambda: delete(uri))


@pytest.fixture
async def far() -> AsyncIterator[tuple[FarStore, Storage, Catalog]]:
    store, options = FarStore(), CatalogOptions()
    async with Storage(StorageOptions(metadata_prefix="memory://m"), stores={"memory": store}) as storage:
        yield store, storage, Catalog(store_of(storage, options), storage, options, LoopClock(), CatalogMetrics())


def task(**changes: Any) -> tasks_pb2.TaskTemplate:
    return json_format.ParseDict(template() | changes, tasks_pb2.TaskTemplate())


async def key(x: int = 3, version: str = "1") -> Key:
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=x)))
    return await key_of(task(), Caching(version), Literals({"x": whole(literal.SerializeToString())}), 1000)


def origin(of: Key, created: float = 1.0) -> Origin:
    return Origin(of, "ns/a", "uid", "n0", 0, "v1", created)


async def test_a_hit_is_one_round_trip_and_its_outputs_are_at_the_target(
    far: tuple[FarStore, Storage, Catalog],
) -> None:
    store, storage, catalog = far
    of = await key()
    assert await catalog.put(of, outputs(9), origin(of), overwrite=False) is CacheStatus.POPULATED
    store.requests.clear()
    began = asyncio.get_running_loop().time()
    found = await catalog.look_up(of, task(), TARGET)
    assert asyncio.get_running_loop().time() - began < 2.0
    assert sorted(store.requests) == ["copy", "get"]
    assert (found.status, found.origin) == (CacheStatus.HIT, origin(of))
    assert Literals(store.blobs[TARGET]).raw.keys() == {"o0"}
    store.requests.clear()
    assert literals_pb2.LiteralMap.FromString(await storage.read(TARGET)).literals["o0"].scalar.primitive.integer == 9
    assert store.requests == []


async def test_what_is_at_the_target_is_what_was_checked_if_the_entry_changes_meanwhile(
    far: tuple[FarStore, Storage, Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, catalog = far
    of = await key()
    await catalog.put(of, outputs(9), origin(of), overwrite=False)
    (uri,) = store.blobs
    read = store.read_version

    async def changing(asked: str, limit: int) -> tuple[bytes, str]:
        found = await read(asked, limit)
        store.blobs[TARGET] = b"the copy of another version"
        return found[0], "another version"

    monkeypatch.setattr(store, "read_version", changing)
    assert (await catalog.look_up(of, task(), TARGET)).status is CacheStatus.HIT
    assert store.blobs[TARGET] == store.blobs[uri]


async def test_those_who_try_the_conditions_of_a_store_do_not_mislead_each_other() -> None:
    """Regression: one that began while another's probe was removed took the store for one that ignores conditions."""
    store, options = FarStore(), CatalogOptions()
    async with Storage(StorageOptions(metadata_prefix="memory://m"), stores={"memory": store}) as storage:
        for same in (True, False):
            first = store_of(storage, options)
            second = first if same else store_of(storage, options)

            async def late(of: Backend) -> bool:
                await asyncio.sleep(1.5)
                return await of.is_exclusive()

            assert all(await asyncio.gather(first.is_exclusive(), late(second)))
            assert not store.blobs


async def test_the_first_outputs_of_a_computation_stay(far: tuple[FarStore, Storage, Catalog]) -> None:
    store, _, catalog = far
    of = await key()
    for value in (9, 10):
        assert await catalog.put(of, outputs(value), origin(of), overwrite=False) is CacheStatus.POPULATED
    (entry,) = store.blobs.values()
    assert literals_pb2.LiteralMap.FromString(entry).literals["o0"].scalar.primitive.integer == 9


WRONG = {
    "another type": {"interface": {"outputs": {"variables": {"o0": {"type": {"simple": "STRING"}}}}}},
    "one output more": {"interface": {"outputs": {"variables": {"o0": INTEGER, "o1": INTEGER}}}},
    "no output": {"interface": {"outputs": {"variables": {"o1": INTEGER}}}},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
async def test_outputs_that_are_not_the_tasks_are_a_miss_and_removed(
    far: tuple[FarStore, Storage, Catalog], changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    store, _, catalog = far
    of = await key()
    await catalog.put(of, outputs(9), origin(of), overwrite=False)
    assert (await catalog.look_up(of, task(**changes), TARGET)).status is CacheStatus.MISS
    assert not store.blobs
    assert "are not used, and removed: it is invalid" in caplog.text


async def test_an_item_of_a_map_task_has_one_of_the_values_that_are_declared_as_a_list(
    far: tuple[FarStore, Storage, Catalog],
) -> None:
    _, _, catalog = far
    of = await key()
    of_map = task(interface={"outputs": {"variables": {"o0": {"type": {"collectionType": {"simple": "INTEGER"}}}}}})
    await catalog.put(of, outputs(9), origin(of), overwrite=False)
    assert (await catalog.look_up(of, of_map, TARGET, is_item=True)).status is CacheStatus.HIT
    assert (await catalog.look_up(of, of_map, TARGET)).status is CacheStatus.MISS


async def test_an_entry_that_is_moved_to_another_key_is_not_used(far: tuple[FarStore, Storage, Catalog]) -> None:
    store, _, catalog = far
    await catalog.put(await key(3), outputs(9), origin(await key(3)), overwrite=False)
    (uri,) = store.blobs
    other = await key(4)
    store.blobs = {f"memory://m/catalog/{other.path}.pb": store.blobs[uri]}
    assert (await catalog.look_up(other, task(), TARGET)).status is CacheStatus.MISS


async def test_outputs_over_the_limit_are_not_cached() -> None:
    options = CatalogOptions()
    settings = StorageOptions(metadata_prefix="memory://m", max_blob_bytes=100)
    async with Storage(settings) as storage:
        catalog = Catalog(store_of(storage, options), storage, options, LoopClock(), CatalogMetrics())
        of = await key()
        assert await catalog.put(of, outputs(9), origin(of), overwrite=False) is CacheStatus.PUT_FAILURE


async def test_an_entry_says_where_it_comes_from_and_a_forged_one_is_refused() -> None:
    of = await key()
    entry = encode_entry(Literals(outputs(9)), origin(of), 10_000, "uri")
    assert origin_of(entry) == origin(of)
    assert origin_of(outputs(9)) is None
    for forged in (b"{", b"null", b'{"key": 1}', b"[" * 100_000):
        with pytest.raises(CorruptBlob):
            origin_of(b"\xc2\x3e" + _varint(len(forged)) + forged)


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes((*digits, number))


async def test_a_miss_is_explained_by_the_entry_that_differs_least(far: tuple[FarStore, Storage, Catalog]) -> None:
    _, storage, catalog = far
    store = store_of(storage, CatalogOptions())
    assert (await explain(store, await key())).nearest is None
    for created, other in enumerate((await key(4), await key(5, "2"), await key(6))):
        await catalog.put(other, outputs(9), origin(other, float(created)), overwrite=False)
    found = await explain(store, await key(3))
    assert (found.hit, found.entries) == (False, 3)
    assert [one.part for one in found.differences] == ["input x"]
    assert found.nearest is not None
    assert found.nearest.origin == origin(await key(6), 2.0)  # the latest of those that differ alike
    versions = await explain(store, await key(4, "3"))
    assert [(one.part, one.here, one.there) for one in versions.differences] == [("cache version", "3", "1")]
    assert (await explain(store, await key(4))).hit


async def test_entries_are_listed_and_removed_and_what_cannot_be_read_is_shown(
    far: tuple[FarStore, Storage, Catalog],
) -> None:
    memory, storage, catalog = far
    store = store_of(storage, CatalogOptions())
    of = await key()
    await catalog.put(of, outputs(9), origin(of), overwrite=False)
    memory.blobs["memory://m/catalog/p/d/t/c/i.pb"] = b"garbage"
    paths, _ = await list_paths(store, "p/d/t/", 10)
    entries = {entry.path: entry for entry in await read_entries(store, paths)}
    assert entries[of.path].origin == origin(of)
    assert entries["p/d/t/c/i"].origin is None
    assert entries["p/d/t/c/i"].problem
    assert await evict(store, "p/d/t/") == (paths, False)
    assert await list_paths(store, "", 10) == ([], False)


async def test_all_entries_of_a_task_are_removed_however_many_are_listed_at_once(
    far: tuple[FarStore, Storage, Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_inventory, "MAX_LISTED", 3)
    memory, storage, _ = far
    store = store_of(storage, CatalogOptions())
    below = "memory://m/catalog/p/d/t/c"
    memory.blobs |= {f"{below}/{number}.pb": b"" for number in range(7)} | {f"{below}/8.reservation": b""}
    assert (await evict(store, "p/d/t/", dry_run=True)).more
    evicted = await evict(store, "p/d/t/")
    assert (len(evicted.entries), evicted.more) == (7, False)
    assert list(memory.blobs) == [f"{below}/8.reservation"]


async def test_of_more_entries_than_are_read_the_others_are_said_to_be_there(
    far: tuple[FarStore, Storage, Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_inventory, "MAX_READ", 3)
    memory, storage, _ = far
    store = store_of(storage, CatalogOptions())
    memory.blobs |= {f"memory://m/catalog/p/d/t/c/{number}.pb": b"" for number in range(7)}
    asked: list[str] = []

    def is_meant(entry: Entry) -> bool:
        asked.append(entry.path)
        return entry.path.endswith("1")

    assert await evict(store, "p/d/t/", is_meant) == (["p/d/t/c/1"], True)
    assert len(asked) == 3


async def test_a_hit_is_explained_however_many_entries_are_before_it(
    far: tuple[FarStore, Storage, Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_inventory, "MAX_LISTED", 2)
    _, storage, catalog = far
    store = store_of(storage, CatalogOptions())
    keys = [await key(number) for number in range(5)]
    for of in keys:
        await catalog.put(of, outputs(9), origin(of), overwrite=False)
    assert all([(await explain(store, of)).hit for of in keys])
