"""What a step of a member may change of the shard map, from any map there may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.reconcile.shards._shard_map import ShardMap, Step, advance, decode_map, encode_map, loads_of

COUNT = 7
names = st.sampled_from("abcde")
owners = st.dictionaries(st.integers(0, COUNT - 1), names)
maps = st.builds(ShardMap, st.just(COUNT), st.lists(names, unique=True).map(tuple), holders=owners, wanted=owners)
shards = st.frozensets(st.integers(0, COUNT - 1))
steps = st.builds(
    Step,
    member=names,
    leaves=st.booleans(),
    stopped=shards,
    gone=st.frozensets(names),
    plans=st.booleans(),
    levels=st.booleans(),
    loads=st.dictionaries(st.integers(0, COUNT - 1), st.floats(0, 100)),
    active=st.integers(0, 3),
).filter(lambda step: step.member not in step.gone)


@given(maps, steps)
def test_a_shard_changes_hands_only_through_nobodys(before: ShardMap, step: Step) -> None:
    after = advance(before, step)
    for shard in range(COUNT):
        had, has = before.holders.get(shard), after.holders.get(shard)
        if had == has:
            continue
        freed = had is None or had in step.gone or (had == step.member and (step.leaves or shard in step.stopped))
        assert freed
        assert has in {None, step.member}


@given(maps, steps)
def test_a_step_taken_twice_changes_nothing_more(before: ShardMap, step: Step) -> None:
    after = advance(before, step)
    again = Step(**{field: getattr(step, field) for field in Step.__struct_fields__ if field != "stopped"})
    assert advance(after, again) == after


@given(maps, steps)
def test_who_has_left_or_is_gone_is_nowhere_in_the_map(before: ShardMap, step: Step) -> None:
    after = advance(before, step)
    absent = step.gone | ({step.member} if step.leaves else set())
    assert not absent & {*after.members, *after.holders.values()}


@given(maps, st.lists(names, min_size=1, unique=True))
def test_after_a_step_of_each_member_and_one_more_every_shard_has_its_holder(
    before: ShardMap, living: list[str]
) -> None:
    gone = before.names - set(living)
    map_ = before
    for _ in range(3):
        for name in living:
            stopped = map_.held_by(name) - map_.wanted_of(name)
            map_ = advance(map_, Step(member=name, gone=gone, plans=True, stopped=stopped))
    assert set(map_.members) == set(living)
    assert dict(map_.holders) == dict(map_.wanted)
    assert len(map_.holders) == COUNT


@given(maps)
def test_a_map_survives_being_written(map_: ShardMap) -> None:
    assert decode_map(encode_map(map_), COUNT, "ns/group") == map_


@pytest.mark.parametrize("text", ["{", "[]", '{"count": "x"}', '{"count": 7, "members": [{"a": 1}]}'])
def test_a_text_that_is_no_map_is_refused_with_a_mend(text: str) -> None:
    with pytest.raises(Invalid, match="delete that Lease"):
        decode_map(text, COUNT, "ns/group")


def test_loads_that_a_stranger_wrote_count_for_nothing() -> None:
    assert loads_of(["", "nonsense", '{"1": 2.5}', '{"2": "x"}', '{"3": 1}']) == {1: 2.5, 3: 1.0}
