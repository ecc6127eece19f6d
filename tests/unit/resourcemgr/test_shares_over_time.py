"""What is left over when shares are rounded to whole tokens is carried over: the mean over time is the ideal."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propeller.resourcemgr import Pool, Tenant
from tests.unit.resourcemgr.book import Book, limits
from tests.unit.resourcemgr.sharing import Durations, Found, Sizes, share


def _flooded(slots: int, weights: Sequence[float]) -> Book:
    """All slots came free at once, and each tenant has more that waits than there are slots."""
    tenants = [Tenant(name=f"t{number}", weight=weight) for number, weight in enumerate(weights)]
    book = Book(limits(Pool(name="slots", capacity=slots), tenants=tenants))
    block = book.acquire("block", ("slots", slots))
    for tenant in tenants:
        for _ in range(slots + 1):
            book.acquire(tenant.name, ("slots", 1))
    book.release(block)
    return book


def _waves(slots: int, weights: Sequence[float], count: int, seconds: float) -> list[float]:
    """Tokens that each tenant holds, on average over waves of tasks that begin and end together."""
    book, held = _flooded(slots, weights), Counter[str]()
    for _ in range(count):
        held += book.tenants()
        book.now += seconds
        for name, claim in list(book.held.items()):
            book.release(name)
            book.acquire(claim.tenant[0], ("slots", 1))
    return [held[f"t{number}"] / count for number in range(len(weights))]


@pytest.mark.parametrize(("seconds", "off"), [(20.0, 0.01), (0.0, 0.02)])
def test_slots_that_come_free_together_wave_after_wave_are_shared_by_weight(seconds: float, off: float) -> None:
    assert _waves(40, (1, 2, 4), 20, seconds) == pytest.approx([40 / 7, 80 / 7, 160 / 7], rel=off)


@settings(max_examples=60)
@given(st.integers(2, 60), st.lists(st.integers(1, 7), min_size=2, max_size=6), st.integers(20, 60))
def test_the_mean_of_waves_is_right_to_a_part_of_a_token_whatever_weights_and_slots_are(
    slots: int, weights: list[int], count: int
) -> None:
    ideal = [slots * weight / sum(weights) for weight in weights]
    for found, right in zip(_waves(slots, weights, count, 20.0), ideal, strict=True):
        assert abs(found - right) <= 0.03 + 2 / count, (weights, found, right)


_DURATIONS: dict[str, Sequence[Callable[[random.Random], float]]] = {
    "the smallest tenant's tasks are the longest": [lambda _: 20.0, lambda _: 5.0, lambda _: 1.0],
    "the smallest tenant's tasks are the shortest": [lambda _: 1.0, lambda _: 5.0, lambda _: 20.0],
    "tasks take any time": [lambda rng: rng.expovariate(1 / 20)] * 3,
}


@pytest.mark.parametrize("durations", _DURATIONS.values(), ids=_DURATIONS)
def test_slot_seconds_are_shared_by_weight_however_long_tasks_take(
    durations: Sequence[Callable[[random.Random], float]],
) -> None:
    weights, rng = (1, 2, 4), random.Random(1)
    book, busy, ends = _flooded(40, weights), Counter[str](), list[tuple[float, str]]()
    known: set[str] = set()
    until = book.now + 1000.0
    while True:
        for name in book.held.keys() - known:
            tenant = book.held[name].tenant[0]
            seconds = durations[int(tenant[1:])](rng)
            busy[tenant] += round(1000 * (min(book.now + seconds, until) - book.now))
            heapq.heappush(ends, (book.now + seconds, name))
        known = set(book.held)
        if ends[0][0] >= until:
            break
        book.now, name = heapq.heappop(ends)
        tenant = book.held[name].tenant[0]
        book.release(name)
        book.acquire(tenant, ("slots", 1))
    assert [busy[f"t{number}"] / busy.total() for number in range(3)] == pytest.approx([1 / 7, 2 / 7, 4 / 7], rel=0.005)


def test_a_tenant_that_holds_nothing_for_its_small_weight_gets_its_turn_after_a_while() -> None:
    """Nothing is released by it, which would show that it is ahead no longer."""
    found = _waves(9, (2, 4, 6, 1), 40, 20.0)
    assert found == pytest.approx([18 / 13, 36 / 13, 54 / 13, 9 / 13], abs=0.05)


def test_a_tenant_that_was_idle_has_no_credit_and_one_that_was_lent_owes_no_more_than_a_claim() -> None:
    book = Book(limits(Pool(name="slots", capacity=8)))

    def turn() -> None:
        book.now += 10.0
        for name in list(book.held):
            tenant = book.held[name].tenant[0]
            book.release(name)
            book.acquire(tenant, ("slots", 1))

    for _ in range(12):
        book.acquire("a", ("slots", 1))
    for _ in range(1000):
        turn()
    assert book.tenants() == {"a": 8}
    for _ in range(12):
        book.acquire("b", ("slots", 1))
    held = Counter[str]()
    for _ in range(10):
        turn()
        held += book.tenants()
        assert all(3 <= count <= 5 for count in book.tenants().values())
    assert abs(held["a"] - held["b"]) <= 2


def test_a_tenant_that_holds_much_and_waits_for_nothing_does_not_count_where_others_are_compared() -> None:
    tenants = [Tenant(name=f"t{number}", weight=weight) for number, weight in enumerate((1, 2, 4))]
    book = Book(limits(Pool(name="slots", capacity=40), tenants=tenants))
    block = book.acquire("block", ("slots", 20))
    for _ in range(11):
        book.acquire("lent", ("slots", 1))
    lent = [name for name in book.held if name != block]
    for tenant in tenants:
        for _ in range(30):
            book.acquire(tenant.name, ("slots", 1))
    given_up = [book.acquire("lent", ("slots", 1)) for _ in range(9)]
    for name in given_up:
        book.release(name)
    book.release(block)
    held = Counter[str]()
    for wave in range(42):
        held += book.tenants() if wave > 1 else Counter()
        book.now += 20.0
        for name, claim in list(book.held.items()):
            if name not in lent:
                book.release(name)
                book.acquire(claim.tenant[0], ("slots", 1))
    found = [held[tenant.name] for tenant in tenants]
    assert [count / sum(found) for count in found] == pytest.approx([1 / 7, 2 / 7, 4 / 7], rel=0.02)


ANY_TIME: Durations = lambda rng: rng.expovariate(1 / 20)  # noqa: E731
TOGETHER: Durations = lambda _: 20.0  # noqa: E731


def _shared(slots: int, weights: Sequence[float], sizes: Sequence[Sizes], durations: Durations, seed: int = 1) -> Found:
    tenants = [Tenant(name=f"t{number}", weight=weight) for number, weight in enumerate(weights)]
    book = Book(limits(Pool(name="slots", capacity=slots), tenants=tenants))
    return share(book, slots, weights, sizes, durations, seed=seed)


@pytest.mark.parametrize("durations", [ANY_TIME, TOGETHER], ids=["any time", "all together"])
@pytest.mark.parametrize(
    ("slots", "sizes"),
    [
        (40, [(1,), (2,), (4,)]),
        (40, [(4,), (2,), (1,)]),
        (40, [(1, 2, 4)] * 3),
        (10, [(1,), (2,), (4,)]),
        (10, [(1, 2, 4)] * 3),
    ],
    ids=str,
)
def test_claims_of_one_two_and_four_tokens_are_shared_by_weight_and_not_by_who_fits(
    slots: int, sizes: Sequence[Sizes], durations: Durations
) -> None:
    found = _shared(slots, (1, 2, 4), sizes, durations)
    assert found.off <= 0.08, found
    assert found.jain >= 0.995
    assert found.idle * slots < max(map(max, sizes)), "tokens that are saved up: less than a claim"


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_shares_are_by_weight_whatever_sizes_and_weights_are(data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=5))
    sizes = data.draw(
        st.lists(
            st.sampled_from([(1,), (2,), (4,), (1, 2), (1, 4), (1, 2, 4)]),
            min_size=len(weights),
            max_size=len(weights),
        )
    )
    slots = data.draw(st.sampled_from([20, 40, 64]))
    found = _shared(slots, weights, sizes, ANY_TIME, seed=data.draw(st.integers(0, 999)))
    assert found.off <= 0.15, found
    assert found.jain >= 0.99


def test_what_is_saved_up_for_a_big_claim_is_no_more_than_it_lacks_and_only_if_it_lacks_nothing_else() -> None:
    """Its other pool is full for long: meanwhile the smaller ones of another tenant go before it."""
    book = Book(limits(Pool(name="slots", capacity=4), Pool(name="db", capacity=1)))
    book.acquire("c", ("db", 1))
    for _ in range(20):
        book.acquire("a", ("slots", 1))
    big = book.acquire("b", ("slots", 3), ("db", 1))
    for _ in range(10):
        book.now += 1.0
        book.release_one("a")
        assert book.tenants()["a"] == 4
    book.release_one("c")
    for _ in range(3):
        book.now += 1.0
        book.release_one("a")
    assert big in book.held


def test_a_rate_is_shared_by_weight_also_by_claims_of_different_sizes() -> None:
    book = Book(limits(Pool(name="calls", rate=1.0, burst=4), tenants=[Tenant(name="b", weight=3.0)]))
    for _ in range(400):
        book.acquire("a", ("calls", 1))
        book.acquire("b", ("calls", 4))
    book.held.clear()
    for _ in range(400):
        book.pass_time(1.0)
    assert 4 * book.tenants()["b"] == pytest.approx(3 * book.tenants()["a"], rel=0.05)
