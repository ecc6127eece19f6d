"""Shards by uid: every object in exactly one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.fnv import fnv1a_64
from propeller.informers import UidShard


@given(st.uuids(), st.integers(1, 100))
def test_every_uid_is_in_exactly_one_shard(uid: object, of: int) -> None:
    assert sum(UidShard(number, of).holds(str(uid)) for number in range(of)) == 1


@pytest.mark.parametrize(
    ("text", "hashed"),
    [("", 0xCBF29CE484222325), ("a", 0xAF63DC4C8601EC8C), ("foobar", 0x85944171F73967E8)],
)
def test_the_hash_is_fnv_1a(text: str, hashed: int) -> None:
    """Vectors of the hash's authors."""
    assert fnv1a_64(text.encode()) == hashed


def test_selectors_are_as_the_api_server_takes_them() -> None:
    assert UidShard(0, 2).selector == "shardRange(object.metadata.uid, '0x0000000000000000', '0x8000000000000000')"
    assert UidShard(1, 2).selector == "shardRange(object.metadata.uid, '0x8000000000000000', '0x10000000000000000')"


@pytest.mark.parametrize(("number", "of"), [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_that_is_not_there_is_refused(number: int, of: int) -> None:
    with pytest.raises(Invalid, match="shards count from 0"):
        UidShard(number, of)
