"""Limits that contradict themselves are refused by name."""

from __future__ import annotations

import msgspec
import pytest

from propeller.errors import Invalid
from propeller.resourcemgr import Limits, Pool, Tenant, check


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ({"pools": [{"name": "a"}]}, "pool 'a' limits nothing: give it a capacity, a rate, or both"),
        ({"pools": [{"name": ""}]}, "a pool has no name"),
        ({"pools": [{"name": "a", "capacity": -1}]}, "capacity of pool 'a' is -1"),
        ({"pools": [{"name": "a", "rate": 0}]}, "rate of pool 'a' is 0.0"),
        ({"pools": [{"name": "a", "rate": -2.5}]}, "rate of pool 'a' is -2.5"),
        ({"pools": [{"name": "a", "rate": 1, "burst": 0}]}, "burst of pool 'a' is 0"),
        ({"pools": [{"name": "a", "capacity": 1, "burst": 1}]}, "pool 'a' has a burst without a rate"),
        (
            {"pools": [{"name": "a", "capacity": 1, "parent": "b"}]},
            "pool 'a' has parent 'b', which is no pool; known are a",
        ),
        (
            {"pools": [{"name": n, "capacity": 1, "parent": p} for n, p in ("ab", "bc", "ca")]},
            "pools a -> b -> c -> a are in a cycle",
        ),
        ({"pools": [{"name": "a", "capacity": 1, "parent": "a"}]}, "pools a -> a are in a cycle"),
        ({"pools": [{"name": "a", "capacity": 1}] * 2}, "pool 'a' is there twice"),
        ({"tenants": [{"name": "a", "weight": 0}]}, "weight of tenant 'a' is 0.0"),
        ({"tenants": [{"name": "a"}, {"name": "a"}]}, "tenant 'a' is there twice"),
        ({"tenants": [{"name": "a//b"}]}, "tenant 'a//b': write 1 to 16 names"),
        (
            {"tenants": [{"name": "a", "limits": {"x": 1}}]},
            "tenant 'a' has a limit for 'x', which is no pool; known are none",
        ),
        (
            {"pools": [{"name": "x", "capacity": 1}], "tenants": [{"name": "a", "limits": {"x": -1}}]},
            "limit of tenant 'a' for pool 'x' is -1",
        ),
        ({"max_bypass": -1}, "max_bypass is -1"),
    ],
)
def test_a_contradiction_is_named_with_its_field_and_value(written: object, word: str) -> None:
    with pytest.raises(Invalid) as refused:
        check(msgspec.convert(written, Limits))
    assert word in str(refused.value)


def test_a_chain_of_pools_is_limited_in_depth() -> None:
    pools = [Pool(name=f"p{n}", capacity=1, parent=f"p{n + 1}" if n < 16 else "") for n in range(17)]
    with pytest.raises(Invalid, match="pool 'p0' has more than 15 pools above it"):
        check(Limits(pools=tuple(pools)))


def test_wrong_limits_change_nothing_of_those_in_force() -> None:
    check(
        Limits(
            pools=(Pool(name="a", capacity=1, rate=0.5),), tenants=(Tenant(name="x/y", weight=0.1, limits={"a": 0}),)
        )
    )
