"""What `propeller queue` shows: who waits for what, behind whom, and until when; bounded, however many wait."""

from __future__ import annotations

import pytest

from propeller.errors import Invalid
from propeller.handlers.executors._queue_page import MAX_LOOKS, MAX_TENANTS, Asked, queue_page, quotas_page
from propeller.handlers.executors._waits import Holder, Pace, Waiting, Waits
from propeller.resourcemgr import Claim, Ledger, Limits, Pool, Tenant, Wait


class _Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> float:
        return 1_700_000_000.0 + self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class _Queue:
    """A ledger with those that wait for it, as launches have them."""

    def __init__(self, *pools: Pool, tenants: tuple[Tenant, ...] = ()) -> None:
        self.clock = _Clock()
        self.waits = Waits()
        self._count = 0
        limits = Limits(pools=pools, tenants=tenants)
        self.ledger = Ledger(limits, self.clock.monotonic(), self._granted, lambda *_: None)

    def _granted(self, name: str) -> None:
        self.waits.granted(name, self.clock.monotonic())

    def ask(self, tenant: str, count: int, **needs: int) -> None:
        for number in range(count):
            self._count += 1
            path, name = tuple(tenant.split("/")), f"{tenant}-{self._count}"
            if not self.ledger.acquire(Claim(name, path, tuple(needs.items())), self.clock.monotonic()):
                wait = self.ledger.explain(name)
                assert wait is not None
                holder = Holder(f"ns/{tenant}", tenant, number, 0, f"{name}-pod")
                self.waits.put(Waiting(name, holder, path, wait.pool, wait.since), self.clock.monotonic())

    def page(self, **asked: str) -> dict[str, object]:
        return queue_page(Asked.of(asked), self.ledger.report(), self.waits, self.ledger.explain, self.clock)


def _of(page: dict[str, object], key: str) -> list[dict[str, object]]:
    found = page[key]
    assert isinstance(found, list)
    return found


def test_each_claim_says_for_what_it_waits_since_when_and_behind_how_many() -> None:
    queue = _Queue(Pool(name="db", capacity=2), tenants=(Tenant(name="ml", weight=3.0),))
    queue.ask("etl/production", 2, db=1)
    queue.clock.advance(10.0)
    queue.ask("ml/production", 3, db=2)
    queue.clock.advance(5.0)
    page = queue.page()
    assert page["pools"] == [{"name": "db", "held": 2, "capacity": 2, "waiting": 3, "grantsPerSecond": None}]
    last = _of(page, "claims")[-1]
    assert {key: last[key] for key in ("pool", "tenant", "position", "amount", "waitedSeconds", "estimateSeconds")} == {
        "pool": "db",
        "tenant": "ml/production",
        "position": 3,
        "amount": 2,
        "waitedSeconds": 5.0,
        "estimateSeconds": None,
    }
    assert last["execution"] == "ns/ml/production"
    tenants = {one["name"]: one for one in _of(page, "tenants")}
    assert (tenants["etl"]["share"], tenants["etl"]["ideal"], tenants["ml"]["ideal"]) == (1.0, 0.25, 0.75)
    assert tenants["ml"]["waiting"] == {"db": 3}


def test_the_estimate_follows_the_pace_of_grants_and_the_part_of_the_tenant() -> None:
    queue = _Queue(Pool(name="db", capacity=1), tenants=(Tenant(name="b", weight=3.0),))
    queue.ask("a", 1, db=1)
    queue.ask("a", 40, db=1)
    queue.ask("b", 40, db=1)
    running = list(queue.ledger._held)
    for _ in range(24):
        queue.clock.advance(5.0)
        queue.ledger.release(running.pop(), queue.clock.monotonic())
        running += [name for name in list(queue.ledger._held) if name not in running]
    page = queue.page()
    assert _of(page, "pools")[0]["grantsPerSecond"] == pytest.approx(0.2, rel=0.1)
    estimates = {(row["tenant"], row["position"]): row["estimateSeconds"] for row in _of(page, "claims")}
    assert estimates["a", 5] == pytest.approx(100.0, rel=0.1)
    assert estimates["b", 5] == pytest.approx(33.0, rel=0.1)
    queue.clock.advance(600.0)
    assert {row["estimateSeconds"] for row in _of(queue.page(), "claims")} == {None}, "nothing is granted any more"


def test_a_page_is_bounded_and_the_rest_is_counted() -> None:
    queue = _Queue(Pool(name="db", capacity=1), Pool(name="api", capacity=1))
    queue.ask("a", 1, db=1)
    queue.ask("a", 1, api=1)
    for tenant in ("a", "b"):
        queue.ask(tenant, 200, db=1)
    queue.ask("c", 5, api=1)
    page = queue.page(first="10")
    rows = [(row["pool"], row["tenant"], row["position"]) for row in _of(page, "claims")]
    assert rows.count(("db", "a", 5)) == 1
    assert (len([row for row in rows if row[0] == "db"]), len([row for row in rows if row[0] == "api"])) == (10, 5)
    assert (page["waiting"], page["notShown"]) == (405, 390)


def test_a_part_is_of_one_pool_or_one_tenant() -> None:
    queue = _Queue(Pool(name="db", capacity=1), Pool(name="api", capacity=1))
    queue.ask("x", 1, db=1)
    queue.ask("x", 1, api=1)
    for tenant in ("a/production", "a/development", "b/production"):
        queue.ask(tenant, 2, db=1)
        queue.ask(tenant, 1, api=1)
    page = queue.page(pool="api")
    assert [row["tenant"] for row in _of(page, "claims")] == ["a/production", "a/development", "b/production"]
    assert [pool["name"] for pool in _of(page, "pools")] == ["api"]
    page = queue.page(tenant="a")
    assert {row["tenant"] for row in _of(page, "claims")} == {"a/production", "a/development"}
    assert page["waiting"] == 6


def test_however_many_tenants_wait_few_claims_are_looked_at() -> None:
    queue = _Queue(Pool(name="db", capacity=1), Pool(name="api", capacity=1))
    queue.ask("x", 1, db=1)
    for number in range(MAX_LOOKS + 500):
        queue.ask(f"t{number}", 1, db=1)
    looked: list[str] = []

    def explain(name: str) -> Wait | None:
        looked.append(name)
        return None  # it is granted meanwhile

    queue_page(Asked(), queue.ledger.report(), queue.waits, explain, queue.clock)
    assert len(looked) == MAX_LOOKS


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"first": "0"}, "first is '0'"),
        ({"first": "9" * 99}, "it has to be 1 to 500"),
        ({"first": "-1"}, "first is '-1'"),
        ({"tenant": "a//b"}, "tenant 'a//b'"),
        ({"pool": "nope"}, "'nope' is no pool"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(asked: dict[str, str], word: str) -> None:
    with pytest.raises(Invalid, match=word):
        _Queue(Pool(name="db", capacity=1)).page(**asked)


def test_namespaces_whose_quotas_are_waited_for_are_listed_those_with_most_first_and_not_all_of_many() -> None:
    page = quotas_page({"": {"a": 1, "b": 5} | {f"n{number}": 1 for number in range(1000)}})
    assert page[:2] == [{"namespace": "b", "waiting": 5}, {"namespace": "a", "waiting": 1}]
    assert len(page) == MAX_TENANTS


def test_namespaces_of_other_clusters_are_listed_with_the_clusters_name() -> None:
    assert quotas_page({"": {"a": 1}, "east": {"a": 3}, "west": {}}) == [
        {"cluster": "east", "namespace": "a", "waiting": 3},
        {"namespace": "a", "waiting": 1},
    ]


def test_a_pace_is_that_of_the_last_minutes() -> None:
    pace = Pace(0.0)
    for second in range(1, 31):
        pace.count(float(second))
    assert pace.rate(30.0) == pytest.approx(1.0)
    assert pace.rate(90.0) == pytest.approx(0.25)
    assert pace.rate(180.0) == 0.0
