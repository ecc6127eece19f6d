"""Claims of a tenant that wait are in order, and each knows how many go before it, however many come and leave."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from propeller.resourcemgr._lane import Lane
from propeller.resourcemgr._tenants import Tenants
from propeller.resourcemgr._waiter import Need, Waiter

_NEED = Need(("a",), (), Tenants({}).leaf(("a",)), (), 0)


def _waiter(place: int) -> Waiter:
    return Waiter(str(place), _NEED, place, 0.0)


def _check(lane: Lane, waiters: dict[int, Waiter], some: int) -> None:
    places = sorted(waiters)
    assert len(lane) == len(places)
    if places:
        assert lane.first is waiters[places[0]]
    for index in range(0, len(places), max(1, len(places) // some)):
        assert lane.ahead_of(waiters[places[index]]) == index


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([3, 600, 3000]), st.floats(0.0, 1.0))
def test_it_counts_as_a_sorted_list_does(seed: int, size: int, at_the_end: float) -> None:
    rng, lane, last = random.Random(seed), Lane(), 0
    waiters: dict[int, Waiter] = {}
    for step in range(3 * size):
        if waiters and (step > 2 * size or rng.random() < 0.3):
            place = min(waiters) if rng.random() < at_the_end else rng.choice(list(waiters))
            lane.remove(waiters.pop(place))
        else:
            last += 2
            place = last if rng.random() < at_the_end else rng.randrange(-last, last) | 1
            if place not in waiters:
                waiters[place] = _waiter(place)
                lane.add(waiters[place])
        if step % size == 0:
            _check(lane, waiters, 20)
    for place in sorted(waiters):
        assert lane.first is waiters[place]
        lane.remove(waiters[place])
    assert not len(lane)


def test_the_place_of_each_of_many_is_counted_in_less_than_time_that_grows_with_them() -> None:
    """Blocks that are counted grow with the root of the claims: else 50,000 that ask would cost as their square."""
    lane = Lane()
    for place in range(200_000):
        lane.add(_waiter(place))
    assert len(lane._lasts) < 1000
    assert max(map(len, lane._places)) < 1000
