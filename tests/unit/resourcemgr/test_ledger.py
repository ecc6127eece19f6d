"""Tokens: all of a claim or nothing, never too many, fair between tenants, and none starves."""

from __future__ import annotations

import pytest

from propeller.errors import Invalid
from propeller.resourcemgr import Claim, Pool, Tenant
from tests.unit.resourcemgr.book import Book, limits

DB = Pool(name="db", capacity=4)
API = Pool(name="api", capacity=2)


def test_a_claim_takes_all_its_pools_or_none() -> None:
    book = Book(limits(DB, API))
    book.acquire("a", ("api", 2))
    book.acquire("b", ("db", 3), ("api", 1))
    assert book.tenants() == {"a": 1}
    assert book.acquire("c", ("db", 4)) in book.held, "the one that waits holds nothing of db"


def test_what_is_taken_from_a_pool_is_taken_from_its_parents() -> None:
    book = Book(
        limits(
            Pool(name="all", capacity=3),
            Pool(name="db", capacity=2, parent="all"),
            Pool(name="x", rate=9.0, parent="all"),
        )
    )
    book.acquire("a", ("db", 2))
    assert book.acquire("a", ("x", 1)) in book.held
    assert book.acquire("a", ("x", 1)) in book.waiting


def test_acquiring_again_changes_nothing_whether_the_claim_is_held_or_waits() -> None:
    book = Book(limits(API))
    claim = Claim("one", ("a",), (("api", 2),))
    assert [book.ledger.acquire(claim, 0.0) for _ in range(3)] == [True, True, True]
    waits = Claim("two", ("a",), (("api", 1),))
    assert [book.ledger.acquire(waits, 0.0) for _ in range(3)] == [False, False, False]
    assert [pool.held for pool in book.ledger.pools] == [2]
    assert len(book.ledger) == 1


def test_releasing_twice_gives_back_once() -> None:
    book = Book(limits(API))
    first, second = book.acquire("a", ("api", 1)), book.acquire("a", ("api", 1))
    for _ in range(3):
        book.release(first)
    assert [pool.held for pool in book.ledger.pools] == [1]
    assert second in book.held


def test_a_release_grants_to_the_one_that_waits() -> None:
    book = Book(limits(API))
    book.acquire("a", ("api", 2))
    waits = book.acquire("b", ("api", 2))
    book.release_one("a")
    assert list(book.held) == [waits]


def test_a_claim_that_is_cancelled_lets_those_behind_it_go_on() -> None:
    book = Book(limits(API))
    book.acquire("a", ("api", 1))
    big, small = book.acquire("b", ("api", 2)), book.acquire("b", ("api", 1))
    assert small in book.waiting, "first come, first served within a tenant"
    book.release(big)
    assert small in book.held


def test_within_a_tenant_the_higher_priority_goes_first() -> None:
    book = Book(limits(API))
    book.acquire("a", ("api", 2))
    low, high = book.acquire("a", ("api", 2)), book.acquire("a", ("api", 2), priority=5)
    book.release_one()
    assert high in book.held
    assert low in book.waiting


def test_an_urgent_claim_is_not_stopped_by_a_bigger_one_of_its_tenant_that_does_not_fit() -> None:
    book = Book(limits(DB))
    held = [book.acquire("a", ("db", 1)) for _ in range(4)]
    book.acquire("b", ("db", 3))
    book.release(held[0])
    urgent = book.acquire("b", ("db", 1), priority=1)
    assert urgent in book.held


@pytest.mark.parametrize(
    ("weights", "expected"), [((1, 2, 4), (10, 20, 40)), ((1, 1, 1), (24, 23, 23)), ((5, 1, 1), (50, 10, 10))]
)
def test_slots_that_come_free_together_are_shared_by_weight(
    weights: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    tenants = [Tenant(name=f"t{number}", weight=weight) for number, weight in enumerate(weights)]
    book = Book(limits(Pool(name="slots", capacity=70), tenants=tenants))
    block = book.acquire("other", ("slots", 70))
    for _ in range(100):
        for tenant in tenants:
            book.acquire(tenant.name, ("slots", 1))
    book.release(block)
    counts = book.tenants()
    assert tuple(counts[tenant.name] for tenant in tenants) == expected


def test_what_a_tenant_does_not_use_is_lent_and_comes_back_as_it_ends() -> None:
    book = Book(limits(Pool(name="slots", capacity=8)))
    for _ in range(20):
        book.acquire("a", ("slots", 1))
    assert book.tenants() == {"a": 8}
    for _ in range(20):
        book.acquire("b", ("slots", 1))
    for _ in range(4):
        book.release_one("a")
    assert book.tenants() == {"a": 4, "b": 4}
    book.release_one("b")
    assert book.tenants() == {"a": 4, "b": 4}


def test_a_small_tenant_does_not_wait_behind_a_flood() -> None:
    book = Book(limits(Pool(name="slots", capacity=10)))
    for _ in range(5000):
        book.acquire("flood", ("slots", 1))
    small = [book.acquire("small", ("slots", 1)) for _ in range(5)]
    for _ in range(5):
        book.release_one("flood")
    assert all(name in book.held for name in small)


def test_the_share_is_of_the_resource_that_a_tenant_holds_most_of() -> None:
    """Dominant Resource Fairness: the example of its paper, 9 CPUs and 18 GB."""
    book = Book(limits(Pool(name="cpu", capacity=9), Pool(name="memory", capacity=18)))
    block = book.acquire("other", ("cpu", 9), ("memory", 18))
    for _ in range(10):
        book.acquire("a", ("cpu", 1), ("memory", 4))
        book.acquire("b", ("cpu", 3), ("memory", 1))
    book.release(block)
    assert book.tenants() == {"a": 3, "b": 2}


def test_shares_are_fair_at_every_level() -> None:
    book = Book(limits(Pool(name="slots", capacity=12), tenants=[Tenant(name="a/prod", weight=2.0)]))
    block = book.acquire("other", ("slots", 12))
    for _ in range(50):
        for tenant in ("a/prod", "a/dev", "b/dev"):
            book.acquire(tenant, ("slots", 1))
    book.release(block)
    assert book.tenants() == {"a/prod": 4, "a/dev": 2, "b/dev": 6}


def test_a_tenants_own_claims_stand_beside_those_of_the_tenants_inside_it() -> None:
    book = Book(limits(Pool(name="slots", capacity=4)))
    block = book.acquire("other", ("slots", 4))
    for _ in range(10):
        book.acquire("a", ("slots", 1))
        book.acquire("a/dev", ("slots", 1))
    book.release(block)
    assert book.tenants() == {"a": 2, "a/dev": 2}


def test_a_tenants_own_limit_holds_whatever_is_free() -> None:
    book = Book(limits(Pool(name="slots", capacity=10), tenants=[Tenant(name="a", limits={"slots": 2})]))
    for _ in range(5):
        book.acquire("a/dev", ("slots", 1))
        book.acquire("a/prod", ("slots", 1))
        book.acquire("b", ("slots", 1))
    assert book.tenants()["b"] == 5
    assert book.tenants()["a/dev"] + book.tenants()["a/prod"] == 2


def test_big_claims_are_overtaken_so_often_and_no_more() -> None:
    book = Book(limits(Pool(name="slots", capacity=4), max_bypass=8))
    for _ in range(4):
        book.acquire("small", ("slots", 1))
    big = book.acquire("big", ("slots", 4))
    for _ in range(200):
        book.acquire("small", ("slots", 1))
    releases = 0
    while big in book.waiting:
        book.release_one("small")
        releases += 1
    assert releases <= 8 + 4 + 1


def test_claims_of_two_pools_do_not_starve_beside_claims_of_one_each() -> None:
    """When one of its pools has room the other has not, for as long as others take turns."""
    book = Book(limits(Pool(name="x", capacity=1), Pool(name="y", capacity=1), max_bypass=8))
    book.acquire("a", ("x", 1))
    book.acquire("b", ("y", 1))
    both = book.acquire("c", ("x", 1), ("y", 1))
    for _ in range(100):
        book.acquire("a", ("x", 1))
        book.acquire("b", ("y", 1))
    releases = 0
    while both in book.waiting:
        book.release_one("a" if releases % 2 else "b")
        releases += 1
    assert releases < 40


def test_pools_with_a_rate_give_tokens_as_they_come() -> None:
    book = Book(limits(Pool(name="calls", rate=2.0, burst=3)))
    names = [book.acquire("a", ("calls", 1)) for _ in range(6)]
    assert len(book.held) == 3
    assert book.ledger.next_wake() == pytest.approx(book.now + 0.5)
    for _ in range(2):
        book.release(names[0])  # of a rate nothing comes back
    assert len(book.held) == 2
    book.pass_time(0.5)
    assert names[3] in book.held
    book.pass_time(60.0)
    assert names[5] in book.held
    assert book.ledger.next_wake() is None


def test_a_rate_is_shared_by_weight_though_nothing_is_held() -> None:
    book = Book(limits(Pool(name="calls", rate=1.0, burst=1), tenants=[Tenant(name="b", weight=3.0)]))
    for _ in range(100):
        book.acquire("a", ("calls", 1))
        book.acquire("b", ("calls", 1))
    for _ in range(40):
        book.pass_time(1.0)
    assert book.tenants()["b"] == pytest.approx(3 * book.tenants()["a"], abs=3)


def test_a_clock_that_goes_back_gives_no_tokens() -> None:
    book = Book(limits(Pool(name="calls", rate=1.0, burst=1)))
    book.acquire("a", ("calls", 1))
    book.acquire("a", ("calls", 1))
    book.pass_time(-50.0)
    assert len(book.held) == 1
    book.pass_time(1.0)
    assert len(book.held) == 2


def test_what_runs_after_a_restart_counts_though_there_is_no_room_for_it() -> None:
    book = Book(limits(API))
    for number in range(3):
        book.ledger.restore(Claim(f"running {number}", ("a",), (("api", 1),)), book.now)
    waits = book.acquire("b", ("api", 1))
    for number in (0, 1):
        assert waits in book.waiting
        book.ledger.release(f"running {number}", book.now)
    assert waits in book.held


def test_limits_change_while_claims_are_held_and_wait() -> None:
    book = Book(limits(API))
    for _ in range(5):
        book.acquire("a", ("api", 1))
    book.ledger.configure(limits(Pool(name="api", capacity=4)), book.now)
    assert len(book.held) == 4
    book.ledger.configure(limits(Pool(name="api", capacity=1)), book.now)
    for left in (3, 2, 1, 1):
        book.release_one()
        assert len(book.held) == left


def test_a_paused_pool_lets_claims_wait_and_refuses_none() -> None:
    book = Book(limits(Pool(name="api", capacity=0)))
    name = book.acquire("a", ("api", 7))
    assert str(book.ledger.explain(name)) == "waits for api: it is paused, 1st of a"
    book.ledger.configure(limits(Pool(name="api", capacity=7)), book.now)
    assert name in book.held


def test_pools_come_and_go_and_no_lease_is_lost() -> None:
    book = Book(limits(DB, API))
    book.acquire("a", ("db", 4), ("api", 1))
    both = book.acquire("b", ("db", 1), ("api", 1))
    book.ledger.configure(limits(Pool(name="api", capacity=2, parent="all"), Pool(name="all", capacity=9)), book.now)
    assert both in book.held, "db is gone, and with it what it waited for"
    assert {pool.name: pool.held for pool in book.ledger.pools} == {"api": 2, "all": 2}


def test_a_claim_that_lower_limits_can_never_meet_is_refused_with_both_numbers() -> None:
    book = Book(limits(DB))
    book.acquire("a", ("db", 4))
    name = book.acquire("b", ("db", 3))
    book.ledger.configure(limits(Pool(name="db", capacity=2)), book.now)
    assert book.refused == {name: f"claim {name!r} needs 3 tokens of pool 'db', which never has more than 2"}


def test_a_claim_that_was_set_aside_is_refused_when_limits_can_never_meet_it_any_more() -> None:
    book = Book(limits(DB))
    book.acquire("a", ("db", 2))
    name = book.acquire("b", ("db", 3))
    book.release_one("a")
    book.acquire("a", ("db", 1))
    waits = book.acquire("b", ("db", 4))
    book.release(name)
    book.ledger.configure(limits(Pool(name="db", capacity=3)), book.now)
    assert list(book.refused) == [waits]


def test_all_claims_that_lower_limits_can_never_meet_are_refused_at_once_wherever_they_stand() -> None:
    book = Book(limits(DB))
    book.acquire("a", ("db", 4))
    names = [book.acquire(tenant, ("db", amount)) for tenant in "ab" for amount in (1, 3, 2, 4)]
    book.ledger.configure(limits(Pool(name="db", capacity=2)), book.now)
    assert list(book.refused) == [names[1], names[3], names[5], names[7]]
    assert len(book.ledger) == 4


def test_a_claim_that_lower_limits_can_never_meet_is_refused_also_if_one_like_it_is_held_or_was_found_to_run() -> None:
    book = Book(limits(DB))
    book.acquire("a", ("db", 4))
    book.ledger.configure(limits(Pool(name="db", capacity=2)), book.now)
    book.ledger.restore(Claim("found", ("b",), (("db", 3),)), book.now)
    for tenant, amount in (("a", 4), ("b", 3)):
        with pytest.raises(Invalid, match=f"needs {amount} tokens of pool 'db', which never has more than 2"):
            book.acquire(tenant, ("db", amount))


def test_a_claim_that_waits_gets_other_needs_and_keeps_its_place() -> None:
    book = Book(limits(DB, API))
    block = book.acquire("x", ("db", 4), ("api", 2))
    book.now += 10.0
    names = [book.acquire("a", ("db", 3)) for _ in range(3)]
    book.now += 10.0
    book.amend(names[1], ("db", 1), ("api", 1))
    wait = book.ledger.explain(names[1])
    assert wait is not None
    assert (wait.ahead, wait.since) == (1, 110.0)
    book.release(block)
    assert list(book.held) == names[:2]
    assert {pool.name: pool.held for pool in book.ledger.pools} == {"db": 4, "api": 1}


def test_a_claim_that_needs_less_now_is_granted_at_once() -> None:
    book = Book(limits(DB, API))
    book.acquire("x", ("db", 4))
    first, second, third = (book.acquire("a", ("db", 1)) for _ in range(3))
    book.amend(second, ("api", 1))
    assert second in book.held
    book.amend(third)
    assert third in book.held, "it needs nothing any more"
    assert first in book.waiting
    assert len(book.ledger) == 1


def test_a_claim_that_was_big_and_first_lets_others_go_on_when_it_is_amended() -> None:
    book = Book(limits(DB, max_bypass=0))
    book.acquire("x", ("db", 3))
    big, small = book.acquire("a", ("db", 4)), book.acquire("b", ("db", 1))
    assert small in book.waiting, "the pool is saved up for the big one"
    book.amend(big, ("db", 2))
    assert small in book.waiting
    book.amend(big, ("db", 1))
    assert big in book.held


def test_a_claim_that_is_amended_all_the_time_is_granted_at_some_time() -> None:
    book = Book(limits(Pool(name="slots", capacity=4), max_bypass=8))
    for _ in range(4):
        book.acquire("small", ("slots", 1))
    big = book.acquire("big", ("slots", 4))
    for _ in range(200):
        book.acquire("small", ("slots", 1))
    releases = 0
    while big in book.waiting:
        book.amend(big, ("slots", 3 + releases % 2))
        book.release_one("small")
        releases += 1
    assert releases < 30


def test_claims_that_are_held_or_unknown_are_not_amended_nor_is_one_by_needs_that_make_no_sense() -> None:
    book = Book(limits(DB))
    held, waits = book.acquire("a", ("db", 4)), book.acquire("a", ("db", 2))
    assert book.ledger.amend(Claim(held, ("a",), (("db", 1),)), book.now)
    assert not book.ledger.amend(Claim("nobody", ("a",), (("db", 1),)), book.now)
    with pytest.raises(Invalid, match="needs 5 tokens of pool 'db', which never has more than 4"):
        book.amend(waits, ("db", 5))
    book.release(held)
    assert [pool.held for pool in book.ledger.pools] == [2]


def test_a_claim_that_is_found_to_run_while_it_waits_is_counted_once_by_what_runs() -> None:
    book = Book(limits(DB))
    book.acquire("a", ("db", 3))
    big, small = book.acquire("b", ("db", 4)), book.acquire("b", ("db", 1))
    book.ledger.restore(Claim(big, ("b",), (("db", 1),)), book.now)
    assert small in book.waiting
    book.ledger.release(big, book.now)
    assert small in book.held
    book.release(small)
    assert book.ledger.usage() == {("a",): {"db": 3}}


def test_a_claim_says_what_it_waits_for_and_behind_how_many() -> None:
    book = Book(limits(DB))
    book.acquire("b", ("db", 4))
    names = [book.acquire("b/dev", ("db", 1)) for _ in range(12)]
    assert str(book.ledger.explain(names[11])) == "waits for db: 4 of 4 held, 12th of b/dev"
    assert book.ledger.explain("nobody") is None


@pytest.mark.parametrize(
    ("needs", "word"),
    [
        ((("nope", 1),), "'nope' is no pool; known are api, db"),
        ((("api", 0),), "needs 0 of pool 'api'"),
        ((("api", -1),), "needs -1 of pool 'api'"),
        ((("api", float("nan")),), "needs nan of pool 'api'"),
        ((("api", True),), "needs True of pool 'api'"),
        ((("api", 3),), "needs 3 tokens of pool 'api', which never has more than 2"),
        ((("api", 1), ("api", 2)), "needs 3 tokens of pool 'api', which never has more than 2"),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused_at_once_and_leaves_no_trace(
    needs: tuple[tuple[str, int], ...], word: str
) -> None:
    book = Book(limits(DB, API))
    with pytest.raises(Invalid, match=word.replace("(", "\\(")):
        book.acquire("a", *needs)
    assert not len(book.ledger)
    assert not book.ledger.usage()


def test_tenants_and_needs_of_strangers_are_forgotten() -> None:
    """Each project name that somebody makes up costs memory only while it has claims."""
    book = Book(limits(Pool(name="slots", capacity=5)))
    for number in range(30_000):
        book.release(book.acquire(f"t{number}", ("slots", 1 + number % 3)))
    book.acquire("last", ("slots", 1))
    assert book.ledger.remembered <= 12_000


def test_a_pool_that_is_gone_for_a_while_has_not_forgotten_what_is_held() -> None:
    book = Book(limits(DB, API))
    both = book.acquire("a", ("db", 3), ("api", 1))
    waits = book.acquire("a", ("api", 2))
    book.ledger.configure(limits(DB), book.now)
    assert waits in book.held, "nothing limits it any more"
    assert [(pool.name, pool.held) for pool in book.ledger.pools] == [("db", 3)]
    book.ledger.configure(limits(DB, API), book.now)
    assert [(pool.name, pool.held) for pool in book.ledger.pools] == [("db", 3), ("api", 1)]
    book.release(both)
    assert [(pool.name, pool.held) for pool in book.ledger.pools] == [("db", 0), ("api", 0)]


def test_what_runs_and_names_a_pool_that_is_gone_is_counted_in_the_others() -> None:
    book = Book(limits(DB))
    book.ledger.restore(Claim("one", ("a",), (("api", 1), ("db", 2))), book.now)
    assert [(pool.name, pool.held) for pool in book.ledger.pools] == [("db", 2)]
    with pytest.raises(Invalid, match="'api' is no pool"):
        book.ledger.acquire(Claim("two", ("a",), (("api", 1), ("db", 2))), book.now)


def test_tokens_that_come_with_another_tree_go_to_whose_turn_it_is_and_not_to_who_came_first() -> None:
    book = Book(limits(Pool(name="db", capacity=2)))
    for tenant in "aaaaabbbbb":
        book.acquire(tenant, ("db", 1))
    book.ledger.configure(limits(DB, tenants=[Tenant(name="b", limits={"db": 4})]), book.now)
    assert book.tenants() == {"a": 2, "b": 2}
