"""Tenants that share pools through a store are given what their weights say over time, whatever processes ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propeller.resourcemgr import Limits, Pool, Tenant
from tests.unit.resourcemgr.shared.book import SharedBook
from tests.unit.resourcemgr.sharing import Durations, Found, Sizes, share

ANY_TIME: Durations = lambda rng: rng.expovariate(1 / 20)  # noqa: E731
TOGETHER: Durations = lambda _: 20.0  # noqa: E731


def _book(slots: int, weights: Sequence[float], processes: int) -> SharedBook:
    tenants = tuple(Tenant(name=f"t{number}", weight=weight) for number, weight in enumerate(weights))
    return SharedBook(Limits(pools=(Pool(name="slots", capacity=slots),), tenants=tenants), processes)


def _shared(
    slots: int, weights: Sequence[float], sizes: Sequence[Sizes], durations: Durations, *, processes: int, seed: int = 1
) -> Found:
    return share(_book(slots, weights, processes), slots, weights, sizes, durations, seed=seed, seconds=1200.0)


@pytest.mark.parametrize("durations", [ANY_TIME, TOGETHER], ids=["any time", "all together"])
@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("slots", [5, 10, 40])
def test_slots_are_shared_by_weight_also_if_they_are_few_and_come_free_together(
    slots: int, processes: int, durations: Durations
) -> None:
    found = _shared(slots, (1, 2, 4), [(1,)] * 3, durations, processes=processes)
    assert found.off <= 0.05, found
    assert found.jain >= 0.998
    assert found.idle <= 0.001


@pytest.mark.parametrize("durations", [ANY_TIME, TOGETHER], ids=["any time", "all together"])
@pytest.mark.parametrize("sizes", [[(1,), (2,), (4,)], [(4,), (2,), (1,)], [(1, 2, 4)] * 3], ids=str)
def test_claims_of_one_two_and_four_tokens_are_shared_by_weight(sizes: Sequence[Sizes], durations: Durations) -> None:
    found = _shared(40, (1, 2, 4), sizes, durations, processes=2)
    assert found.off <= 0.12, found
    assert found.jain >= 0.99
    assert found.idle * 40 < max(map(max, sizes)), "tokens that are saved up: less than a claim"


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=5),
    st.sampled_from([8, 20, 40]),
    st.integers(1, 4),
    st.integers(0, 999),
)
def test_shares_are_by_weight_whatever_weights_slots_and_processes_are(
    weights: list[int], slots: int, processes: int, seed: int
) -> None:
    found = _shared(slots, weights, [(1,)] * len(weights), ANY_TIME, processes=processes, seed=seed)
    assert found.off <= 0.08, found
    assert found.jain >= 0.995


def test_tenants_of_another_pool_do_not_count_where_shares_are_compared() -> None:
    """Those of `db` hold all of it: they would be ahead of those of `slots` for ever."""
    pools = (Pool(name="slots", capacity=10), Pool(name="db", capacity=2))
    tenants = tuple(Tenant(name=f"t{number}", weight=weight) for number, weight in enumerate((1, 2, 4)))
    book = SharedBook(Limits(pools=pools, tenants=tenants), 2)
    for number in (7, 8):
        for _ in range(300):
            book.acquire(f"t{number}", ("db", 1))
    found = share(book, 10, (1, 2, 4), [(1,)] * 3, lambda rng: 20.0, seconds=1200.0)
    assert found.off <= 0.05, found


def test_a_tenant_that_was_lent_slots_owes_nothing_and_one_that_was_idle_has_no_credit() -> None:
    book = _book(8, (), 2)

    def turn() -> Counter[str]:
        book.now += 10.0
        for name, claim in list(book.held.items()):
            book.release(name)
            book.acquire(claim.tenant[0], ("slots", 1))
        return Counter(claim.tenant[0] for claim in book.held.values())

    for _ in range(12):
        book.acquire("a", ("slots", 1))
    for _ in range(100):
        assert turn() == {"a": 8}
    for _ in range(12):
        book.acquire("b", ("slots", 1))
    counts = [turn() for _ in range(10)]
    assert all(3 <= held <= 5 for count in counts for held in count.values())
    assert abs(sum(count["a"] - count["b"] for count in counts)) <= 2


def test_what_tenants_leave_behind_in_the_store_is_no_more_than_what_waits_and_is_held() -> None:
    book = _book(4, (), 2)
    for number in range(9000):
        book.release(book.acquire(f"t{number}", ("slots", 1)))
        waits = [book.acquire(f"t{number}", ("slots", 1)) for _ in range(6)] if number % 50 == 0 else []
        assert len(book.held) <= 4
        for name in waits:
            book.release(name)
    assert not book.held
    assert len(book.store.nodes) + len(book.store.balances) < 20_000
    assert not book.store.groups
    assert not any(node.waits for node in book.store.nodes.values())
