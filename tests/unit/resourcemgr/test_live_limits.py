"""Other limits come while many claims wait: they get new places in slices, and in the end it is as if at once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from unittest import mock

import pytest

from propeller.resourcemgr import Claim, Limits, Pool, Tenant, _ledger
from propeller.resourcemgr._waiter import Waiter
from propeller.resourcemgr._waitlist import Waitlist
from tests.unit.resourcemgr.book import Book, limits

DB = Pool(name="db", capacity=4)
BEFORE = limits(DB)
AFTER = limits(Pool(name="all", capacity=6), Pool(name="db", capacity=6, parent="all"))


class _Places:
    """Counts claims that get new places."""

    def __init__(self) -> None:
        self.count = 0

    def taken(self) -> int:
        """Since it was looked at last."""
        found, self.count = self.count, 0
        return found


@pytest.fixture
def places() -> Iterator[_Places]:
    found, place = _Places(), Waitlist._place

    def counted(self: Waitlist, waiter: Waiter, *rest: object) -> None:
        found.count += 1
        place(self, waiter, *rest)  # type: ignore[arg-type]

    with mock.patch.object(Waitlist, "_place", counted):
        yield found


def _flooded(count: int, of: Limits = BEFORE) -> Book:
    book = Book(of)
    for number in range(count):
        book.acquire(f"t{number % 3}/x", ("db", 1))
    return book


def test_a_change_of_structure_places_no_more_than_a_slice_at_once_and_grants_when_all_have_places(
    places: _Places,
) -> None:
    book = _flooded(20_000)
    book.ledger.configure(AFTER, book.now)
    taken = [places.taken()]
    while taken[-1] == _ledger._SLICE:
        assert len(book.held) == 4, "nothing is granted before all have places"
        assert book.ledger.next_wake() == float("-inf")
        assert sum(pool.waiting for pool in book.ledger.report().pools) == 19_996
        book.pass_time(0.001)
        taken.append(places.taken())
    assert len(taken) == 19_996 // _ledger._SLICE + 1
    assert sum(taken) == 19_996
    assert len(book.held) == 6
    assert book.ledger.next_wake() is None
    assert [(pool.name, pool.held) for pool in book.ledger.pools] == [("all", 6), ("db", 6)]


def test_other_weights_and_tenants_without_limits_move_no_claim(places: _Places) -> None:
    book = _flooded(1000)
    tenants = [Tenant(name="t1", weight=3.0), Tenant(name="new", weight=2.0)]
    book.ledger.configure(limits(DB, tenants=tenants), book.now)
    book.ledger.configure(limits(Pool(name="db", capacity=5), tenants=tenants), book.now)
    assert places.taken() == 0
    assert len(book.held) == 5


def test_what_comes_ends_and_changes_between_two_slices_is_right(places: _Places) -> None:
    with mock.patch.object(_ledger, "_SLICE", 5):
        book = _flooded(34)
        waiting = list(book.waiting)
        book.ledger.configure(AFTER, book.now)
        book.release(waiting[0])  # it has its place
        book.release(waiting[-1])
        book.amend(waiting[-2], ("db", 2))
        book.ledger.restore(Claim(waiting[-3], ("t2", "x"), (("db", 1),)), book.now)
        new = book.acquire("t9", ("all", 1))
        assert new in book.waiting, "it does not go before those that have no places yet"
        wait = book.ledger.explain(waiting[-4])
        assert wait is not None
        assert wait.pool == "db"
        book.release_one()
        for _ in range(10):
            book.pass_time(0.001)
        pools = {pool.name: pool.held for pool in book.ledger.pools}
        assert pools == {"all": 6, "db": 6 - (new in book.held)}
        assert waiting[0] not in book.ledger
        assert waiting[-1] not in book.ledger


@pytest.mark.parametrize("seed", range(20))
def test_slices_end_as_if_it_was_done_at_once(seed: int) -> None:
    def run(size: int) -> tuple[list[str], dict[str, str], dict[str, int]]:
        rng = random.Random(seed)
        with mock.patch.object(_ledger, "_SLICE", size):
            book = Book(limits(DB, Pool(name="api", capacity=9), tenants=[Tenant(name="t1", weight=2.0)]))
            for _ in range(80):
                pool = rng.choice(["db", "api"])
                book.acquire(f"t{rng.randint(0, 2)}/x", (pool, rng.randint(1, 4)), priority=rng.randint(0, 1))
            own = {"api": rng.randint(2, 4)}
            book.ledger.configure(
                limits(
                    Pool(name="all", capacity=rng.choice([6, 12])),
                    Pool(name="db", capacity=3, parent="all"),
                    Pool(name="api", capacity=9, parent="all"),
                    tenants=[Tenant(name="t0", limits=own)],
                ),
                book.now,
            )
            for _ in range(100):
                book.ledger.tick(book.now)
            order = []
            while book.held:
                order.append(next(iter(book.held)))
                book.release(order[-1])
            assert not book.waiting
            return order, book.refused, {pool.title: pool.held for pool in book.ledger.pools}

    assert run(1) == run(10_000)


def test_claims_that_lose_their_pools_twice_in_a_row_are_counted_and_granted_once(places: _Places) -> None:
    with mock.patch.object(_ledger, "_SLICE", 3):
        book = _flooded(20)
        for of in (AFTER, BEFORE, AFTER):
            book.ledger.configure(of, book.now)
            book.pass_time(0.001)
        for _ in range(10):
            book.pass_time(0.001)
        assert len(book.held) == 6
        assert sum(pool.waiting for pool in book.ledger.report().pools) == 14
        while book.held:
            book.release_one()
        assert not book.waiting
        assert not book.ledger.usage()
