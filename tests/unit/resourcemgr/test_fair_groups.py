"""Turns of groups, and of tenants within a group."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.resourcemgr import FairGroups


def drained(queue: FairGroups[str]) -> list[str]:
    return [queue.pop() for _ in range(len(queue))]


def test_a_group_of_many_tenants_takes_no_more_turns_than_one_of_a_single_tenant() -> None:
    queue: FairGroups[str] = FairGroups()
    for number in range(1000):
        queue.add(f"flood {number}", "flood", f"execution {number}")
    for number in range(3):
        queue.add(f"small {number}", "small", "one")
    order = drained(queue)
    assert [order.index(f"small {number}") for number in range(3)] == [1, 3, 5]
    assert [key for key in order if key.startswith("flood")] == [f"flood {number}" for number in range(1000)]


def test_within_a_group_tenants_take_turns_and_a_tenants_priorities_hold() -> None:
    queue: FairGroups[str] = FairGroups()
    for number in range(3):
        queue.add(f"a{number}", "g", "a", number)
        queue.add(f"b{number}", "g", "b")
    assert drained(queue) == ["a2", "b0", "a1", "b1", "a0", "b2"]


def test_a_key_waits_once() -> None:
    queue: FairGroups[str] = FairGroups()
    assert queue.add("a", "g", "t")
    assert not queue.add("a", "g", "t", 1)
    assert drained(queue) == ["a"]


def test_nothing_is_left_of_a_queue_that_was_cleared() -> None:
    queue: FairGroups[str] = FairGroups()
    queue.add("a", "g", "t")
    queue.clear()
    assert (len(queue), list(queue)) == (0, [])
    with pytest.raises(IndexError):
        queue.pop()
    queue.add("a", "g", "t")
    assert drained(queue) == ["a"]


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 3), st.integers(0, 3))), max_size=60))
def test_every_key_leaves_once_whatever_the_order_of_adds_and_pops(steps: list[tuple[int, int] | None]) -> None:
    queue: FairGroups[str] = FairGroups()
    added: list[str] = []
    popped: list[str] = []
    for number, step in enumerate(steps):
        if step is not None:
            added.append(f"{number}")
            queue.add(added[-1], step[0], step)
        elif len(queue):
            popped.append(queue.pop())
        assert len(queue) == len(list(queue)) == len(added) - len(popped)
    assert sorted(popped + drained(queue)) == sorted(added)
