"""Which member gets which shard: by load, with the fewest moves."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.reconcile.shards import assign
from propeller.reconcile.shards._assignment import weights_of

COUNT = 33
members = st.sets(st.text("abcdefgh", min_size=1, max_size=3), min_size=1, max_size=12)
loads = st.dictionaries(st.integers(0, COUNT - 1), st.integers(0, 10_000).map(float))


def carried(owner: dict[int, str], load: dict[int, float]) -> dict[str, float]:
    weights = weights_of(load, COUNT)
    found = dict.fromkeys(owner.values(), 0.0)
    for shard, name in owner.items():
        found[name] += weights[shard]
    return found


@given(members, loads, members)
def test_every_shard_has_one_living_member_and_none_is_left_without_if_there_are_enough(
    before: set[str], load: dict[int, float], after: set[str]
) -> None:
    owner = assign(after, load, assign(before, {}, {}, COUNT), COUNT)
    assert sorted(owner) == list(range(COUNT))
    assert set(owner.values()) == after


@given(members, loads)
def test_an_assignment_that_was_levelled_is_not_changed_again(names: set[str], load: dict[int, float]) -> None:
    owner = assign(names, load, {}, COUNT)
    assert assign(names, load, owner, COUNT) == owner


@given(members, members)
def test_with_equal_loads_members_have_equal_numbers_and_no_more_shards_move_than_must(
    before: set[str], after: set[str]
) -> None:
    old = assign(before, {}, {}, COUNT)
    new = assign(after, {}, old, COUNT)
    counts = Counter(new.values())
    assert max(counts.values()) - min(counts[name] for name in after) <= 2
    kept = Counter(name for name in old.values() if name in after)
    share = COUNT // len(after)
    surplus = sum(max(kept[name] - share, 0) for name in after)
    moved_from_living = sum(old[shard] in after and old[shard] != new[shard] for shard in range(COUNT))
    assert moved_from_living <= surplus


@given(members, loads, members)
def test_unless_levelling_is_asked_for_no_living_member_loses_a_shard(
    before: set[str], load: dict[int, float], after: set[str]
) -> None:
    old = assign(before, {}, {}, COUNT)
    new = assign(after, load, old, COUNT, level=False)
    assert all(new[shard] == name for shard, name in old.items() if name in after)


@given(members, st.dictionaries(st.integers(0, COUNT - 1), st.floats()))
def test_loads_may_be_any_numbers(names: set[str], load: dict[int, float]) -> None:
    assert set(assign(names, load, {}, COUNT).values()) <= names


@given(members, loads)
def test_every_move_for_load_makes_the_heaviest_member_lighter(names: set[str], load: dict[int, float]) -> None:
    even = assign(names, {}, {}, COUNT)
    levelled = assign(names, load, even, COUNT)
    assert max(carried(levelled, load).values()) <= max(carried(even, load).values()) * (1 + 1e-9)


def test_a_member_that_joins_two_gets_a_third() -> None:
    old = assign(["a", "b"], {}, {}, COUNT)
    new = assign(["a", "b", "c"], {}, old, COUNT)
    moved = [shard for shard in old if old[shard] != new[shard]]
    assert Counter(new.values()) == {"a": 11, "b": 11, "c": 11}
    assert len(moved) == 11


def test_the_shards_of_a_dead_member_go_to_all_others_and_nothing_else_moves() -> None:
    old = assign(["a", "b", "c"], {}, {}, COUNT)
    new = assign(["a", "c"], {}, old, COUNT)
    assert all(new[shard] == name for shard, name in old.items() if name != "b")
    assert abs(Counter(new.values())["a"] - Counter(new.values())["c"]) <= 1


def test_a_shard_heavier_than_all_others_together_stays_and_the_others_leave_its_member() -> None:
    load = {0: 9000.0} | dict.fromkeys(range(1, COUNT), 100.0)
    owner = assign(["a", "b", "c"], load, assign(["a", "b", "c"], {}, {}, COUNT), COUNT)
    counts = Counter(owner.values())
    assert counts.pop(owner[0]) == 1
    assert abs(counts.most_common()[0][1] - counts.most_common()[-1][1]) <= 1


def test_of_two_moves_that_level_alike_the_lighter_shard_moves() -> None:
    assert assign(["a", "b"], {0: 500.0}, {0: "a", 1: "a"}, 2) == {0: "a", 1: "b"}


def test_loads_that_differ_by_a_tenth_move_nothing() -> None:
    old = {shard: "ab"[shard % 2] for shard in range(32)}
    load = {shard: 100.0 + 10.0 * (shard % 2) for shard in range(32)}
    assert assign(["a", "b"], load, old, 32) == old


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_no_member_or_one_named_twice_is_refused(names: list[str]) -> None:
    with pytest.raises(Invalid, match="one member or more"):
        assign(names, {}, {}, COUNT)
