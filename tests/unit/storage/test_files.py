"""Blobs in files."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from propeller.errors import CorruptBlob, Invalid, MissingBlob, StorageError, TooLarge
from propeller.storage import Storage, StorageOptions, own_directory
from propeller.storage._files import INLINE_BYTES, FileStore

NO_CACHE = StorageOptions(cache_bytes=0)


def uri(path: Path) -> str:
    return f"file://{path}"


async def test_a_written_blob_is_read_back(tmp_path: Path) -> None:
    async with Storage(NO_CACHE) as storage:
        await storage.write(uri(tmp_path / "made" / "on" / "the" / "way" / "outputs.pb"), b"data")
        assert await storage.read(uri(tmp_path / "made" / "on" / "the" / "way" / "outputs.pb")) == b"data"


@pytest.mark.parametrize("size", [0, 1, INLINE_BYTES, INLINE_BYTES + 1, 3 * INLINE_BYTES])
async def test_any_size_up_to_the_limit_comes_back_whole(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    async with Storage(StorageOptions(cache_bytes=0, max_blob_bytes=3 * INLINE_BYTES)) as storage:
        await storage.write(uri(tmp_path / "blob"), data)
        assert await storage.read(uri(tmp_path / "blob")) == data


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_a_name_of_any_characters_is_the_file_of_that_name(tmp_path: Path, name: str) -> None:
    if name in {".", ".."}:
        return
    async with Storage(NO_CACHE) as storage:
        await storage.write(f"file://{tmp_path}/{name}", name.encode())
        assert (tmp_path / name).read_bytes() == name.encode()
        assert await storage.read(f"file://{tmp_path}/{name}") == name.encode()


async def test_percent_signs_stay_as_they_are_because_tasks_do_not_decode_them(tmp_path: Path) -> None:
    async with Storage(NO_CACHE) as storage:
        await storage.write(uri(tmp_path / "a%20b"), b"data")
    assert (tmp_path / "a%20b").read_bytes() == b"data"


async def test_a_missing_file_is_a_missing_blob_even_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    async with Storage(NO_CACHE) as storage:
        for path in (tmp_path / "none", tmp_path / "none" / "at" / "all", tmp_path / "file" / "below"):
            with pytest.raises(MissingBlob, match=str(path)):
                await storage.read(uri(path))


async def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    monkeypatch.setattr(os, "read", lambda descriptor, size: pytest.fail("it was read"))
    async with Storage(NO_CACHE) as storage:
        with pytest.raises(CorruptBlob, match=r"huge has 1099511627776 bytes.*storage\.max_blob_bytes"):
            await storage.read(uri(tmp_path / "huge"))


async def test_a_file_that_grows_while_it_is_read_is_read_no_further_than_the_limit() -> None:
    """Files of /proc say that they are empty, and then have content."""
    async with Storage(StorageOptions(max_blob_bytes=100)) as storage:
        with pytest.raises(CorruptBlob, match="over the limit of 100"):
            await storage.read("file:///proc/self/smaps")
        assert await storage.read("file:///proc/self/comm")


async def test_a_blob_over_the_limit_is_not_written(tmp_path: Path) -> None:
    async with Storage(StorageOptions(max_blob_bytes=3)) as storage:
        with pytest.raises(TooLarge, match=r"4 bytes.*storage\.max_blob_bytes"):
            await storage.write(uri(tmp_path / "blob"), b"1234")
    assert not list(tmp_path.iterdir())


async def test_readers_see_the_old_blob_or_the_new_one_and_never_half_of_one(tmp_path: Path) -> None:
    place, blobs = tmp_path / "blob", {bytes([letter]) * 1_000_000 for letter in b"ab"}
    place.write_bytes(min(blobs))
    stop, seen = threading.Event(), set[bytes]()

    def look() -> None:
        while not stop.is_set():
            seen.add(place.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    try:
        async with Storage(NO_CACHE) as storage:
            for _ in range(10):
                for blob in blobs:
                    await storage.write(uri(place), blob)
    finally:
        stop.set()
        reader.join()
    assert seen <= blobs


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "disk is full: free some space"),
        (errno.EDQUOT, "quota is used up"),
        (errno.EROFS, "mounted read-only"),
        (errno.EACCES, "permission denied: give this user the right"),
        (errno.EIO, "Input/output error"),
    ],
)
async def test_a_failed_write_says_how_to_mend_it_and_leaves_no_file(
    tmp_path: Path, monkeypatch: Any, number: int, cure: str
) -> None:
    def fail(descriptor: int, data: object) -> int:
        raise OSError(number, os.strerror(number))

    async with Storage(NO_CACHE) as storage:
        await storage.write(uri(tmp_path / "blob"), b"before")
        monkeypatch.setattr(os, "write", fail)
        with pytest.raises(StorageError, match=f"{tmp_path}/blob cannot be written: .*{cure}"):
            await storage.write(uri(tmp_path / "blob"), b"after")
        assert [path.name for path in tmp_path.iterdir()] == ["blob"]
        assert await storage.read(uri(tmp_path / "blob")) == b"before"


async def test_a_directory_instead_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "blob").mkdir()
    async with Storage(NO_CACHE) as storage:
        with pytest.raises(CorruptBlob, match="is a directory, and a blob is a regular file"):
            await storage.read(uri(tmp_path / "blob"))
        with pytest.raises(CorruptBlob, match="a directory is where a file should be"):
            await storage.write(uri(tmp_path / "blob"), b"data")
    assert list(tmp_path.iterdir()) == [tmp_path / "blob"]


async def test_a_file_instead_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    async with Storage(NO_CACHE) as storage:
        with pytest.raises(CorruptBlob, match="a file is where a directory should be"):
            await storage.write(uri(tmp_path / "file" / "blob"), b"data")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def make_link(path: Path) -> None:
    (path.parent / "target").write_bytes(b"data")
    path.symlink_to("target")


def make_loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (make_fifo, "is a FIFO"),
        (Path.mkdir, "is a directory"),
        (make_socket, "a socket or a device is where"),
        (make_link, "a symbolic link is where"),
        (make_loop, "a symbolic link is where"),
    ],
)
async def test_a_file_that_is_not_regular_is_refused_by_name_without_blocking(
    tmp_path: Path, monkeypatch: Any, make: Callable[[Path], None], named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "blob")
    async with Storage(NO_CACHE) as storage:
        with pytest.raises(CorruptBlob, match=f"blob .*{named}"):
            await storage.read(uri(tmp_path / "blob"))


async def test_a_device_is_refused() -> None:
    async with Storage(NO_CACHE) as storage:
        with pytest.raises(CorruptBlob, match="is a device"):
            await storage.read("file:///dev/zero")


def rooted(tmp_path: Path) -> Storage:
    meta, raw = tmp_path / "meta", tmp_path / "raw"
    meta.mkdir()
    raw.mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "outputs.pb").write_bytes(b"secret")
    return Storage(StorageOptions(cache_bytes=0, metadata_prefix=uri(meta), raw_output_prefix=uri(raw)))


async def test_a_link_on_the_way_that_leads_out_of_the_prefixes_is_not_followed(tmp_path: Path) -> None:
    async with rooted(tmp_path) as storage:
        (tmp_path / "meta" / "n0").symlink_to(tmp_path / "secret")
        with pytest.raises(CorruptBlob, match=rf"is really {tmp_path}/secret/outputs\.pb, .* leads out"):
            await storage.read(uri(tmp_path / "meta" / "n0" / "outputs.pb"))
        with pytest.raises(CorruptBlob, match="leads out"):
            await storage.write(uri(tmp_path / "meta" / "n0" / "inputs.pb"), b"data")
    assert [path.name for path in (tmp_path / "secret").iterdir()] == ["outputs.pb"]


async def test_links_within_the_prefixes_and_a_prefix_that_is_one_are_followed(tmp_path: Path) -> None:
    async with rooted(tmp_path) as storage:
        (tmp_path / "raw" / "n0").mkdir()
        (tmp_path / "meta" / "n0").symlink_to(tmp_path / "raw" / "n0")
        await storage.write(uri(tmp_path / "meta" / "n0" / "blob"), b"data")
        assert await storage.read(uri(tmp_path / "meta" / "n0" / "blob")) == b"data"
    (tmp_path / "link").symlink_to(tmp_path / "meta")
    async with Storage(StorageOptions(cache_bytes=0, metadata_prefix=uri(tmp_path / "link"))) as storage:
        await storage.write(uri(tmp_path / "link" / "blob"), b"data")
        assert await storage.read(uri(tmp_path / "link" / "blob")) == b"data"


async def test_the_default_directory_belongs_to_the_user_and_has_mode_0700(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "propeller").mkdir(mode=0o755)
    settings = StorageOptions()
    assert settings.metadata_prefix == uri(tmp_path / "propeller" / "metadata")
    assert settings.raw_output_prefix == uri(tmp_path / "propeller" / "raw")
    async with Storage(settings) as storage:
        await storage.write(f"{settings.metadata_prefix}/e/blob", b"data")
    assert (tmp_path / "propeller").stat().st_mode & 0o777 == 0o700


async def test_a_directory_created_by_another_user_is_not_used(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "propeller").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    async with Storage(StorageOptions()) as storage:
        with pytest.raises(StorageError, match="somebody else has made it"):
            await storage.write(f"{StorageOptions().metadata_prefix}/e/blob", b"data")


def test_a_user_without_a_home_gets_a_temporary_directory(monkeypatch: Any) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert own_directory().endswith(f"/propeller-{os.geteuid()}")


async def test_a_name_too_long_for_the_disk_is_an_error_of_ours(tmp_path: Path) -> None:
    async with Storage(NO_CACHE) as storage:
        with pytest.raises(CorruptBlob, match="the path is too long"):
            await storage.write(uri(tmp_path / ("x" * 300)), b"data")


@pytest.mark.parametrize("bad", ["file://relative/path", "file://", "file:///nul\0"])
async def test_a_path_that_cannot_be_is_invalid(bad: str) -> None:
    async with Storage(NO_CACHE) as storage:
        with pytest.raises(Invalid):
            await storage.read(bad)
        with pytest.raises(Invalid):
            await storage.write(bad, b"")


async def test_a_large_write_that_is_cancelled_harms_nobody(tmp_path: Path) -> None:
    async with Storage(NO_CACHE) as storage:
        task = asyncio.create_task(storage.write(uri(tmp_path / "blob"), bytes(8 * INLINE_BYTES)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await storage.write(uri(tmp_path / "blob"), b"next")


async def test_a_deleted_blob_is_missing_and_may_be_deleted_again(tmp_path: Path) -> None:
    blob = uri(tmp_path / "blob")
    async with Storage() as storage:
        await storage.write(blob, b"data")
        await storage.delete(blob)
        with pytest.raises(MissingBlob):
            await storage.read(blob)
        await storage.delete(blob)
        await storage.delete(uri(tmp_path / "blob" / "below" / "nothing"))


async def test_a_blob_that_cannot_be_deleted_is_named(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    async with Storage() as storage:
        with pytest.raises(StorageError, match=r"directory cannot be deleted"):
            await storage.delete(uri(tmp_path / "directory"))


async def test_an_unwritable_directory_is_reported() -> None:
    """In /proc, creating a directory fails as if its parent were missing."""
    with pytest.raises(StorageError, match="cannot be written"):
        await Storage().write("file:///proc/nowhere/at/all.pb", b"x")


async def test_removed_directories_are_created_again(tmp_path: Path) -> None:
    store = FileStore()
    for _ in range(2):
        for name in ("a/b/c/one", "a/b/two", "a/b/d/e/three"):
            uri = f"file://{tmp_path}/m/{name}"
            store.write_now(uri, b"x")
            assert store.read_now(uri, 10) == b"x"
        shutil.rmtree(tmp_path / "m")


async def test_find_returns_none_only_for_missing_blobs(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "fifo")
    async with Storage(NO_CACHE) as storage:
        assert await storage.find(uri(tmp_path / "file")) == b"data"
        assert await storage.find(uri(tmp_path / "absent")) is None
        assert await storage.find(uri(tmp_path / "no" / "directory")) is None
        assert await storage.find(uri(tmp_path / "file" / "below")) is None
        for other in ("link", "fifo", "."):
            with pytest.raises(CorruptBlob):
                await storage.find(uri(tmp_path / other))


async def test_an_unreadable_blob_is_not_taken_for_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    async with Storage(NO_CACHE) as storage:
        monkeypatch.setattr("propeller.storage._files.os.open", denied)
        with pytest.raises(StorageError, match="permission denied"):
            await storage.find(uri(tmp_path / "closed" / "outputs.pb"))
