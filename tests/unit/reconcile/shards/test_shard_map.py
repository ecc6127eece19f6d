"""What a step of a member may change of the shard map, from any map there may be."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.reconcile.rollouts import RolloutOptions, abort, begin, promote
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


def test_what_a_newer_release_writes_of_a_rollout_is_read_by_an_older_one_beside_it() -> None:
    rollout = begin("2", "1", {}, COUNT, RolloutOptions(bake=5.0), 0.0)
    document = msgspec.json.decode(encode_map(ShardMap(COUNT, members=("a",), rollout=rollout)))
    document["of a newer one"] = document["rollout"]["of a newer one"] = 1
    document["rollout"]["options"]["of a newer one"] = {"a": 1}
    found = decode_map(msgspec.json.encode(document).decode(), COUNT, "ns/g")
    assert found.rollout == rollout


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stage", 3),
        ("stage", -1),
        ("looked", -1),
        ("crashes", -5),
        ("noted", {"candidate": {"work": [7, 5]}}),
        ("noted", {"current": {"work": [-1, 5]}}),
        ("options", {"stages": []}),
    ],
)
def test_a_rollout_that_a_stranger_wrote_is_refused_with_a_mend(field: str, value: object) -> None:
    rollout = begin("2", "1", {}, COUNT, RolloutOptions(), 0.0)
    document = msgspec.json.decode(encode_map(ShardMap(COUNT, members=("a",), rollout=rollout)))
    document["rollout"][field] = value
    with pytest.raises(Invalid, match="delete that Lease to begin anew"):
        decode_map(msgspec.json.encode(document).decode(), COUNT, "ns/g")


def test_loads_that_a_stranger_wrote_count_for_nothing() -> None:
    assert loads_of(["", "nonsense", '{"1": 2.5}', '{"2": "x"}', '{"3": 1}']) == {1: 2.5, 3: 1.0}


def test_a_map_with_other_names_of_shards_is_refused() -> None:
    text = encode_map(ShardMap(COUNT, members=("a",), named=("east",)))
    assert decode_map(text, COUNT, "ns/group", ("east",)).named_shards == {"east": COUNT - 1}
    with pytest.raises(Invalid, match=r"has shards named \['east'\], and the settings say \['west'\]: stop all"):
        decode_map(text, COUNT, "ns/group", ("west",))
    with pytest.raises(Invalid, match=r"has shards named \['east'\], and the settings say \['east', 'west'\]"):
        decode_map(text, COUNT + 1, "ns/group", ("east", "west"))
    with pytest.raises(Invalid, match=f"divides {COUNT} shards, and the settings say {COUNT + 1}"):
        decode_map(text, COUNT + 1, "ns/group", ("east",))
    assert decode_map(text, 0, "ns/group").named == ("east",)


def test_a_map_without_members_is_begun_anew_with_other_shards() -> None:
    left = ShardMap(COUNT, named=("east",), wanted={0: "a"})
    assert decode_map(encode_map(left), COUNT + 1, "ns/group", ("west",)) == ShardMap(COUNT + 1, named=("west",))
    held = ShardMap(COUNT, holders={0: "a"})
    with pytest.raises(Invalid, match="stop all members"):
        decode_map(encode_map(held), COUNT + 1, "ns/group")


def test_a_step_keeps_the_names_of_shards() -> None:
    assert advance(ShardMap(COUNT, named=("east",)), Step(member="a", plans=True)).named == ("east",)


def test_a_version_that_is_tried_in_shards_with_names_alone_is_confined_to_them() -> None:
    map_ = ShardMap(COUNT, named=("east", "west"))
    assert map_.confined("2") is None
    rollout = begin("2", "1", {}, COUNT, RolloutOptions(), 0.0, first=(5, 6))
    stages = []
    for _ in rollout.options.stages:
        map_ = msgspec.structs.replace(map_, rollout=rollout)
        assert map_.confined("1") is None
        stages.append(map_.confined("2"))
        aborted = msgspec.structs.replace(map_, rollout=abort(rollout, "it is bad", 1.0))
        assert aborted.confined("2") == frozenset()
        rollout = promote(rollout, 1.0)
    assert stages == [{"east"}, {"east", "west"}, None, None]
    assert msgspec.structs.replace(map_, rollout=rollout).confined("2") is None


def test_a_version_that_is_tried_in_other_shards_is_not_confined() -> None:
    plain = begin("2", "1", {}, COUNT, RolloutOptions(), 0.0)
    assert ShardMap(COUNT, named=("east",), rollout=plain).confined("2") is None
    assert ShardMap(COUNT, rollout=abort(plain, "it is bad", 1.0)).confined("2") is None
