"""A rollout goes on stage by stage, back at once, and never gives a shard to who may not have it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Conflict, Invalid
from propeller.reconcile.rollouts import (
    Observed,
    Rollout,
    RolloutOptions,
    Share,
    State,
    abort,
    begin,
    divisions,
    promote,
    step,
    waits_for,
)
from propeller.reconcile.rollouts._rollout import alpha_of

COUNT = 17
GOOD = {"errors": Share(1, 1000)}


def begun(**options: float) -> Rollout:
    loads = {shard: 10.0 - shard for shard in range(COUNT)}
    return begin("2.0", "1.0", loads, COUNT, RolloutOptions(**options), 100.0)  # type: ignore[arg-type]


def seen(seconds: float, bad: int = 0, total: int = 1000) -> Observed:
    return Observed(seconds=seconds, waited=seconds, candidate={"errors": Share(bad, total)}, current=GOOD)


def test_it_begins_with_the_shards_of_the_least_load() -> None:
    rollout = begun()
    assert rollout.shards == {16}
    assert rollout.order[:3] == (16, 15, 14)


def test_a_good_version_gets_more_with_each_stage_and_then_all() -> None:
    rollout, had = begun(), []
    for at in range(1, 4):
        had.append(len(rollout.shards))
        assert step(rollout, seen(599.0), 100.0 + at).stage == rollout.stage
        rollout = step(rollout, seen(600.0), 700.0 * at)
    assert had == [1, 4, 8]
    assert rollout.state is State.PROMOTED
    assert len(rollout.shards) == COUNT
    assert rollout.since == 2100.0


def test_a_bad_version_is_rolled_back_at_the_first_look_and_says_by_what() -> None:
    rollout = step(begun(), seen(1.0, bad=9, total=20), 140.0)
    assert rollout.state is State.ABORTED
    assert "errors: 9 of 20" in rollout.reason
    assert not rollout.shards


def test_it_is_looked_at_when_it_has_done_twice_as_much_and_between_nothing_is_judged() -> None:
    rollout = step(begun(), seen(40.0, total=10), 140.0)
    assert (rollout.looked, rollout.looked_at) == (1, 10)
    assert step(rollout, seen(41.0, bad=9, total=19), 141.0) == rollout
    assert step(rollout, seen(45.0, bad=9, total=20), 175.0).state is State.ABORTED


def test_with_few_things_done_no_number_of_seconds_is_a_look() -> None:
    rollout = begun()
    assert step(rollout, seen(7.0, bad=3, total=3), 1e6) == rollout


@given(st.integers(1, 200))
def test_all_looks_of_all_stages_spend_alpha_at_most(looks: int) -> None:
    options = RolloutOptions()
    spent = sum(alpha_of(options, look) for look in range(1, looks + 1)) * len(options.stages)
    assert options.alpha / 2 <= spent + 1e-12 <= options.alpha + 1e-12


def test_members_that_fall_silent_end_it_whatever_else_is_seen() -> None:
    rollout = begun()
    one = Rollout(**{name: getattr(rollout, name) for name in Rollout.__struct_fields__} | {"crashes": 2})
    assert step(one, seen(1.0), 101.0).reason == "2 members of 2.0 fell silent"


def test_members_that_fall_silent_as_often_as_those_of_the_version_that_runs_end_nothing() -> None:
    both = msgspec.structs.replace(begun(), crashes=2, other_crashes=5)
    assert step(both, seen(1.0), 101.0, alive=(2, 5)).state is State.BAKING
    assert step(both, seen(1.0), 101.0, alive=(2, 50)).state is State.ABORTED


def test_a_stage_without_work_waits_for_a_person_in_the_end() -> None:
    rollout = begun()
    for seconds in (600.0, 3000.0, 7199.0):
        rollout = step(rollout, seen(seconds, total=49), 100.0 + seconds)
        assert rollout.state is State.BAKING
        assert waits_for(rollout) == "50 errors, of which there are 49"
    rollout = step(rollout, seen(7200.0, total=49), 7300.0)
    assert rollout.state is State.HELD
    assert rollout.reason == ("after 7200 s it waits for 50 errors, of which there are 49: promote or abort it")
    assert promote(rollout, 8000.0).stage == 1


def held() -> Rollout:
    return step(begun(), seen(7200.0, total=49), 7300.0)


def test_one_that_is_held_goes_on_by_hand_alone_and_is_judged_all_the_same() -> None:
    good = step(held(), seen(9000.0, total=9999), 9100.0)
    assert (good.state, good.stage) == (State.HELD, 0)
    assert step(held(), seen(9000.0, bad=60, total=200), 9100.0).state is State.ABORTED


def test_a_version_without_members_waits_for_them_and_says_so() -> None:
    rollout = step(begun(), Observed(waited=80.0), 180.0)
    assert waits_for(rollout) == "members of 2.0 that hold its shards, 1 in this stage"
    rollout = step(rollout, Observed(waited=7200.0), 7300.0)
    assert rollout.state is State.HELD
    assert "members of 2.0 that hold its shards" in rollout.reason


def test_while_it_bakes_the_status_says_how_long_by_what_is_noted_now_and_then() -> None:
    rollout, writes = begun(), 0
    for second in range(600):
        after = step(rollout, seen(float(second), total=3), 100.0 + second)
        writes, rollout = writes + (after != rollout), after
    assert 7 <= writes <= 8
    assert waits_for(rollout) == "the end of its time, of which 525 of 600 s are over"


def test_a_stage_with_all_shards_has_nobody_to_be_compared_with() -> None:
    rollout = begin("2.0", "1.0", {}, COUNT, RolloutOptions(stages=(1.0,)), 100.0)
    alone = Observed(seconds=600.0, candidate={"errors": Share(0, 60)}, current={})
    assert step(rollout, alone, 700.0).state is State.PROMOTED


def abort_again(rollout: Rollout, now: float) -> Rollout:
    return abort(rollout, "again", now)


@pytest.mark.parametrize("after", [lambda it: promote(it, 1.0, whole=True), lambda it: abort(it, "a reason", 1.0)])
def test_one_that_is_over_changes_no_more(after: object) -> None:
    over = after(begun())  # type: ignore[operator]
    assert step(over, seen(9999.0, bad=1000), 9999.0) == over
    for change in (promote, abort_again):
        with pytest.raises(Conflict, match="is over"):
            change(over, 2.0)


@pytest.mark.parametrize(("candidate", "current"), [("", "1"), ("1", ""), ("1", "1")])
def test_it_goes_from_one_version_to_another(candidate: str, current: str) -> None:
    with pytest.raises(Invalid, match="from one version to another"):
        begin(candidate, current, {}, COUNT, RolloutOptions(), 0.0)


@pytest.mark.parametrize(
    "options",
    [
        {"stages": ()},
        {"stages": (0.5, 0.2)},
        {"stages": (0.0, 0.5)},
        {"stages": (0.5, 1.1)},
        {"bake": 10.0, "longest": 5.0},
        {"bake": float("nan")},
        {"alpha": 0.0},
        {"tolerance": 0.5},
        {"least": 0},
        {"detectable": 0.0},
        {"detectable": 1.1},
        {"pace": -0.1},
        {"pace": float("nan")},
        {"crashes": 0},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must|has to"):
        RolloutOptions(**options)  # type: ignore[arg-type]


names = st.lists(st.sampled_from("abcdef"), unique=True)
records = st.builds(
    Rollout,
    candidate=st.just("2"),
    current=st.just("1"),
    order=st.permutations(range(COUNT)).map(tuple),
    stage=st.integers(0, 2),
    state=st.sampled_from(State),
)


@given(st.none() | records, names, st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "2", ""])))
def test_each_shard_is_divided_once_and_a_bad_version_has_none(
    rollout: Rollout | None, members: list[str], versions: dict[str, str]
) -> None:
    found = divisions(rollout, members, versions, COUNT)
    assert sorted(shard for shards, _ in found for shard in shards) == list(range(COUNT))
    new = {name for name in members if versions.get(name) == "2"}
    for shards, owners in found:
        assert set(owners) <= set(members)
        if rollout is None:
            continue
        if rollout.state is State.ABORTED or (not rollout.state.is_over and shards - rollout.shards):
            assert not set(owners) & new


@given(records)
def test_later_stages_keep_the_shards_of_earlier_ones(rollout: Rollout) -> None:
    if rollout.state.is_over:
        return
    assert rollout.shards <= promote(rollout, 0.0).shards


def test_shards_that_come_first_have_a_stage_each_and_the_others_follow_by_their_shares() -> None:
    loads = {shard: 10.0 - shard for shard in range(COUNT)}
    rollout = begin("2.0", "1.0", loads, COUNT + 2, RolloutOptions(), 100.0, first=(18, 17))
    had = []
    while not rollout.state.is_over:
        had.append(rollout.shards)
        rollout = promote(rollout, 100.0)
    assert had[:3] == [{18}, {18, 17}, {18, 17, 16}]
    assert list(map(len, had)) == [1, 2, 3, 6, 10]
    assert rollout.shards == set(range(COUNT + 2))
