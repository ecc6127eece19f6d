"""Durations as Go writes them."""

from __future__ import annotations

import pytest
from google.protobuf import duration_pb2

from propeller.compiler._resource._durations import doubled, go_text, nanoseconds


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [
        (0, 0, "0s"),
        (0, 1, "1ns"),
        (0, 1_500, "1.5µs"),
        (0, 2_000_000, "2ms"),
        (1, 500_000_000, "1.5s"),
        (90, 0, "1m30s"),
        (7200, 0, "2h0m0s"),
        (3600 * 30 + 61, 1_000, "30h1m1.000001s"),
        (-5, 0, "-5s"),
    ],
)
def test_a_duration_is_written_as_go_writes_it(seconds: int, nanos: int, text: str) -> None:
    found = nanoseconds(duration_pb2.Duration(seconds=seconds, nanos=nanos))
    assert found is not None
    assert go_text(found) == text


@pytest.mark.parametrize(("seconds", "nanos"), [(1, -1), (-1, 1), (0, 10**9), (10**12, 0), (9_223_372_037, 0)])
def test_a_duration_that_go_cannot_hold_is_none(seconds: int, nanos: int) -> None:
    assert nanoseconds(duration_pb2.Duration(seconds=seconds, nanos=nanos)) is None


def test_doubling_wraps_as_64_bits_do() -> None:
    assert doubled(10) == 20
    assert doubled(2**62) == -(2**63)
