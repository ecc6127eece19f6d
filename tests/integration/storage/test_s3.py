"""Blobs in S3, against a real server of its protocol."""

from __future__ import annotations

import asyncio
import io
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flyteidl.core import literals_pb2

from propeller.errors import CorruptBlob, Invalid, MissingBlob, StorageError, TooLargeBlob
from propeller.storage import Storage, StorageOptions, read_literals, write_literals
from propeller.storage._s3 import CONNECTIONS
from propeller.testing import S3Server, free_ports


@pytest.fixture
async def storage(s3: S3Server) -> AsyncIterator[Storage]:
    """Without a cache: every read asks the server."""
    async with Storage(msgspec.structs.replace(s3.settings, cache_bytes=0)) as storage:
        yield storage


async def test_what_was_written_is_read_and_is_an_object_there(s3: S3Server, storage: Storage) -> None:
    bucket = s3.bucket()
    await storage.write(f"s3://{bucket}/e/n0/data/0/outputs.pb", b"data")
    assert (s3.directory / bucket / "e/n0/data/0/outputs.pb").read_bytes() == b"data"
    assert await storage.read(f"s3://{bucket}/e/n0/data/0/outputs.pb") == b"data"


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
async def test_any_size_comes_back_whole(s3: S3Server, storage: Storage, size: int) -> None:
    uri, data = f"s3://{s3.bucket()}/blob", os.urandom(size)
    await storage.write(uri, data)
    assert await storage.read(uri) == data


async def test_a_blob_is_overwritten(s3: S3Server, storage: Storage) -> None:
    uri = f"s3://{s3.bucket()}/blob"
    for data in (b"longer than", b"the next"):
        await storage.write(uri, data)
        assert await storage.read(uri) == data


@pytest.mark.parametrize("key", ["a b/c d", "a%20b", "a+b=c&d", "ünïcødé/日本", "q?uery#fragment", "~!@$*()'\""])
async def test_a_key_of_any_characters_is_the_object_of_that_key(s3: S3Server, storage: Storage, key: str) -> None:
    bucket = s3.bucket()
    await storage.write(f"s3://{bucket}/{key}", key.encode())
    assert (s3.directory / bucket / key).read_bytes() == key.encode()
    assert await storage.read(f"s3://{bucket}/{key}") == key.encode()


async def test_literals_go_in_and_come_out(s3: S3Server, storage: Storage) -> None:
    uri, literals = f"s3://{s3.bucket()}/inputs.pb", literals_pb2.LiteralMap()
    literals.literals["a"].scalar.primitive.integer = 3
    await write_literals(storage, uri, literals)
    assert await read_literals(storage, uri) == literals


async def test_a_missing_key_is_a_missing_blob(s3: S3Server, storage: Storage) -> None:
    with pytest.raises(MissingBlob, match="nothing is stored at s3://"):
        await storage.read(f"s3://{s3.bucket()}/none")


async def test_a_deleted_blob_is_missing_and_may_be_deleted_again(s3: S3Server, storage: Storage) -> None:
    uri = f"s3://{s3.bucket()}/a/b"
    await storage.write(uri, b"data")
    await storage.delete(uri)
    with pytest.raises(MissingBlob):
        await storage.read(uri)
    await storage.delete(uri)


async def test_a_missing_bucket_is_named_with_what_to_do(storage: Storage) -> None:
    for refused in (storage.read("s3://no-such-bucket/key"), storage.write("s3://no-such-bucket/key", b"")):
        with pytest.raises(StorageError, match="has no bucket 'no-such-bucket': create it"):
            await refused


async def test_a_blob_over_the_limit_is_refused_before_its_body_is_read(s3: S3Server, storage: Storage) -> None:
    bucket = s3.bucket()
    await storage.write(f"s3://{bucket}/huge", bytes(10_000_000))
    async with Storage(msgspec.structs.replace(s3.settings, max_blob_bytes=1000)) as small:
        with pytest.raises(CorruptBlob, match="10000000 bytes, over the limit of 1000"):
            await small.read(f"s3://{bucket}/huge")
        await small.write(f"s3://{bucket}/small", b"data")
        assert await small.read(f"s3://{bucket}/small", fresh=True) == b"data"


async def test_many_reads_at_once_share_the_connections(s3: S3Server, storage: Storage) -> None:
    bucket = s3.bucket()
    uris = [f"s3://{bucket}/{number}" for number in range(4 * CONNECTIONS)]
    async with asyncio.TaskGroup() as group:
        for uri in uris:
            group.create_task(storage.write(uri, uri.encode()))
    assert await asyncio.gather(*map(storage.read, uris)) == [uri.encode() for uri in uris]


async def test_wrong_credentials_are_named_and_not_shown(
    s3: S3Server, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    with pytest.raises(StorageError, match=r"refuses the credentials .*AWS_ACCESS_KEY_ID") as refused:
        await storage.read(f"s3://{s3.bucket()}/key")
    assert "wrong-secret" not in str(refused.value)


async def test_no_credentials_at_all_are_named(
    s3: S3Server, storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(StorageError, match="no S3 credentials were found; set AWS_ACCESS_KEY_ID"):
        await storage.read(f"s3://{s3.bucket()}/key")


async def test_a_server_that_is_not_there_is_named_with_its_endpoint(s3: S3Server) -> None:
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    async with Storage(StorageOptions(s3_endpoint=endpoint)) as storage:
        with pytest.raises(StorageError, match=f"no answer from {endpoint}.*storage.s3_endpoint"):
            await storage.read("s3://bucket/key")


async def test_a_server_that_does_not_answer_ends_by_the_deadline(s3: S3Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with Storage(StorageOptions(s3_endpoint=endpoint, deadline=0.5)) as storage:
            with pytest.raises(StorageError, match=r"s3://bucket/key"):
                await storage.read("s3://bucket/key")


async def test_an_endpoint_that_is_no_url_is_invalid(s3: S3Server) -> None:
    async with Storage(StorageOptions(s3_endpoint="localhost:9000")) as storage:
        with pytest.raises(Invalid, match=r"storage\.s3_endpoint is 'localhost:9000'"):
            await storage.read("s3://bucket/key")


@pytest.mark.parametrize("bucket", ["UPPER", "a", "has space", "x" * 100])
async def test_a_name_that_no_bucket_can_have_is_an_error_of_ours(storage: Storage, bucket: str) -> None:
    with pytest.raises((Invalid, StorageError), match=bucket[:20]):
        await storage.read(f"s3://{bucket}/key")


async def test_a_server_that_comes_back_is_used_again(s3: S3Server, monkeypatch: Any, tmp_path: Path) -> None:
    server = S3Server(tmp_path)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        uri = f"s3://{server.bucket()}/key"
        async with Storage(msgspec.structs.replace(server.settings, cache_bytes=0)) as storage:
            await storage.write(uri, b"data")
            server.stop()
            with pytest.raises(StorageError, match=f"no answer from {server.url}"):
                await storage.read(uri)
            server.start()
            assert await storage.read(uri) == b"data"
    finally:
        server.stop()


async def test_a_read_that_is_cancelled_leaves_the_client_usable(s3: S3Server, storage: Storage) -> None:
    uri, data = f"s3://{s3.bucket()}/blob", os.urandom(5_000_000)
    await storage.write(uri, data)
    task = asyncio.create_task(storage.read(uri))
    await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await storage.read(uri) == data


@pytest.mark.parametrize("size", [0, 100_000, 40_000_000])
async def test_a_file_of_any_size_goes_in_and_comes_out_in_pieces(
    s3: S3Server, storage: Storage, tmp_path: Path, size: int
) -> None:
    uri, data = f"s3://{s3.bucket()}/file", os.urandom(size)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    with source.open("rb") as file:
        await storage.put(uri, file, size)
    with target.open("wb") as file:
        assert await storage.fetch(uri, file, size) == size
    assert target.read_bytes() == data


async def test_a_file_over_the_limit_is_refused_before_it_is_fetched(
    s3: S3Server, storage: Storage, tmp_path: Path
) -> None:
    uri = f"s3://{s3.bucket()}/file"
    await storage.write(uri, b"12345")
    with (tmp_path / "target").open("wb") as file, pytest.raises(TooLargeBlob, match="5 bytes or more, and 4 are left"):
        await storage.fetch(uri, file, 4)
    assert (tmp_path / "target").stat().st_size == 0


async def test_an_upload_in_parts_that_fails_leaves_nothing(s3: S3Server, storage: Storage, tmp_path: Path) -> None:
    bucket = s3.bucket()

    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 16 << 20:
                raise OSError(5, "the disk is broken")
            return super().read(size)

    with pytest.raises(StorageError):
        await storage.put(f"s3://{bucket}/file", Breaking(b"x" * (40 << 20)), 40 << 20)
    assert await storage.list_blobs(f"s3://{bucket}/", 10) == []
