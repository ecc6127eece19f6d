"""The decisions of a task node about its attempts."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.errors import ErrorKind
from propeller.handlers import TRANSITIONS
from propeller.handlers.transitions._task import task_transition
from propeller.handlers.transitions._time_limits import MAX_ATTEMPTS
from propeller.workflow import (
    AllStopped,
    AttemptObserved,
    AttemptOptions,
    AttemptPhase,
    BackingOff,
    Collecting,
    Continue,
    EffectFailed,
    Fail,
    Failure,
    Launch,
    Launched,
    Launching,
    NodePhase,
    NodeView,
    ObserveAttempt,
    Remains,
    Running,
    Start,
    StartAttempt,
    State,
    Stay,
    StopAttempt,
    TimerFired,
)
from tests.unit.handlers.build import World, array, graph, task

NOW = 1000.0


def node(**fields: Any) -> NodeView:
    world = World(graph(task("n0", **fields)))
    world.execution.phases[world.node("n0").number] = NodePhase.RUNNING
    return world.node("n0")


def cannot_start(reason: str, kind: ErrorKind = ErrorKind.USER, *, recoverable: bool = True) -> AttemptObserved:
    failure = Failure(f"ContainersNotReady|{reason}", "[main] why", kind, recoverable=recoverable, attempt=0)
    return AttemptObserved(0, AttemptPhase.PENDING, reason, failure)


@pytest.mark.parametrize("state", [Launching(0, NOW), Running(0, NOW)])
@pytest.mark.parametrize("reason", sorted(AttemptOptions().start_grace))
def test_a_pod_that_may_still_start_has_a_grace_period(state: State, reason: str) -> None:
    of, seen = node(), cannot_start(reason)
    due = NOW + AttemptOptions().start_grace[reason]
    assert task_transition(of, state, seen, NOW) == Stay(wakes=(due,))
    assert task_transition(of, state, seen, due - 1) == Stay(wakes=(due,))
    late = task_transition(of, state, seen, NOW + AttemptOptions().start_grace[reason])
    assert isinstance(late, Fail)
    assert late.effects == (StopAttempt(of.number, 0),)


def test_a_pod_that_was_not_seen_to_start_is_looked_for_when_its_timer_fires() -> None:
    of = node()
    assert task_transition(of, Running(0, NOW), TimerFired(), NOW + 180) == Stay(
        effects=(ObserveAttempt(of.number, 0),),
        wakes=(NOW + 180 + AttemptOptions().unseen_after,),
    )
    assert task_transition(of, Running(0, NOW, started=True), TimerFired(), NOW + 180) is None
    assert task_transition(of, Launching(0, NOW), TimerFired(), NOW + 180) is None


def test_a_pod_that_cannot_start_at_all_fails_at_once_and_is_stopped() -> None:
    of = node()
    found = task_transition(of, Launching(0, NOW), cannot_start("InvalidImageName", recoverable=False), NOW)
    assert isinstance(found, Fail)
    assert found.failure.code == "ContainersNotReady|InvalidImageName"
    assert found.effects == (StopAttempt(of.number, 0),)


def test_a_pod_that_the_system_cannot_start_is_stopped_and_retried_after_a_pause() -> None:
    of = node()
    again = task_transition(of, Running(0, NOW), cannot_start("RunContainerError", ErrorKind.SYSTEM), NOW)
    assert isinstance(again, StartAttempt)
    assert isinstance(again.state, BackingOff)
    assert again.effects == (StopAttempt(of.number, 0),)
    assert again.failure is not None
    assert again.failure.is_system


def test_with_attempts_left_the_next_one_is_launched_when_the_last_has_stopped() -> None:
    of = node(retry={"minAttempts": 2})
    waits = task_transition(of, Running(0, NOW), cannot_start("ImagePullBackOff"), NOW + 1000)
    assert isinstance(waits, StartAttempt)
    assert (waits.effects, waits.attempt, waits.awaits_stops) == ((StopAttempt(of.number, 0),), 1, True)
    assert isinstance(waits.state, BackingOff)
    assert "attempt 0 has to stop first" in waits.state.reason
    assert task_transition(of, waits.state, TimerFired(), NOW + 2000) is None
    launches = task_transition(of, waits.state, AllStopped(), NOW + 2000)
    assert isinstance(launches, StartAttempt)
    assert launches.effects == (Launch(of.number, 1),)


def test_a_pod_that_is_unschedulable_is_waited_for() -> None:
    assert (
        task_transition(node(), Launching(0, NOW), AttemptObserved(0, AttemptPhase.PENDING, "Unschedulable"), NOW + 1e6)
        is None
    )


def test_no_attempt_has_a_number_over_the_maximum() -> None:
    of = node(retry={"minAttempts": 1000})
    failure = Failure("Error", "m", recoverable=True)
    for attempt, expected in ((MAX_ATTEMPTS - 1, StartAttempt), (MAX_ATTEMPTS, Fail)):
        assert type(task_transition(of, Running(attempt, NOW), EffectFailed(attempt, failure), NOW)) is expected


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (Launching(1, NOW), Launched(0)),
        (Running(1, NOW), AttemptObserved(0, AttemptPhase.FAILED, failure=Failure("Error", "m"))),
        (Collecting(2, NOW), EffectFailed(1, Failure("Error", "m"))),
        (None, Launched(0)),
        (BackingOff(1, NOW, NOW, "r"), AttemptObserved(1, AttemptPhase.SUCCEEDED)),
    ],
)
def test_an_event_of_an_attempt_that_is_over_leads_to_no_transition(state: State | None, event: Any) -> None:
    assert task_transition(node(), state, event, NOW) is None


@pytest.mark.parametrize(("kind", "what"), [("workflow", "sub-workflows"), ("branch", "branch nodes")])
def test_a_map_over_what_has_no_attempts_of_its_own_is_not_supported(kind: str, what: str) -> None:
    inner = {
        "id": "sub",
        "kind": kind,
        kind: {"subWorkflowRef": "w"} if kind == "workflow" else {"if": {"then": "sub"}},
    }
    world = World(graph(array("n0", inner)), w=graph(task("n0")))
    of = world.node("n0")
    found = TRANSITIONS[of.spec.kind](of, None, Start(), NOW)
    assert isinstance(found, Fail)
    assert found.failure.code == "NotSupported"
    assert f"maps over {what} are not supported" in found.failure.message


@pytest.mark.parametrize("phase", [AttemptPhase.PENDING, AttemptPhase.RUNNING])
def test_a_pod_that_someone_else_deletes_is_given_up_only_after_its_grace_period(phase: AttemptPhase) -> None:
    of = node()
    seen = AttemptObserved(0, phase, remains=Remains.ENDING, grace=30.0)
    until = NOW + 30.0 + of.execution.stop_margin
    found = task_transition(of, Running(0, NOW), seen, NOW)
    assert found == Continue(Running(0, NOW, started=True, until=until), wakes=(until,))
    assert task_transition(of, found.state, seen, NOW + 1) is None
    assert task_transition(of, found.state, AttemptObserved(0, AttemptPhase.RUNNING), NOW + 1) is None


def test_a_pod_that_fails_while_someone_else_deletes_it_fails_its_attempt_at_once() -> None:
    failure = Failure("UnexpectedObjectDeletion", "m", ErrorKind.SYSTEM, recoverable=True)
    seen = AttemptObserved(0, AttemptPhase.FAILED, failure=failure, remains=Remains.ENDING, grace=30.0)
    found = task_transition(node(), Running(0, NOW, started=True, until=NOW + 60), seen, NOW)
    assert isinstance(found, StartAttempt)
    assert (found.attempt, found.failure, found.awaits_stops) == (1, failure, True)
