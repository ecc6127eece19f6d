"""Names are FlytePropeller's: the hashed values are those of its own tests (pluginmachinery/encoding)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.workflow import fixed_length_id, label_value, pod_name, unique_node_id


def test_a_short_name_is_its_parts_joined() -> None:
    assert pod_name("exec", "n0", 0) == "exec-n0-0"
    assert unique_node_id("", 0, "n0") == "n0"
    assert unique_node_id("n0", 1, "x") == "n0-1-x"


@pytest.mark.parametrize(
    ("parts", "length", "expected"),
    [
        (("x" * 24,), 20, "fuaa3aji"),
        (("x" * 6,), 5, "fufiti6i"),
        (("x", "y", "z"), 10, "x-y-z"),
        (("x", "y", "z"), 4, "fxzsoqrq"),
    ],
)
def test_a_long_name_is_a_hash_of_its_parts(parts: tuple[str, ...], length: int, expected: str) -> None:
    assert fixed_length_id(parts, length) == expected


@given(st.lists(st.text("abcXYZ-019", min_size=1), min_size=1, max_size=4))
def test_an_id_never_exceeds_its_length(parts: list[str]) -> None:
    assert len(fixed_length_id(tuple(parts), 20)) <= 20


@given(st.text())
def test_a_label_value_is_always_one(text: str) -> None:
    value = label_value(text)
    assert len(value) <= 63
    assert not value.startswith("-")
    assert not value.endswith("-")
