"""What tenants do not lend: kept for them at every level, and nothing else left idle."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from propeller.errors import Invalid
from propeller.resourcemgr import Limits, Pool, Tenant, kept_of
from propeller.resourcemgr._kept_need import KeptNeed
from tests.unit.resourcemgr.book import Book, limits
from tests.unit.resourcemgr.lending import NAMES, Kept, drawn
from tests.unit.resourcemgr.seeds import one_finds_it

HIVE = Pool(name="hive", capacity=70)


def kept(*tenants: Tenant, pool: Pool = HIVE) -> dict[str, int]:
    found = kept_of(Limits(pools=(pool,), tenants=tenants)).get("hive", {})
    return {"/".join(path): amount for path, amount in found.items()}


def test_a_tenant_keeps_its_share_without_what_it_lends() -> None:
    weights = {"a": 1.0, "b": 2.0, "c": 4.0}
    tenants = [Tenant(name=name, weight=weight, lending={"hive": 5}) for name, weight in weights.items()]
    assert kept(*tenants) == {"a": 5, "b": 15, "c": 35}
    assert kept(*tenants[:2], Tenant(name="c", weight=4.0)) == {"a": 5, "b": 15}
    assert kept(Tenant(name="a", lending={"hive": 90}), Tenant(name="b")) == {"a": 0}


def test_what_domains_keep_is_part_of_their_projects_share_and_within_its_limit() -> None:
    domains = [Tenant(name=f"ml/{name}", lending={"hive": 0}) for name in ("x", "y", "z")]
    assert kept(Tenant(name="etl"), *domains) == {"ml/x": 11, "ml/y": 11, "ml/z": 11}, "35 for three, rounded down"
    assert kept(Tenant(name="etl"), Tenant(name="ml", limits={"hive": 8}), *domains) == dict.fromkeys(
        ("ml/x", "ml/y", "ml/z"), 2
    )


def test_limits_without_lending_keep_nothing() -> None:
    assert kept_of(Limits(pools=(HIVE,), tenants=(Tenant(name="a", limits={"hive": 3}),))) == {}
    assert kept(Tenant(name="a", lending={"hive": 0}), pool=Pool(name="hive", capacity=0)) == {"a": 0}


def test_others_hold_what_is_lent_and_no_more_and_the_rest_is_there_at_once() -> None:
    tenants = Tenant(name="a", lending={"hive": 2}), Tenant(name="b")
    book = Book(limits(Pool(name="hive", capacity=10), tenants=tenants))
    for _ in range(9):
        book.acquire("b", ("hive", 1))
    assert book.tenants() == {"b": 7}, "its own 5, and 2 that are lent"
    for _ in range(9):
        book.acquire("a", ("hive", 1))
    assert book.tenants() == {"a": 3, "b": 7}
    book.release_one("b")
    book.release_one("b")
    assert book.tenants() == {"a": 5, "b": 5}


def test_a_tenant_that_keeps_tokens_goes_on_within_them_however_long_others_wait() -> None:
    tenants = Tenant(name="a", lending={"hive": 0}), Tenant(name="b")
    book = Book(limits(Pool(name="hive", capacity=4), tenants=tenants, max_bypass=2))
    for _ in range(40):
        book.acquire("b", ("hive", 1))
    book.acquire("b", ("hive", 2))
    for _ in range(20):
        name = book.acquire("a", ("hive", 1))
        assert name in book.held
        book.release(name)
    assert book.tenants() == {"b": 2}


def test_a_claim_takes_what_its_tenant_keeps_and_the_rest_of_what_is_free() -> None:
    tenants = Tenant(name="a", lending={"hive": 3}), Tenant(name="b")
    book = Book(limits(Pool(name="hive", capacity=10), tenants=tenants))
    for _ in range(7):
        book.acquire("b", ("hive", 1))
    assert book.acquire("a", ("hive", 4)) in book.waiting
    book.release_one("b")
    assert book.tenants() == {"a": 1, "b": 6}


def test_what_a_project_keeps_is_for_all_its_domains_and_what_a_domain_keeps_for_it_alone() -> None:
    tenants = (
        Tenant(name="ml", lending={"hive": 0}),
        Tenant(name="ml/production", lending={"hive": 0}),
        Tenant(name="ml/development"),
        Tenant(name="etl"),
    )
    book = Book(limits(Pool(name="hive", capacity=12), tenants=tenants))
    for tenant in ("etl", "ml/development", "ml/production"):
        for _ in range(12):
            book.acquire(tenant, ("hive", 1))
    assert book.tenants() == {"etl": 6, "ml/development": 3, "ml/production": 3}


def test_a_projects_limit_leaves_room_for_what_its_domains_keep() -> None:
    tenants = (
        Tenant(name="ml", limits={"hive": 4}),
        Tenant(name="ml/production", lending={"hive": 0}),
        Tenant(name="ml/development"),
    )
    book = Book(limits(Pool(name="hive", capacity=12), tenants=tenants))
    for _ in range(5):
        book.acquire("ml/development", ("hive", 1))
    assert book.tenants() == {"ml/development": 2}
    book.acquire("ml/production", ("hive", 1))
    assert book.tenants() == {"ml/development": 2, "ml/production": 1}


def test_what_others_can_never_have_is_refused_at_once_and_says_why() -> None:
    book = Book(limits(Pool(name="hive", capacity=10), tenants=(Tenant(name="a", lending={"hive": 2}),)))
    with pytest.raises(Invalid, match=r"never has more than 2 beside the 8 that tenants keep for themselves"):
        book.acquire("b", ("hive", 3))
    assert book.acquire("a", ("hive", 10)) in book.held


def test_a_tenant_that_is_given_more_to_keep_has_it_as_others_end() -> None:
    def of(lent: int) -> Limits:
        tenants = Tenant(name="a", lending={"hive": lent}), Tenant(name="b")
        return limits(Pool(name="hive", capacity=4), tenants=tenants)

    book = Book(of(2))
    for tenant in "bbbbbbaaa":
        book.acquire(tenant, ("hive", 1))
    assert book.tenants() == {"b": 4}
    book.ledger.configure(of(0), book.now)
    for expected in (3, 2):
        book.release_one("b")
        assert book.tenants() == {"a": 4 - expected, "b": expected}
    book.ledger.configure(of(2), book.now)
    book.release_one("a")
    assert book.tenants()["b"] >= 2


def test_tokens_that_come_with_time_are_kept_too() -> None:
    tenants = Tenant(name="a", lending={"hive": 0}), Tenant(name="b")
    book = Book(limits(Pool(name="hive", capacity=4, rate=1.0, burst=2), tenants=tenants))
    for tenant in "bbbaa":
        book.acquire(tenant, ("hive", 1))
    for _ in range(6):
        wake = book.ledger.next_wake()
        if wake is not None:
            book.pass_time(wake - book.now)
    assert book.tenants() == {"a": 2, "b": 2}


def _run(seed: int, *, most: int) -> None:
    """Whatever comes and goes: nothing is lent beyond the limits. With claims of one token nothing is idle either that
    one which waits could have.
    """
    rng = random.Random(seed)
    capacity = rng.randint(1, 12)
    of = drawn(rng, capacity)
    book, kept, left = Book(of), Kept(of, "hive"), 0
    for _ in range(120):
        match rng.choice("aaaaarrrrrcl" if rng.random() < 0.9 else "l"):
            case "a":
                with_refused(lambda: book.acquire(rng.choice(NAMES), ("hive", rng.randint(1, most))))
            case "r" if book.held:
                book.release(rng.choice(sorted(book.held)))
            case "c" if book.waiting:
                book.release(rng.choice(sorted(book.waiting)))
            case "l" if rng.random() < 0.2:
                of = drawn(rng, capacity)
                book.ledger.configure(of, book.now)
                while not book.ledger._is_settled:
                    book.pass_time(0)
                kept = Kept(of, "hive")
                left = kept.excess(book.held.values())
        excess = kept.excess(book.held.values())
        assert excess <= left, f"{excess} more are lent, or out, than may be"
        left = min(left, excess)
        assert len(book.held) <= capacity
        if most == 1:
            for claim in book.waiting.values():
                assert not kept.admits(book.held.values(), claim), f"{claim} waits beside {book.held}"
    while book.held:
        book.release_one()
    assert not book.waiting
    assert not book.ledger.usage()


def with_refused(call: Callable[[], object]) -> None:
    try:
        call()
    except Invalid as error:
        if "never has more than" not in str(error):
            raise


@pytest.mark.parametrize("seed", range(60))
def test_nothing_is_lent_beyond_the_limits_and_nothing_is_idle_within_them(seed: int) -> None:
    _run(seed, most=1)


@pytest.mark.parametrize("seed", range(60))
def test_claims_of_all_sizes_are_served_in_the_end_and_nothing_is_lent_beyond_the_limits(seed: int) -> None:
    _run(1000 + seed, most=4)


@pytest.mark.parametrize("of", ["take", "give_back", "save_up"])
def test_a_planted_defect_of_what_is_kept_is_found_by_a_seed(of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that takes, gives back or saves up as if its tenant kept nothing."""
    from propeller.resourcemgr._waiter import Need

    monkeypatch.setattr(KeptNeed, of, getattr(Need, of))
    one_finds_it(lambda seed: _run(seed, most=1 if seed < 60 else 4), range(1200))
