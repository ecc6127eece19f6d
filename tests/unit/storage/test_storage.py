"""One reader and writer for all schemes: limits, deadlines, the cache, and reads at the same time."""

from __future__ import annotations

import asyncio
import builtins
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import CorruptBlob, Invalid, MissingBlob, StorageError
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.storage._cache import OVERHEAD_BYTES, TTL_SECONDS, Cache


class SlowStore(MemoryStore):
    """Counts reads; each waits until `go` is set."""

    def __init__(self, **blobs: bytes) -> None:
        super().__init__({f"slow://{name}": data for name, data in blobs.items()})
        self.go = asyncio.Event()
        self.reads = 0
        self.closed = False
        self.fails: Exception | None = None

    async def read(self, uri: str, limit: int) -> bytes:
        self.reads += 1
        before = self.blobs.get(uri)
        await self.go.wait()
        if self.fails is not None:
            raise self.fails
        if before is None:
            raise MissingBlob(uri)
        return before

    async def aclose(self) -> None:
        self.closed = True


def storage_on(store: SlowStore, **settings: Any) -> Storage:
    return Storage(StorageOptions(**settings), stores={"slow": store})


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_memory_keeps_blobs_for_as_long_as_the_process_wants() -> None:
    blobs: dict[str, bytes] = {}
    async with Storage(stores={"memory": MemoryStore(blobs)}) as storage:
        await storage.write("memory://m/a", b"data")
    async with Storage(stores={"memory": MemoryStore(blobs)}) as storage:
        assert await storage.read("memory://m/a") == b"data"
        with pytest.raises(MissingBlob, match="memory://m/b"):
            await storage.read("memory://m/b")


async def test_memory_refuses_a_blob_over_the_limit() -> None:
    blobs = {"memory://m/a": b"1234"}
    async with Storage(StorageOptions(max_blob_bytes=3), stores={"memory": MemoryStore(blobs)}) as storage:
        with pytest.raises(CorruptBlob, match="4 bytes, over the limit of 3"):
            await storage.read("memory://m/a")


@pytest.mark.parametrize("uri", ["gs://bucket/key", "/plain/path", "", "://", "S3://bucket/key", "http://host/x"])
async def test_an_unknown_scheme_is_invalid_and_the_message_has_the_known_ones(uri: str) -> None:
    async with Storage() as storage:
        for refused in (storage.read(uri), storage.write(uri, b"")):
            with pytest.raises(Invalid, match=r"one of file://, memory://, s3://"):
                await refused


async def test_a_blob_is_read_once_within_a_short_time() -> None:
    store = SlowStore(a=b"data")
    store.go.set()
    async with storage_on(store) as storage:
        for _ in range(3):
            assert await storage.read("slow://a") == b"data"
    assert store.reads == 1
    assert store.closed


async def test_a_missing_blob_is_asked_for_again() -> None:
    store = SlowStore()
    store.go.set()
    async with storage_on(store) as storage:
        with pytest.raises(MissingBlob):
            await storage.read("slow://a")
        store.blobs["slow://a"] = b"now"
        assert await storage.read("slow://a") == b"now"


async def test_a_write_is_visible_to_the_next_read() -> None:
    store = SlowStore(a=b"old")
    store.go.set()
    async with storage_on(store) as storage:
        await storage.read("slow://a")
        await storage.write("slow://a", b"new")
        assert await storage.read("slow://a") == b"new"
    assert store.reads == 1


async def test_a_fresh_read_sees_what_another_process_wrote_and_so_do_later_ones() -> None:
    store = SlowStore(a=b"old")
    store.go.set()
    async with storage_on(store) as storage:
        await storage.read("slow://a")
        store.blobs["slow://a"] = b"new"
        assert await storage.read("slow://a") == b"old"
        assert await storage.read("slow://a", fresh=True) == b"new"
        assert await storage.read("slow://a") == b"new"


async def test_reads_at_the_same_time_are_one() -> None:
    store = SlowStore(a=b"data")
    async with storage_on(store, cache_bytes=0) as storage, asyncio.TaskGroup() as group:
        tasks = [group.create_task(storage.read("slow://a")) for _ in range(20)]
        await settle()
        store.go.set()
    assert [task.result() for task in tasks] == [b"data"] * 20
    assert store.reads == 1


async def test_readers_at_the_same_time_share_a_failure() -> None:
    store = SlowStore()
    store.fails = StorageError("down")
    async with storage_on(store) as storage:
        tasks = [asyncio.create_task(storage.read("slow://a")) for _ in range(5)]
        await settle()
        store.go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == ["down"] * 5
    assert store.reads == 1


async def test_a_reader_that_is_cancelled_leaves_the_read_to_the_others() -> None:
    store = SlowStore(a=b"data")
    async with storage_on(store) as storage:
        first, second, third = (asyncio.create_task(storage.read("slow://a")) for _ in range(3))
        await settle()
        second.cancel()
        await settle()
        first.cancel()
        await settle()
        store.go.set()
        assert await third == b"data"
        assert first.cancelled()
        assert second.cancelled()


async def test_a_fresh_read_does_not_join_one_that_began_before() -> None:
    store = SlowStore(a=b"old")
    async with storage_on(store) as storage:
        before = asyncio.create_task(storage.read("slow://a"))
        await settle()
        store.blobs["slow://a"] = b"new"
        fresh = asyncio.create_task(storage.read("slow://a", fresh=True))
        await settle()
        store.go.set()
        assert (await before, await fresh) == (b"old", b"new")
        assert await storage.read("slow://a") == b"new"


async def test_a_read_that_a_write_has_overtaken_is_not_kept() -> None:
    store = SlowStore(a=b"old")
    async with storage_on(store) as storage:
        before = asyncio.create_task(storage.read("slow://a"))
        await settle()
        await storage.write("slow://a", b"new")
        store.go.set()
        assert await before == b"old"
        assert await storage.read("slow://a") == b"new"


async def test_after_a_failed_write_the_store_is_asked() -> None:
    class Failing(SlowStore):
        async def write(self, uri: str, data: bytes) -> None:
            self.blobs[uri] = data
            raise StorageError("the answer was lost")

    store = Failing(a=b"old")
    store.go.set()
    async with storage_on(store) as storage:
        await storage.read("slow://a")
        with pytest.raises(StorageError):
            await storage.write("slow://a", b"new")
        assert await storage.read("slow://a") == b"new"


async def test_a_read_over_its_deadline_ends_for_all_waiters() -> None:
    store = SlowStore(a=b"data")
    async with storage_on(store, deadline=0.01) as storage:
        results = await asyncio.gather(*(storage.read("slow://a") for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, StorageError) for result in results)
    assert "slow://a was not read within 0.01 s (storage.deadline)" in str(results[0])


async def test_a_write_that_takes_too_long_ends() -> None:
    class Hanging(SlowStore):
        async def write(self, uri: str, data: bytes) -> None:
            await self.go.wait()

    async with storage_on(Hanging(), deadline=0.01) as storage:
        with pytest.raises(StorageError, match="slow://a was not written within"):
            await storage.write("slow://a", b"")


async def test_s3_without_aiobotocore_is_invalid_and_says_how_to_get_it(monkeypatch: Any) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("aiobotocore"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    async with Storage() as storage:
        with pytest.raises(Invalid, match=r"pip install 'propeller\[s3\]'"):
            await storage.read("s3://bucket/key")


@pytest.mark.parametrize("uri", ["s3://", "s3://bucket", "s3://bucket/", "s3:///key"])
async def test_an_s3_uri_without_bucket_or_key_is_invalid(uri: str) -> None:
    async with Storage() as storage:
        with pytest.raises(Invalid, match="s3://bucket/some/key"):
            await storage.read(uri)


Step = tuple[str, str, int]
steps = st.lists(
    st.tuples(st.sampled_from(["put", "get", "discard"]), st.sampled_from("abcdef"), st.integers(0, 400)), max_size=60
)


@given(steps=steps, capacity=st.integers(0, 3000))
def test_the_cache_never_exceeds_its_capacity_and_never_answers_with_anything_but_the_last_put(
    steps: list[Step], capacity: int
) -> None:
    async def run() -> None:
        cache, last = Cache(capacity), dict[str, bytes]()
        for what, uri, size in steps:
            match what:
                case "put":
                    last[uri] = bytes(size)
                    cache.put(uri, last[uri])
                case "discard":
                    cache.discard(uri)
                    last.pop(uri, None)
                case _:
                    assert cache.get(uri) in (None, last.get(uri))
            assert 0 <= cache.size <= capacity

    asyncio.run(run())


async def test_the_cache_evicts_the_least_recently_used_blob() -> None:
    cache = Cache(4 * (OVERHEAD_BYTES + 1))
    for uri in "abcd":
        cache.put(uri, b"")
    cache.get("a")
    cache.put("e", b"")
    assert [uri for uri in "abcde" if cache.get(uri) is not None] == ["a", "c", "d", "e"]


async def test_one_large_blob_does_not_drive_everything_else_out() -> None:
    cache = Cache(100_000)
    cache.put("small", b"data")
    cache.put("large", bytes(90_000))
    assert cache.get("large") is None
    assert cache.get("small") == b"data"


async def test_cached_blobs_expire(monkeypatch: Any) -> None:
    cache = Cache(10_000)
    cache.put("a", b"data")
    loop = asyncio.get_running_loop()
    later = loop.time() + TTL_SECONDS
    monkeypatch.setattr(loop, "time", lambda: later)
    assert cache.get("a") is None
    assert cache.size == 0


@pytest.mark.parametrize("is_local", [True, False])
async def test_find_bypasses_the_cache_and_returns_none_if_the_blob_is_missing(is_local: bool) -> None:
    blobs = {"memory://m/a": b"old"}
    async with Storage(stores={"memory": MemoryStore(blobs, is_local=is_local)}) as storage:
        assert await storage.read("memory://m/a") == b"old"
        blobs["memory://m/a"] = b"new"  # by another process
        assert await storage.find("memory://m/a") == b"new"
        assert await storage.read("memory://m/a") == b"new"
        assert await storage.find("memory://m/b") is None


async def test_a_blob_that_find_missed_is_not_read_from_the_cache() -> None:
    blobs = {"memory://m/a": b"old"}
    async with Storage(stores={"memory": MemoryStore(blobs, is_local=True)}) as storage:
        await storage.read("memory://m/a")
        del blobs["memory://m/a"]
        assert await storage.find("memory://m/a") is None
        with pytest.raises(MissingBlob, match="memory://m/a"):
            await storage.read("memory://m/a")


async def test_to_look_for_a_blob_in_a_store_that_fails_is_an_error() -> None:
    store = SlowStore()
    store.go.set()
    store.fails = StorageError("away")
    async with storage_on(store) as storage:
        with pytest.raises(StorageError, match="away"):
            await storage.find("slow://a")
