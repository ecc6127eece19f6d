"""Compressed answers, and what passes for one."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Unavailable
from propeller.kube._gzip import inflated
from propeller.kube._transport import Response


def packed(body: bytes, encoding: str = "gzip") -> Response:
    return Response(status=200, headers={"content-encoding": encoding}, body=body)


@given(st.binary())
def test_a_compressed_answer_is_what_it_was(body: bytes) -> None:
    assert inflated(packed(gzip.compress(body))).body == body


@given(st.binary())
def test_an_answer_that_is_not_compressed_is_left_as_it_is(body: bytes) -> None:
    assert inflated(Response(status=200, body=body)).body == body
    assert inflated(packed(body, "identity")).body == body


@given(st.binary(min_size=1), st.data())
def test_whatever_bytes_come_the_result_is_an_answer_or_an_error_of_ours(body: bytes, data: st.DataObject) -> None:
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


def test_a_small_answer_that_unfolds_without_end_is_refused_before_it_has() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 60_000
    with pytest.raises(Unavailable, match="unfolds to over 1000000 bytes"):
        inflated(packed(bomb), limit=1_000_000)
