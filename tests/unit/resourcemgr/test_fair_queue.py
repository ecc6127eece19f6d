"""The fair order of keys between tenants."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from propeller.errors import Invalid, Throttled
from propeller.resourcemgr import FairQueue
from tests.examples import examples

WEIGHTS = st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 8.0])


def drain(queue: FairQueue[str]) -> list[str]:
    return [queue.pop() for _ in range(len(queue))]


def test_one_tenant_is_served_first_come_first_served() -> None:
    queue: FairQueue[str] = FairQueue()
    for key in "abc":
        queue.add(key)
    assert drain(queue) == ["a", "b", "c"]


def test_a_higher_priority_goes_first_within_its_tenant() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add("low")
    queue.add("high", priority=5)
    queue.add("also low")
    assert drain(queue) == ["high", "low", "also low"]


def test_a_priority_does_not_reach_past_the_tenant() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(4):
        queue.add(f"pushy {number}", "pushy", priority=100)
    queue.add("modest", "modest")
    assert drain(queue).index("modest") == 1


def test_a_key_added_again_keeps_its_place_unless_its_priority_rises() -> None:
    queue: FairQueue[str] = FairQueue()
    for key in "abc":
        assert queue.add(key)
    assert not queue.add("b")
    assert not queue.add("c", priority=1)
    assert drain(queue) == ["c", "a", "b"]


def test_a_tenant_with_one_key_waits_its_share_behind_one_with_100_000() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number in range(100_000):
        queue.add(("big", number), "big")
    for _ in range(50_000):
        queue.pop()
    queue.add(("small", 0), "small")
    assert [queue.pop()[0] for _ in range(3)].count("small") == 1


def test_an_idle_tenant_gains_no_credit() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add("first of sleeper", "sleeper")
    queue.pop()
    for number in range(100):
        queue.add(f"busy {number}", "busy")
    for _ in range(50):
        queue.pop()
    for number in range(10):
        queue.add(f"sleeper {number}", "sleeper")
    served = Counter(queue.pop().split()[0] for _ in range(10))
    assert served == {"busy": 5, "sleeper": 5}


def test_a_tenant_that_always_has_one_key_does_not_starve_the_others() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(100):
        queue.add(f"bulk {number}", "bulk")
    queue.add("ping", "ping")
    served = Counter[str]()
    for _ in range(100):
        key = queue.pop()
        served[key.split()[0]] += 1
        if key == "ping":
            queue.add("ping", "ping")
    assert served == {"bulk": 50, "ping": 50}


def test_tenants_without_keys_cost_no_memory() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.add(-1, "constant")
    for number in range(10_000):
        queue.add(number, f"visitor {number}")
        queue.remove(number)
    assert len(queue._heap) <= 2
    assert len(queue._tenants) <= 2


def test_peek_shows_what_pop_takes() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add("gone", "x")
    queue.add("next", "y")
    queue.add("y2", "y")
    queue.add("y3", "y")
    queue.remove("gone")
    assert queue.pop() == "next"


def test_depths_and_iteration_show_what_waits() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add("a1", "a")
    queue.add("b1", "b")
    queue.add("a2", "a", priority=1)
    assert queue.depths() == {"a": 2, "b": 1}
    assert list(queue) == ["a2", "a1", "b1"]


def test_nothing_to_take_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        FairQueue[str]().pop()


def test_a_full_queue_refuses_new_keys_only() -> None:
    queue: FairQueue[str] = FairQueue(limit=1)
    queue.add("a")
    with pytest.raises(Throttled, match="no room for 'b'"):
        queue.add("b")
    assert not queue.add("a", priority=-1)
    assert drain(queue) == ["a"]


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_a_weight_that_is_no_positive_number_is_refused(weight: float) -> None:
    queue: FairQueue[str] = FairQueue(weight=lambda tenant: weight)
    with pytest.raises(Invalid, match="weight of tenant 't'"):
        queue.add("a", "t")
    assert len(queue) == 0


@given(weights=st.dictionaries(st.sampled_from("abcdef"), WEIGHTS, min_size=2), pops=st.integers(1, 200))
def test_backlogged_tenants_are_served_by_their_weights(weights: dict[str, float], pops: int) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue(weight=lambda tenant: weights[str(tenant)])
    for tenant in weights:
        for number in range(pops):
            queue.add((tenant, number), tenant)
    served = Counter(queue.pop()[0] for _ in range(pops))
    for one, its in weights.items():
        for other, others in weights.items():
            # The normalised service of two backlogged tenants never drifts apart by more than one key of each.
            assert served[one] / its - served[other] / others <= 1 / its + 1 / others + 1e-9


@given(
    weights=st.dictionaries(st.sampled_from("abcdef"), WEIGHTS, min_size=1),
    own=WEIGHTS,
    backlog=st.integers(1, 60),
    warm_up=st.integers(0, 100),
)
def test_a_new_tenant_waits_at_most_its_share(
    weights: dict[str, float], own: float, backlog: int, warm_up: int
) -> None:
    everybody = {**weights, "new": own}
    queue: FairQueue[tuple[str, int]] = FairQueue(weight=lambda tenant: everybody[str(tenant)])
    for tenant in weights:
        for number in range(backlog):
            queue.add((tenant, number), tenant)
    for _ in range(min(warm_up, len(queue) - 1)):
        queue.pop()
    queue.add(("new", 0), "new")
    before = Counter[str]()
    while (key := queue.pop())[0] != "new":
        before[key[0]] += 1
    for tenant, count in before.items():
        assert count <= math.floor(weights[tenant] / own) + 1


class FairQueueIsAModel(RuleBasedStateMachine):
    """Against the plainest model: for each tenant a list ordered by priority, then arrival."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue(weight=lambda tenant: 1.0 + int(str(tenant)))
        self.model: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        self.arrivals = 0

    def waiting(self) -> dict[int, tuple[int, int, int]]:
        return {entry[2]: entry for entries in self.model.values() for entry in entries}

    @rule(key=st.integers(0, 20), priority=st.integers(-2, 2))
    def add(self, key: int, priority: int) -> None:
        self.arrivals += 1
        tenant = key % 4
        entry = self.waiting().get(key)
        assert self.queue.add(key, tenant, priority) == (entry is None)
        if entry is None or -priority < entry[0]:
            if entry is not None:
                self.model[tenant].remove(entry)
            self.model[tenant].append((-priority, self.arrivals, key))

    @rule(key=st.integers(0, 20))
    def remove(self, key: int) -> None:
        entry = self.waiting().get(key)
        assert self.queue.remove(key) == (entry is not None)
        if entry is not None:
            self.model[key % 4].remove(entry)

    @precondition(lambda self: self.waiting())
    @rule()
    def pop(self) -> None:
        key = self.queue.pop()
        assert key == min(self.model[key % 4])[2]
        self.model[key % 4].remove(min(self.model[key % 4]))

    @invariant()
    def nothing_is_lost_or_duplicated(self) -> None:
        assert sorted(self.queue) == sorted(self.waiting())
        assert len(self.queue) == len(self.waiting())
        assert all(key in self.queue for key in self.waiting())

    @invariant()
    def depths_count_each_tenant(self) -> None:
        assert self.queue.depths() == {tenant: len(entries) for tenant, entries in self.model.items() if entries}

    @invariant()
    def the_structure_holds_little_more_than_the_active_tenants(self) -> None:
        active = len(self.queue.depths())
        assert len(self.queue._heap) == len(self.queue._tenants) <= 2 * active + 1


TestFairQueueIsAModel = FairQueueIsAModel.TestCase
TestFairQueueIsAModel.settings = examples(60, stateful_step_count=60)
