"""Whatever is acquired, released, cancelled and configured, in any order: what the ledger never does."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from propeller.errors import Invalid
from propeller.resourcemgr import Limits, Pool, Tenant
from tests.unit.resourcemgr.book import Book

POOLS = "abc"
_needs = st.dictionaries(st.sampled_from([*POOLS, "r"]), st.integers(1, 3), min_size=1)


class Tokens(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.capacities = dict.fromkeys(POOLS, 0)
        self.lowered: set[str] = set()
        """Pools that have more out than they should, as their limit was lowered."""

    @initialize(
        capacities=st.tuples(*[st.integers(1, 8)] * 3),
        is_tree=st.booleans(),
        own=st.one_of(st.none(), st.integers(0, 4)),
        max_bypass=st.integers(0, 5),
    )
    def begin(self, capacities: tuple[int, ...], is_tree: bool, own: int | None, max_bypass: int) -> None:
        self.capacities = dict(zip(POOLS, capacities, strict=True))
        self.is_tree, self.own, self.max_bypass = is_tree, own, max_bypass
        self.book = Book(self.limits())

    def limits(self) -> Limits:
        pools = [
            Pool(name=name, capacity=capacity, parent="a" if self.is_tree and name != "a" else "")
            for name, capacity in self.capacities.items()
        ]
        tenants = [Tenant(name="t0", weight=2.0, limits={} if self.own is None else {"a": self.own})]
        rate = Pool(name="r", rate=2.0, burst=4)
        return Limits(pools=(*pools, rate), tenants=tuple(tenants), max_bypass=self.max_bypass)

    @rule(tenant=st.sampled_from(["t0/x", "t0/y", "t1/x", "t2"]), needs=_needs, priority=st.integers(0, 1))
    def acquire(self, tenant: str, needs: dict[str, int], priority: int) -> None:
        try:
            self.book.acquire(tenant, *needs.items(), priority=priority)
        except Invalid as error:
            if "never has more than" not in str(error):
                raise

    @precondition(lambda self: self.book.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.book.release(data.draw(st.sampled_from(sorted(self.book.held))))

    @precondition(lambda self: self.book.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.book.release(data.draw(st.sampled_from(sorted(self.book.waiting))))

    @precondition(lambda self: self.book.waiting)
    @rule(data=st.data(), needs=_needs)
    def amend(self, data: st.DataObject, needs: dict[str, int]) -> None:
        name = data.draw(st.sampled_from(sorted(self.book.waiting)))
        try:
            self.book.amend(name, *needs.items())
        except Invalid as error:
            if "never has more than" not in str(error):
                raise
        wait = self.book.ledger.explain(name)
        assert wait is None or wait.since == self.book.came[name][1]

    @rule(seconds=st.floats(-1.0, 3.0))
    def pass_time(self, seconds: float) -> None:
        self.book.pass_time(seconds)

    @rule(pool=st.sampled_from(POOLS), capacity=st.integers(0, 8))
    def configure(self, pool: str, capacity: int) -> None:
        self.capacities[pool] = capacity
        self.book.ledger.configure(self.limits(), self.book.now)
        self.lowered |= {
            one.title for one in self.book.ledger.pools if one.capacity is not None and one.held > one.capacity
        }

    @rule()
    def change_the_tree(self) -> None:
        self.is_tree = not self.is_tree
        self.book.ledger.configure(self.limits(), self.book.now)
        self.lowered |= {
            one.title for one in self.book.ledger.pools if one.capacity is not None and one.held > one.capacity
        }

    @invariant()
    def no_pool_has_more_out_than_its_limit(self) -> None:
        for pool in self.book.ledger.pools:
            over = pool.capacity is not None and pool.held > pool.capacity
            assert not over or pool.title in self.lowered, (pool.title, pool.held, pool.capacity)
            if not over:
                self.lowered.discard(pool.title)

    @invariant()
    def every_token_that_is_out_belongs_to_a_claim(self) -> None:
        held: Counter[str] = Counter()
        for claim in self.book.held.values():
            assert self.book.ledger.is_held(claim.id)
            for name, amount in claim.needs:
                held[name] += amount
                if self.is_tree and name in "bc":
                    held["a"] += amount
        for pool in self.book.ledger.pools:
            if not pool.tenant:
                assert pool.held == held[pool.name]

    @invariant()
    def those_that_wait_are_those_that_have_nothing(self) -> None:
        assert set(self.book.ledger) == set(self.book.waiting)

    @invariant()
    def the_report_counts_what_is_held_and_waits(self) -> None:
        report, book = self.book.ledger.report(), self.book
        assert sum(pool.waiting for pool in report.pools) == len(book.waiting)
        assert {pool.name: pool.held for pool in report.pools} == {
            pool.name: pool.held for pool in book.ledger.pools if not pool.tenant
        }
        tenants = [claim.tenant for claim in book.waiting.values()]
        waiting = Counter(path[:length] for path in tenants for length in range(1, len(path) + 1))
        rows = {tenant.path: tenant for tenant in report.tenants}
        assert {path: sum(row.waiting.values()) for path, row in rows.items() if row.waiting} == waiting
        assert {path: row.held for path, row in rows.items()} == book.ledger.usage()

    @invariant()
    def a_claim_knows_how_many_of_its_tenant_go_before_it(self) -> None:
        """As counted one by one: those of its tenant in that pool's order, by priority, and first come first served."""
        book, lanes = self.book, dict[tuple[object, ...], list[str]]()
        for name in sorted(book.waiting, key=lambda name: (-book.waiting[name].priority, book.came[name])):
            wait = self.book.ledger.explain(name)
            assert wait is not None
            if self.book.is_put_first(name):
                assert wait.ahead == 0
                continue
            lane = lanes.setdefault((wait.pool, wait.tenant), [])
            assert wait.ahead == len(lane), (name, wait, lane)
            lane.append(name)

    @invariant()
    def a_tenants_only_claim_does_not_wait_beside_idle_pools(self) -> None:
        """If nothing is held, the first claims of all tenants cannot all have to wait."""
        if self.book.waiting and not self.book.held and all(self.capacities.values()) and self.own != 0:
            assert self.book.ledger.next_wake() is not None, self.book.waiting

    def teardown(self) -> None:
        """All claims get their tokens in the end, and all tokens come back."""
        book = self.book
        self.capacities, self.own = dict.fromkeys(POOLS, 9), None
        book.ledger.configure(self.limits(), book.now)
        while book.held or book.waiting:
            if book.held:
                book.release_one()
                continue
            wake = book.ledger.next_wake()
            assert wake is not None, book.waiting
            book.pass_time(max(0.0, wake - book.now))
        assert not any(pool.held for pool in book.ledger.pools)
        assert not book.ledger.usage()


Tokens.TestCase.settings = settings(stateful_step_count=60)
TestTokens = Tokens.TestCase
