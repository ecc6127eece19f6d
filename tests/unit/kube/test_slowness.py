"""Whether answers have become slow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.kube._slowness import ALWAYS_SLOW, FLOOR_SECONDS, MAX_FACTOR, MAX_SAMPLES, MIN_FACTOR, Slowness
from tests.examples import examples


def rounds(of: Slowness, *seconds: float, began: float = 0.0, at_once: int = 4) -> list[float]:
    """Medians of the rounds of answers that come every quarter of a second."""
    found = [of.answered(one, began + number / 4, at_once) for number, one in enumerate(seconds)]
    return [one for one in found if one is not None]


def test_a_round_lasts_a_second_and_has_as_many_answers_as_may_be_under_way() -> None:
    assert rounds(Slowness(0.5, 5.0), *[0.1] * 12) == [0.1, 0.1]
    assert rounds(Slowness(0.5, 5.0), *[0.1] * 12, at_once=10) == [0.1]
    assert rounds(Slowness(0.5, 5.0), 0.1, 0.1, 9.0, 0.1, 0.1) == [0.1]


@pytest.mark.parametrize(
    ("floor", "seconds", "factor"),
    [
        (0.01, 0.4, None),
        (0.01, 0.55, MAX_FACTOR),
        (0.01, 0.7, 0.5 / 0.7),
        (0.01, 30.0, MIN_FACTOR),
        (0.3, 1.4, None),
        (0.3, 3.0, MIN_FACTOR),
        (20.0, ALWAYS_SLOW - 0.1, None),
        (20.0, ALWAYS_SLOW * 1.5, 1 / 1.5),
    ],
)
def test_slow_is_what_is_slow_and_several_times_slower_than_the_fastest(
    floor: float, seconds: float, factor: float | None
) -> None:
    of = Slowness(0.5, 5.0)
    of.answered(floor, 0.0, 4)
    assert of.factor(seconds) == (factor if factor is None else pytest.approx(factor))


def test_the_fastest_of_long_ago_is_forgotten() -> None:
    of = Slowness(0.5, 5.0)
    of.answered(0.001, 0.0, 4)
    assert of.slow == 0.5
    for number in range(3):
        rounds(of, *[0.4] * 12, began=(number + 1) * (FLOOR_SECONDS + 1))
    assert of.slow == pytest.approx(2.0)


@examples(200)
@given(st.lists(st.floats(0.0, 100.0), max_size=300), st.integers(1, 64))
def test_a_round_says_what_half_of_its_answers_were_and_keeps_few(answers: list[float], at_once: int) -> None:
    of = Slowness(0.5, 5.0)
    for number, seconds in enumerate(answers):
        found = of.answered(seconds, number * 0.01, at_once)
        assert len(of._samples) <= MAX_SAMPLES
        assert found is None or 0.0 <= found <= 100.0
        assert 0.5 <= of.slow <= max(0.5, ALWAYS_SLOW)
