"""Status blobs that lie about their size, or whose parts do not belong together: refused, at their own cost."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import CorruptBlob, MissingBlob, NotUnderstood, StorageError
from propeller.handlers import TRANSITIONS
from propeller.status import Snapshot, decode, encode, rebuild, take
from propeller.status._compression import LIMIT, decompress, is_small
from propeller.status._snapshot import MAX_RECORDS, decode_off_loop
from propeller.workflow import MAX_NODES, Execution, Failure, Graph, NodeView, Running, WorkflowPhase, begin
from tests.unit.workflow.drive import execution, graph, plan, task

PLAN = plan(graph(task("a"), {"id": "m", "kind": "array", "array": {"SubNodeSpec": task("item")}}))


def running() -> Execution:
    of = execution(PLAN)
    begin(of, TRANSITIONS, 1000.0)
    return of


BLOB = encode(take(running()))
RAW = zstandard.decompress(BLOB)


def traced(blob: bytes) -> int:
    """The most bytes that Python had while it refused the blob."""
    tracemalloc.start()
    try:
        with pytest.raises(CorruptBlob):
            decode(blob)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def frame_of(size: int) -> bytes:
    """A frame that says it unfolds to `size` bytes, and does not."""
    return b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + BLOB[-20:]


@given(size=st.integers(0, 2**64 - 1))
def test_a_frame_that_lies_about_its_size_costs_no_more_than_its_bytes(size: int) -> None:
    assert traced(frame_of(size)) < 1_000_000


def test_a_frame_without_a_size_is_read() -> None:
    streaming = zstandard.ZstdCompressor().compressobj()
    assert decompress(streaming.compress(RAW) + streaming.flush()) == RAW


def test_several_frames_and_trailing_data_are_refused() -> None:
    for blob in (BLOB + BLOB, BLOB + b"x", zstandard.compress(b"") + BLOB):
        with pytest.raises(CorruptBlob):
            decode(blob)


def test_a_frame_that_was_made_with_a_dictionary_is_refused() -> None:
    dictionary = zstandard.ZstdCompressionDict(RAW * 10, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    with pytest.raises(CorruptBlob):
        decode(zstandard.ZstdCompressor(dict_data=dictionary).compress(RAW * 3))


def test_a_bomb_is_unfolded_no_further_than_the_limit() -> None:
    bomb = zstandard.compress(bytes(8 * LIMIT))
    assert traced(bomb) < 3 * LIMIT


def test_a_frame_that_asks_for_more_memory_than_ours_do_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    streaming = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(CorruptBlob):
        decode(streaming.compress(RAW) + streaming.flush())


@pytest.mark.parametrize("field", ["frames", "states", "failures", "system_failures"])
def test_more_records_than_any_execution_has_are_refused_by_their_number(field: str) -> None:
    parts = msgspec.msgpack.decode(RAW)
    at = Snapshot.__struct_fields__.index(field)
    count = MAX_RECORDS + 1
    head, item = (b"\xdd", b"\x92\x00\x00") if field == "frames" else (b"\xdf", b"\x01\x00")
    parts[at] = msgspec.Raw(head + count.to_bytes(4, "big") + item * count)
    with pytest.raises(CorruptBlob, match=rf"has \d+ records, and may have {MAX_RECORDS}"):
        decode(zstandard.compress(msgspec.msgpack.encode(parts)))


def mapped(items: int) -> Snapshot:
    """A map of so many items, all of them running, and some failures beside."""
    one = running()
    frames = take(one).frames
    count = 2 + items + 1
    states = {2 + 1 + item: Running(0, 1000.0, started=item % 2 == 0) for item in range(items)}
    return msgspec.structs.replace(
        take(one),
        frames=[frames[0], type(frames[0])(1, 0, items)],
        phases=bytes(count),
        attempts=bytes(count),
        started=bytes(4 * count),
        ended=bytes(4 * count),
        phase=WorkflowPhase.ABORTED,
        states=states,
        failures={node: Failure("C", f"m{node}") for node in range(items)},
        system_failures=dict.fromkeys(range(items), 1),
    )


@pytest.mark.parametrize("items", [10, 5_000])
async def test_many_records_decode_as_few_do(items: int) -> None:
    snapshot = mapped(items)
    assert decode(encode(snapshot)) == snapshot
    assert await decode_off_loop(encode(snapshot)) == snapshot


async def turns_while_decoding(blob: bytes) -> int:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    beside = asyncio.create_task(others())
    with pytest.raises(CorruptBlob):
        await decode_off_loop(blob)
    beside.cancel()
    return turns


async def test_a_blob_that_unfolds_to_much_is_decoded_beside_the_loop() -> None:
    small, large = zstandard.compress(bytes(1000)), zstandard.compress(bytes(8 * LIMIT))
    assert is_small(small)
    assert not is_small(large)
    assert await turns_while_decoding(small) == 0
    assert await turns_while_decoding(large) > 2  # the thread's begin and end alone take two


@pytest.mark.parametrize("size", [0, 1000, 255 * 1024, 257 * 1024, LIMIT + 1])
def test_a_frame_is_small_by_its_decompressed_size_not_its_declared_one(size: int) -> None:
    streaming = zstandard.ZstdCompressor().compressobj()
    unsaid = streaming.compress(bytes(size)) + streaming.flush()
    for blob in (zstandard.compress(bytes(size)), unsaid):
        assert is_small(blob) is (size <= 256 * 1024)


def test_more_nodes_than_any_execution_has_are_refused() -> None:
    snapshot = msgspec.structs.replace(take(running()), phases=bytes(MAX_NODES + 1), attempts=bytes(MAX_NODES + 1))
    with pytest.raises(CorruptBlob, match=f"has {MAX_NODES + 1} nodes, and may have {MAX_NODES}"):
        decode(encode(snapshot))


async def no_graph(node: NodeView, attempt: int) -> Graph:
    raise MissingBlob("there are no futures")


def rebuilt(**changes: Any) -> None:
    of = running()
    snapshot = msgspec.structs.replace(take(of), **changes)
    asyncio.run(rebuild(of.info, PLAN, decode(encode(snapshot)), no_graph))


@pytest.mark.parametrize(
    "changes",
    [
        {"attempts": b""},
        {"phases": b"\x00" * 1000, "attempts": b"\x00" * 1000},
        {"started": b"123"},
        {"started": b"", "ended": b"\x00" * 4},
        {"phases": b"\xff" * 3},
        {"states": {7: take(running()).states[0]}},
        {"states": {-1: take(running()).states[0]}},
        {"system_failures": {2**40: 1}},
    ],
)
def test_parts_that_do_not_belong_together_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CorruptBlob):
        rebuilt(**changes)


records = st.builds(
    type(take(running()).frames[0]),
    st.integers(-2, 2**40),
    st.integers(-2, 2**40),
    st.integers(-2, 2**62),
)


@given(frames=st.lists(records, max_size=6), at_begin=st.booleans())
def test_frames_of_any_numbers_are_refused_or_rebuilt_and_nothing_is_made_of_a_size_that_they_give(
    frames: list[Any], at_begin: bool
) -> None:
    own = take(running()).frames
    try:
        rebuilt(frames=[*own, *frames] if at_begin else [*frames, *own])
    except (CorruptBlob, MissingBlob):
        return


@given(data=st.data())
def test_a_blob_with_changed_bytes_is_refused_or_rebuilt(data: st.DataObject) -> None:
    raw = bytearray(RAW)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    of = running()
    try:
        asyncio.run(rebuild(of.info, PLAN, decode(zstandard.compress(bytes(raw))), no_graph))
    except (CorruptBlob, MissingBlob, NotUnderstood, StorageError):
        return
