"""What a new version has to have done before it is judged: enough for a bad one to show, and a part of everything."""

from __future__ import annotations

import random
from collections.abc import Mapping
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.reconcile.rollouts import Observed, RolloutOptions, Share, State, begin, judge, lacking, step
from propeller.reconcile.rollouts._evidence import POWER, fewest
from propeller.reconcile.rollouts._judge import LAG, LATE

OPTIONS = RolloutOptions(least=5)
ALPHA = 1e-4
PORTION = 1 / 16


def lacks(ours: Mapping[str, Share], theirs: Mapping[str, Share], options: RolloutOptions = OPTIONS) -> str:
    return lacking(ours, theirs, options, alpha=ALPHA, portion=PORTION)


@given(st.integers(0, 60), st.sampled_from([0.1, 0.25, 0.5, 0.9]))
def test_so_many_fail_with_the_stated_probability(total: int, rate: float) -> None:
    found = fewest(total, rate)
    below = sum(comb(total, bad) * rate**bad * (1 - rate) ** (total - bad) for bad in range(found))
    assert below <= 1 - POWER < below + comb(total, found) * rate**found * (1 - rate) ** (total - found)


def test_large_numbers_are_as_many_as_sums_would_have() -> None:
    assert fewest(2001, 0.25) == pytest.approx(fewest(2000, 0.25), abs=2)


def test_a_handful_tells_nothing_however_long_it_took() -> None:
    assert lacks({"reconciles": Share(0, 6)}, {"reconciles": Share(0, 100)}) == (
        "more reconciles than 6 beside 100 of the version that runs, to tell them apart"
    )
    assert lacks({"reconciles": Share(0, 80)}, {"reconciles": Share(0, 1000)}) == ""


def test_without_work_it_says_how_much_is_needed() -> None:
    assert lacks({}, {"reconciles": Share(0, 900)}) == "5 anything, of which there are 0"
    assert lacks({"reconciles": Share(0, 4)}, {"reconciles": Share(0, 900)}) == "5 reconciles, of which there are 4"


def test_a_version_that_launches_and_ends_nothing_does_not_pass_by_its_reconciles() -> None:
    theirs = {"reconciles": Share(0, 5000), "ended nodes": Share(0, 2000)}
    ours = {"reconciles": Share(0, 400), "ended nodes": Share(0, 2)}
    assert lacks(ours, theirs) == (
        "13 ended nodes or enough to judge by, of which there are 2: the version that runs had 2000"
    )
    assert lacks(ours | {"ended nodes": Share(0, 60)}, theirs) == ""
    assert lacks(ours, theirs, RolloutOptions(least=5, pace=0.0)) == ""


def test_what_the_version_that_runs_hardly_does_is_not_asked_for() -> None:
    theirs = {"reconciles": Share(0, 5000), "ended executions": Share(0, 0), "ended nodes": Share(0, 0)}
    assert lacks({"reconciles": Share(0, 400), "ended executions": Share(0, 0)}, theirs) == ""


def test_what_comes_with_time_alone_is_no_work() -> None:
    idle = {LAG: Share(0, 9000), LATE: Share(0, 9000), "reconciles": Share(0, 1)}
    assert lacks(idle, {LAG: Share(0, 9000), "reconciles": Share(0, 9000)}) == "5 reconciles, of which there are 1"


def test_where_the_version_that_runs_fails_at_nearly_everything_nothing_can_be_told() -> None:
    broken = {"reconciles": Share(990, 1000)}
    assert "seldom fail" in lacks({"reconciles": Share(400, 400)}, broken)


@given(
    st.integers(0, 500),
    st.integers(0, 5000),
    st.integers(0, 5000),
    st.sampled_from([0.1, 0.25, 0.5]),
    st.integers(1, 99),
)
def test_with_enough_evidence_a_version_that_fails_as_stated_would_be_found(
    total: int, bad: int, of: int, detectable: float, least: int
) -> None:
    theirs = {"reconciles": Share(min(bad, of), of)}
    options = RolloutOptions(detectable=detectable, least=least)
    if lacking({"reconciles": Share(0, total)}, theirs, options, alpha=ALPHA, portion=PORTION):
        return
    rate = theirs["reconciles"].rate
    failing = {"reconciles": Share(fewest(total, rate + detectable * (1 - rate)), total)}
    assert judge(failing, theirs, alpha=ALPHA, tolerance=options.tolerance) is not None


@given(st.integers(0, 300), st.integers(0, 2000))
def test_more_of_the_same_is_enough_if_less_was(total: int, of: int) -> None:
    if not lacks({"reconciles": Share(0, total)}, {"reconciles": Share(0, of)}):
        assert not lacks({"reconciles": Share(0, 2 * total)}, {"reconciles": Share(0, 2 * of)})


@pytest.mark.parametrize("seconds", [0.02, 0.2, 2.0, 20.0])
def test_a_bad_version_is_caught_in_its_first_stage_on_machines_of_any_speed(seconds: float) -> None:
    """A machine on which a reconcile takes a thousand times as long makes a rollout longer, not blind."""
    caught = 0
    for seed in range(100):
        draw = random.Random(seed)
        rollout = begin("2", "1", {}, 17, RolloutOptions(bake=4.0, least=5), 0.0)
        now, ours, theirs = 0.0, Share(), Share()
        while rollout.state is State.BAKING and rollout.stage == 0:
            now += seconds
            ours += Share(int(draw.random() < 0.3), 1)
            theirs += Share(0, draw.randint(0, 32))
            seen = Observed(seconds=now, waited=now, candidate={"work": ours}, current={"work": theirs})
            rollout = step(rollout, seen, now)
        caught += rollout.state is State.ABORTED
    assert caught >= 90
