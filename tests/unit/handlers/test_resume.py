"""Attempts that only their pods show, as no status has them yet."""

from __future__ import annotations

import json

import pytest

from propeller.errors import ErrorKind
from propeller.handlers import TRANSITIONS
from propeller.workflow import (
    AttemptObserved,
    AttemptPhase,
    BackingOff,
    Collect,
    EffectFailed,
    Execution,
    Expire,
    Expired,
    Failure,
    Launch,
    Launched,
    NodePhase,
    ObserveAttempt,
    ObservedAttempt,
    OutputsFound,
    Remains,
    Reserve,
    begin,
    decide,
    parse_plan,
    resume,
)
from tests.unit.controller.cached import template
from tests.unit.workflow.drive import execution, graph, plan, task


def test_system_failures_before_a_restart_do_not_use_up_the_users_attempts_after_it() -> None:
    two_tries = task("a", retry={"minAttempts": 2})
    restarted = execution(plan(graph(two_tries)))
    restarted.observed_attempts["a"] = ObservedAttempt(attempt=2, system_failures=2)
    begun = begin(restarted, TRANSITIONS, 1000.0)
    assert begun.effects == [Launch(0, 2)]
    users = Failure("Error", "exit code 1", ErrorKind.USER, recoverable=True)
    again = decide(restarted, [(0, AttemptObserved(2, AttemptPhase.FAILED, failure=users))], 1001.0, TRANSITIONS)
    assert again.effects == [Launch(0, 3)]
    over = decide(restarted, [(0, AttemptObserved(3, AttemptPhase.FAILED, failure=users))], 1002.0, TRANSITIONS)
    assert not over.effects
    assert restarted.phases[0] == NodePhase.FAILED


def test_the_active_deadline_holds_over_a_restart_and_over_short_attempts() -> None:
    timed = task("a", activeDeadline="60s", executionDeadline="10s")
    running = execution(plan(graph(timed)))
    begin(running, TRANSITIONS, 1000.0)
    assert sorted(running.timers) == [(1010.0, 0), (1060.0, 0)]
    decide(running, [(0, Launched(0)), (0, AttemptObserved(0, AttemptPhase.RUNNING))], 1000.0, TRANSITIONS)
    running.timers.clear()
    resume(running, TRANSITIONS, 1005.0)
    assert {when for when, _ in running.timers} >= {1010.0, 1060.0}


def test_an_attempt_that_ended_well_before_a_restart_is_not_out_of_time_after_it() -> None:
    """Found by the model: its deadline was over before anybody had looked at its pod."""
    running = execution(plan(graph(task("a", executionDeadline="10s"))))
    begin(running, TRANSITIONS, 1000.0)
    decide(running, [(0, Launched(0)), (0, AttemptObserved(0, AttemptPhase.RUNNING))], 1000.0, TRANSITIONS)
    running.timers.clear()
    assert resume(running, TRANSITIONS, 2000.0).effects == [ObserveAttempt(0, 0)]
    assert decide(running, [], 2000.0, TRANSITIONS).effects == [Expire(0, 0)]
    assert decide(running, [(0, AttemptObserved(0, AttemptPhase.SUCCEEDED))], 2000.0, TRANSITIONS).effects == [
        Collect(0, 0)
    ]
    assert decide(running, [(0, Expired(0))], 2000.0, TRANSITIONS).effects == []
    decide(running, [(0, OutputsFound(0))], 2001.0, TRANSITIONS)
    assert running.phases[0] == NodePhase.SUCCEEDED


def test_the_deadline_of_a_node_whose_outputs_are_being_read_is_checked_again() -> None:
    running = execution(plan(graph(task("a", activeDeadline="60s", retry={"minAttempts": 2}))))
    begin(running, TRANSITIONS, 1000.0)
    decide(running, [(0, Launched(0)), (0, AttemptObserved(0, AttemptPhase.SUCCEEDED))], 1059.0, TRANSITIONS)
    late = decide(running, [], 1060.0, TRANSITIONS)
    assert (late.effects, late.wake) == ([], 1061.0)
    missing = Failure("OutputsNotFound", "none", recoverable=True)
    assert decide(running, [(0, EffectFailed(0, missing))], 1060.5, TRANSITIONS).effects == [Launch(0, 1)]
    assert decide(running, [], 1061.0, TRANSITIONS).effects == [Expire(0, 1)]
    decide(running, [(0, Expired(1))], 1061.0, TRANSITIONS)
    assert running.phases[0] == NodePhase.FAILED


def serialized() -> Execution:
    """One task of which, among those that would compute the same, one does."""
    closure = {"spec": graph(task("a", retry={"minAttempts": 3})), "tasks": {"t": template(serialize=True)}}
    return execution(parse_plan(json.dumps(closure).encode(), "digest"))


@pytest.mark.parametrize("attempt", [0, 1])
def test_an_attempt_that_only_its_pod_shows_keeps_its_reservation(attempt: int) -> None:
    """Found by the simulation: without, another execution computed the same a minute after a restart."""
    restarted = serialized()
    restarted.observed_attempts["a"] = ObservedAttempt(attempt=attempt)
    assert begin(restarted, TRANSITIONS, 1000.0).effects == [Launch(0, attempt), Reserve(0, attempt)]


def test_a_later_attempt_than_that_of_its_status_keeps_its_reservation() -> None:
    running = serialized()
    begin(running, TRANSITIONS, 1000.0)
    running.observed_attempts["a"] = ObservedAttempt(attempt=1)
    assert resume(running, TRANSITIONS, 1005.0).effects == [Launch(0, 1), Reserve(0, 1)]


def test_a_node_whose_last_attempt_has_to_stop_first_keeps_its_reservation() -> None:
    running = serialized()
    running.observed_attempts["a"] = ObservedAttempt(attempt=0)
    begin(running, TRANSITIONS, 1000.0)
    failed = Failure("Error", "exit code 1", ErrorKind.USER, recoverable=True)
    seen = AttemptObserved(0, AttemptPhase.FAILED, failure=failed, remains=Remains.RUNNING)
    decide(running, [(0, Launched(0)), (0, seen)], 1001.0, TRANSITIONS)
    assert isinstance(running.states[0], BackingOff)
    assert Reserve(0, 1) in resume(running, TRANSITIONS, 1005.0).effects
    running.observed_attempts["a"] = ObservedAttempt(attempt=1)
    assert Reserve(0, 1) in resume(running, TRANSITIONS, 1006.0).effects
