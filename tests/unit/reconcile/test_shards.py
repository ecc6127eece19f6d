"""Shards: the label's hash, even and agreed assignment, selectors that leave nothing out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.reconcile import Shards

SHARDS = Shards("shard-key", 32)

OWNERS = st.sets(st.text("abcdef-0123456789", min_size=1, max_size=8), min_size=1, max_size=SHARDS.count)


@pytest.mark.parametrize(("text", "fnv1a"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)])
def test_a_shard_is_the_published_fnv1a_hash_modulo_32(text: str, fnv1a: int) -> None:
    assert SHARDS.of(text) == fnv1a % 32


def test_shards_of_flyteadmins_label_are_those_of_flytes_compiler() -> None:
    assert SHARDS.of("exec") == 28  # the label `shard-key` of execution `exec` in what FlyteAdmin 1.16 made of it


@given(OWNERS)
def test_every_shard_has_one_owner_and_no_two_shares_differ_by_more_than_one(owners: set[str]) -> None:
    assigned = SHARDS.assign(owners)
    assert assigned.keys() == owners
    assert sorted(shard for shards in assigned.values() for shard in shards) == list(range(SHARDS.count))
    shares = [len(shards) for shards in assigned.values()]
    assert max(shares) - min(shares) <= 1


@given(OWNERS)
def test_the_assignment_does_not_depend_on_the_order_of_the_names(owners: set[str]) -> None:
    assert SHARDS.assign(sorted(owners)) == SHARDS.assign(sorted(owners, reverse=True))


@pytest.mark.parametrize("count", range(1, 12))
def test_when_an_owner_joins_at_most_half_of_the_shards_move(count: int) -> None:
    owners = [f"propeller-{number}" for number in range(count)]
    before = {shard: owner for owner, shards in SHARDS.assign(owners).items() for shard in shards}
    after = {shard: owner for owner, shards in SHARDS.assign([*owners, "joins"]).items() for shard in shards}
    assert sum(before[shard] != after[shard] for shard in before) <= SHARDS.count / 2


@given(OWNERS)
def test_each_object_is_selected_once_whether_labelled_or_not(owners: set[str]) -> None:
    selectors = [SHARDS.selector(shards) for shards in SHARDS.assign(owners).values()]
    for label in (None, *map(str, range(SHARDS.count))):
        assert sum(selects(selector, label) for selector in selectors) == 1


def selects(selector: str, label: str | None) -> bool:
    """Kubernetes' rule: `notin` selects objects without the label, `in` does not."""
    if not selector:
        return True
    name, operator, values = selector.split(" ")
    assert name == "shard-key"
    listed = values.strip("()").split(",")
    return label in listed if operator == "in" else label not in listed


def test_one_owner_of_everything_needs_no_selector() -> None:
    assert SHARDS.selector(range(SHARDS.count)) == ""


@pytest.mark.parametrize("owners", [[], ["a", "a"], [str(number) for number in range(33)]])
def test_owners_that_cannot_be_served_are_refused(owners: list[str]) -> None:
    with pytest.raises(Invalid, match="1 to 32 owners"):
        SHARDS.assign(owners)


@pytest.mark.parametrize("shards", [[], [32], [-1, 0]])
def test_shards_that_are_not_there_are_refused(shards: list[int]) -> None:
    with pytest.raises(Invalid, match="some of 0 to 31"):
        SHARDS.selector(shards)
