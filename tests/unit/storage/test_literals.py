"""Literals in and out of blobs, and the large ones that were moved out of their maps."""

from __future__ import annotations

import pytest
from flyteidl.core import literals_pb2
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import CorruptBlob, MissingBlob
from propeller.storage import MemoryStore, Storage, StorageOptions, read_literals, read_offloaded, write_literals
from tests.unit.storage.values import literal, offloaded, parsed, python, trees, wired


def literal_map(**values: object) -> literals_pb2.LiteralMap:
    return literals_pb2.LiteralMap(literals={name: literal(value) for name, value in values.items()})


@given(values=st.dictionaries(st.text(max_size=5), trees, max_size=5))
async def test_a_map_comes_back_as_it_was_stored(values: dict[str, object]) -> None:
    async with Storage() as storage:
        stored = literals_pb2.LiteralMap(literals={name: literal(value) for name, value in values.items()})
        await write_literals(storage, "memory://m/inputs.pb", stored)
        assert await read_literals(storage, "memory://m/inputs.pb") == stored


async def test_the_same_map_is_the_same_bytes_in_whatever_order_it_was_filled() -> None:
    blobs: dict[str, bytes] = {}
    async with Storage(stores={"memory": MemoryStore(blobs)}) as storage:
        await write_literals(storage, "memory://one", literal_map(a=1, b=2, c=3))
        await write_literals(storage, "memory://two", literal_map(c=3, b=2, a=1))
    assert blobs["memory://one"] == blobs["memory://two"]


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"not a protobuf", b"\x0a\x05ab"])
async def test_a_blob_that_is_not_a_literal_map_is_corrupt_and_named(garbage: bytes) -> None:
    async with Storage() as storage:
        await storage.write("memory://m/outputs.pb", garbage)
        with pytest.raises(CorruptBlob, match=r"memory://m/outputs\.pb .* is not a flyteidl.core.LiteralMap"):
            await read_literals(storage, "memory://m/outputs.pb")


async def test_a_map_that_nests_without_end_is_corrupt() -> None:
    data = b""
    for _ in range(10_000):  # a list in a list in a list...
        inner = literals_pb2.Literal()
        inner.collection.SetInParent()
        data = b"\x12" + _varint(len(data) + len(_varint(len(data))) + 1) + b"\x0a" + _varint(len(data)) + data
    entry = b"\x0a\x01x\x12" + _varint(len(data)) + data
    async with Storage() as storage:
        await storage.write("memory://m/outputs.pb", b"\x0a" + _varint(len(entry)) + entry)
        with pytest.raises(CorruptBlob):
            await read_literals(storage, "memory://m/outputs.pb")


async def test_a_literal_that_was_not_offloaded_is_itself() -> None:
    async with Storage() as storage:
        value = wired(literal([1, 2]))
        assert await read_offloaded(storage, value) is value


async def test_an_offloaded_literal_is_read_and_keeps_its_hash() -> None:
    async with Storage() as storage:
        data = literal([1, 2]).SerializeToString()
        await storage.write("memory://m/o0_offloaded_metadata.pb", data)
        found = await read_offloaded(
            storage, wired(offloaded("memory://m/o0_offloaded_metadata.pb", len(data), "hash"))
        )
        assert python(found) == [1, 2]
        assert parsed(found).hash == "hash"


async def test_an_offloaded_literal_of_another_size_than_it_says_is_corrupt() -> None:
    async with Storage() as storage:
        await storage.write("memory://m/o0", literal([1, 2]).SerializeToString())
        with pytest.raises(CorruptBlob, match=r"memory://m/o0 has \d+ bytes.* had 999"):
            await read_offloaded(storage, wired(offloaded("memory://m/o0", 999)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xff", "is not a flyteidl.core.Literal"),
        (offloaded("memory://m/o0").SerializeToString(), "one may not lead to another"),
    ],
)
async def test_garbage_instead_of_an_offloaded_literal_is_corrupt(data: bytes, message: str) -> None:
    async with Storage() as storage:
        await storage.write("memory://m/o0", data)
        with pytest.raises(CorruptBlob, match=message):
            await read_offloaded(storage, wired(offloaded("memory://m/o0")))


async def test_an_offloaded_literal_without_uri_or_blob_is_a_propeller_error() -> None:
    async with Storage() as storage:
        with pytest.raises(CorruptBlob, match="its uri is empty"):
            await read_offloaded(storage, wired(offloaded("")))
        with pytest.raises(MissingBlob, match="memory://m/none"):
            await read_offloaded(storage, wired(offloaded("memory://m/none")))


async def test_an_offloaded_literal_over_the_limit_is_not_read() -> None:
    blobs = {"memory://m/o0": bytes(101)}
    async with Storage(StorageOptions(max_blob_bytes=100), stores={"memory": MemoryStore(blobs)}) as storage:
        with pytest.raises(CorruptBlob, match="over the limit"):
            await read_offloaded(storage, wired(offloaded("memory://m/o0")))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
