"""Slots of max parallelism."""

from __future__ import annotations

import pytest

from propeller.workflow import BackingOff, Collecting, Launching, Preparing, Running, RunningSubgraph, Slots, State


@pytest.mark.parametrize("state", [Launching(0, 0.0), BackingOff(0, 0.0, 0.0, ""), Running(0, 0.0), Collecting(0, 0.0)])
def test_a_task_holds_a_slot_from_its_launch_until_it_ends(state: State) -> None:
    slots = Slots(1)
    slots.move(None, state)
    assert slots.is_full
    slots.move(state, None)
    assert not slots.is_full


def test_a_dynamic_task_gives_its_slot_to_what_runs_inside_it() -> None:
    slots = Slots(1)
    slots.move(None, Launching(0, 0.0))
    slots.move(Launching(0, 0.0), RunningSubgraph(1))
    assert not slots.is_full


def test_a_node_that_runs_no_task_holds_no_slot() -> None:
    slots = Slots(1)
    slots.move(None, Preparing())
    assert not slots.is_full


def test_without_a_limit_slots_are_never_full() -> None:
    slots = Slots(0)
    slots.reserve(f"n{number}" for number in range(1000))
    assert not slots.is_full


def test_a_slot_is_in_use_until_the_pod_of_an_attempt_that_is_over_is_asked_to_stop() -> None:
    slots = Slots(1)
    slots.stopping.add((0, 0))
    assert slots.is_full


def test_blocked_nodes_leave_the_queue_in_order_and_only_if_a_slot_is_free() -> None:
    slots = Slots(1)
    slots.block(3)
    slots.block(1)
    slots.reserve(["n7"])
    assert slots.next_blocked() is None
    slots.release_reserved()
    assert [slots.next_blocked(), slots.next_blocked(), slots.next_blocked()] == [3, 1, None]
