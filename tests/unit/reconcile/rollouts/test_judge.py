"""The test by which a new version is judged: exact, rarely wrong of equals, and quick to see what is bad."""

from __future__ import annotations

import random
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.reconcile.rollouts import Share, _judge, by_chance, judge, late_shares

shares = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda one: Share(min(one), max(one)))


def exactly(candidate: Share, current: Share) -> float:
    """By integers alone."""
    bad, total = candidate.bad + current.bad, candidate.total + current.total
    ways = sum(
        comb(candidate.total, drawn) * comb(current.total, bad - drawn)
        for drawn in range(candidate.bad, min(bad, candidate.total) + 1)
        if bad - drawn <= current.total
    )
    return ways / comb(total, bad)


@given(shares, shares)
def test_the_probability_is_that_of_fishers_exact_test(candidate: Share, current: Share) -> None:
    assert by_chance(candidate, current) == pytest.approx(exactly(candidate, current), rel=1e-9, abs=1e-15)


def test_counts_of_millions_are_exact_too() -> None:
    found = by_chance(Share(1_100, 1_000_000), Share(10_000, 10_000_000))
    assert 1e-3 < found < 2e-3  # z = 3.0 by the normal approximation, which is good here


@given(st.integers(10_000_000, 20_000_000), st.floats(0.3, 0.7), st.floats(-2, 8))
def test_counts_that_are_too_large_to_be_summed_are_judged_nearly_as_exactly(total: int, rate: float, z: float) -> None:
    deviation = (total * rate * (1 - rate) / 2) ** 0.5
    assert deviation > _judge.EXACT
    candidate, current = Share(int(total * rate + z * deviation), total), Share(int(total * rate), total)
    found = by_chance(candidate, current)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_judge, "EXACT", float("inf"))
        assert found == pytest.approx(by_chance(candidate, current), rel=0.02)


def test_no_count_that_a_lease_may_have_takes_long() -> None:
    """The number of terms is what costs, and the clock is no judge of it: so the sum is not to be reached."""
    half = 1 << 52
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_judge, "_log_choose", None)
        assert by_chance(Share(half + half // 4, 1 << 53), Share(half, 1 << 53)) == 0
        assert by_chance(Share(half, 1 << 53), Share(half, 1 << 53)) == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(3))
def test_of_equally_good_versions_hardly_one_in_a_hundred_is_found_worse(seed: int) -> None:
    draw = random.Random(seed)
    found = 0
    for _ in range(400):
        ours, theirs = (
            {what: Share(sum(draw.random() < rate for _ in range(total)), total) for what, rate in RATES.items()}
            for total in (60, 300)
        )
        found += judge(ours, theirs, alpha=0.01, tolerance=1.0) is not None
    assert found <= 12  # 4 at most are expected; of 12 or more chance has less than one in a thousand


RATES = {"errors": 0.02, "retries": 0.1, "conflicts": 0.3}


def test_a_version_that_fails_at_everything_is_found_after_a_handful() -> None:
    worse = judge({"errors": Share(5, 5)}, {"errors": Share(1, 400)}, alpha=0.0001, tolerance=1.2)
    assert worse is not None
    assert str(worse).startswith("errors: 5 of 5 (100.00%) against 1 of 400 (0.25%)")


def test_a_difference_without_consequence_is_none_however_sure_it_is() -> None:
    ours, theirs = {"errors": Share(110_000, 1_000_000)}, {"errors": Share(100_000, 1_000_000)}
    assert judge(ours, theirs, alpha=0.01, tolerance=1.2) is None
    assert judge(ours, theirs, alpha=0.01, tolerance=1.0) is not None


def test_what_only_one_of_them_tells_is_left_out() -> None:
    assert judge({"new metric": Share(9, 9)}, {"errors": Share(0, 900)}, alpha=0.01, tolerance=1.2) is None


def test_late_is_what_takes_longer_than_nearly_all_of_the_version_that_runs() -> None:
    assert late_shares([10, 40, 50], [90, 8, 2]) == (Share(50, 100), Share(2, 100))
    assert late_shares([0, 0, 7], [0, 0, 9]) == (Share(0, 7), Share(0, 9))
    assert late_shares([1, 2, 3], [0, 0, 0]) == (Share(5, 6), Share(0, 0))
