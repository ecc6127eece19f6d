"""Conditional writes, copies and lists are the same in each store that a catalog may be in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from propeller.errors import CorruptBlob, Invalid, StorageError, TooLarge
from propeller.storage import MemoryStore, Storage, StorageOptions, Store
from propeller.storage._files import INLINE_BYTES


@pytest.fixture(params=["memory", "file"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Storage, str]]:
    """A storage, and a prefix of blobs in it."""
    prefix = "memory://m" if request.param == "memory" else f"file://{tmp_path}/metadata"
    async with Storage(StorageOptions(metadata_prefix=prefix), stores={"memory": MemoryStore()}) as storage:
        yield storage, prefix


@pytest.mark.parametrize("size", [1, INLINE_BYTES + 1])
async def test_of_those_who_create_a_blob_at_once_one_does(place: tuple[Storage, str], size: int) -> None:
    storage, prefix = place
    uri = f"{prefix}/a/b"
    created = await asyncio.gather(*(storage.create(uri, b"%d" % number * size) for number in range(10)))
    (winner,) = [number for number, version in enumerate(created) if version is not None]
    assert await storage.read(uri) == b"%d" % winner * size


async def test_a_file_in_the_place_of_a_directory_is_no_blob_that_another_created(tmp_path: Path) -> None:
    """Regression: it read as "there is one", so that a reservation waited for a holder that does not exist."""
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "a").write_bytes(b"")
    async with Storage(StorageOptions(metadata_prefix=f"file://{tmp_path}/metadata")) as storage:
        with pytest.raises(CorruptBlob, match="a file is where a directory should be: move the file away"):
            await storage.create(f"file://{tmp_path}/metadata/a/b", b"1")


async def test_a_blob_is_replaced_only_at_its_version(place: tuple[Storage, str]) -> None:
    storage, prefix = place
    uri = f"{prefix}/a"
    version = await storage.create(uri, b"1")
    assert version is not None
    assert await storage.read_version(uri) == (b"1", version)
    following = await storage.replace(uri, b"2", version)
    assert following not in (None, version)
    assert await storage.replace(uri, b"3", version) is None
    assert await storage.read(uri, fresh=True) == b"2"


async def test_what_is_not_there_has_no_version_is_not_replaced_and_not_copied(place: tuple[Storage, str]) -> None:
    storage, prefix = place
    assert await storage.read_version(f"{prefix}/a/none") is None
    assert await storage.replace(f"{prefix}/a/none", b"1", "version") is None
    assert await storage.copy(f"{prefix}/a/none", f"{prefix}/b") is None
    assert await storage.find(f"{prefix}/b") is None


async def test_what_was_cached_is_not_used_after_a_write_whose_answer_is_lost() -> None:
    """Regression: only writes and deletes forgot what was cached if they failed."""

    class Unanswered(MemoryStore):
        async def replace(self, uri: str, data: bytes, version: str) -> str | None:
            await super().replace(uri, data, version)
            raise StorageError("the connection broke")

    async with Storage(StorageOptions(metadata_prefix="memory://m"), stores={"memory": Unanswered()}) as storage:
        await storage.write("memory://m/a", b"old")
        found = await storage.read_version("memory://m/a")
        assert found is not None
        with pytest.raises(StorageError):
            await storage.replace("memory://m/a", b"new", found[1])
        assert await storage.read("memory://m/a") == b"new"


async def test_a_copy_has_the_version_of_what_was_copied_and_replaces_what_was_cached(
    place: tuple[Storage, str],
) -> None:
    storage, prefix = place
    version = await storage.create(f"{prefix}/a", b"new")
    await storage.write(f"{prefix}/b", b"old")
    assert await storage.copy(f"{prefix}/a", f"{prefix}/b") == version
    assert await storage.read(f"{prefix}/b") == b"new"


async def test_a_list_has_what_begins_with_the_prefix_in_order_and_no_more_than_asked(
    place: tuple[Storage, str],
) -> None:
    storage, prefix = place
    for name in ("p/t/2", "p/t/1", "p/t/d/3", "p/tt/4", "q/5"):
        await storage.write(f"{prefix}/{name}", b"")
    assert await storage.list_blobs(f"{prefix}/p/t/", 10) == [f"{prefix}/p/t/{name}" for name in ("1", "2", "d/3")]
    assert len(await storage.list_blobs(f"{prefix}/p/t", 2)) == 2
    assert await storage.list_blobs(f"{prefix}/none/", 10) == []


async def test_a_blob_exists_and_so_does_what_has_blobs_below_it(place: tuple[Storage, str]) -> None:
    storage, prefix = place
    await storage.write(f"{prefix}/d/f", b"")
    assert await storage.exists(f"{prefix}/d/f")
    assert await storage.exists(f"{prefix}/d")
    assert not await storage.exists(f"{prefix}/d/g")


async def test_too_large_a_blob_is_not_created() -> None:
    async with Storage(StorageOptions(metadata_prefix="memory://m", max_blob_bytes=3)) as storage:
        with pytest.raises(TooLarge, match="over the limit of"):
            await storage.create("memory://m/a", b"1234")


async def test_a_store_that_knows_no_conditions_is_named() -> None:
    class Plain:
        """Only what every store has."""

        is_local = False

        def __init__(self) -> None:
            whole = MemoryStore()
            self.read_now, self.write_now = whole.read_now, whole.write_now
            self.read, self.write, self.delete, self.aclose = whole.read, whole.write, whole.delete, whole.aclose

    plain: Store = Plain()
    async with Storage(stores={"plain": plain}) as storage:
        with pytest.raises(Invalid, match="without conditional writes"):
            await storage.create("plain://a", b"")
