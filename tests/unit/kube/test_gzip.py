"""Compressed responses, genuine and false ones."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Unavailable
from propeller.kube._gzip import ANY_RATIO_BYTES, STREAM_BYTES, inflated, unfolded_stream
from propeller.kube._transport import Response


def packed(body: bytes, encoding: str = "gzip") -> Response:
    return Response(status=200, headers={"content-encoding": encoding}, body=body)


@given(st.binary())
def test_a_compressed_response_is_unpacked_unchanged(body: bytes) -> None:
    assert inflated(packed(gzip.compress(body))).body == body


@given(st.binary())
def test_an_answer_that_is_not_compressed_is_left_as_it_is(body: bytes) -> None:
    assert inflated(Response(status=200, body=body)).body == body
    assert inflated(packed(body, "identity")).body == body


@given(st.binary(min_size=1), st.data())
def test_any_bytes_become_a_response_or_an_error_of_ours(body: bytes, data: st.DataObject) -> None:
    whole = gzip.compress(body)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for broken in (whole[:cut], body, whole[:cut] + b"!" + whole[cut + 1 :]):
        try:
            inflated(packed(broken))
        except Unavailable:
            continue


def test_an_answer_that_is_cut_is_no_answer() -> None:
    with pytest.raises(Unavailable, match="ends before its end"):
        inflated(packed(gzip.compress(b"a page" * 1000)[:-9]))


def test_a_response_with_a_far_higher_compression_ratio_than_pages_is_refused_at_any_size() -> None:
    bomb = gzip.compress(bytes(ANY_RATIO_BYTES + 1))
    with pytest.raises(Unavailable, match=f"unfolds to over {ANY_RATIO_BYTES} bytes"):
        inflated(packed(bomb))


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip"])
def test_an_answer_that_is_compressed_in_another_way_is_refused_by_its_name(encoding: str) -> None:
    with pytest.raises(Unavailable, match=f"compressed as '{encoding}'"):
        inflated(packed(b"body", encoding))


@given(body=st.binary(max_size=200_000), cuts=st.lists(st.integers(0, 300_000), max_size=5))
async def test_a_compressed_stream_is_unpacked_unchanged_however_it_is_split(body: bytes, cuts: list[int]) -> None:
    data = gzip.compress(body)
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    chunks = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    pieces = [piece async for piece in unfolded_stream(Chunks(chunks))]
    assert b"".join(pieces) == body
    assert all(len(piece) <= STREAM_BYTES for piece in pieces)


async def test_a_stream_that_is_cut_or_no_gzip_is_an_error_of_ours() -> None:
    for data in (gzip.compress(b"an event" * 100)[:-9], b"not gzip"):
        with pytest.raises(Unavailable):
            _ = [piece async for piece in unfolded_stream(Chunks([data]))]


class Chunks:
    """A stream that says it is compressed."""

    status = 200
    headers: Mapping[str, str] = {"content-encoding": "gzip"}

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


def test_a_small_answer_that_unfolds_without_end_is_refused_before_it_has() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 60_000
    with pytest.raises(Unavailable, match="unfolds to over 1000000 bytes"):
        inflated(packed(bomb), limit=1_000_000)
