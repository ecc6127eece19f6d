"""Transitions cannot say two things at once, and each says whether a status has to record it."""

from __future__ import annotations

import pytest

from propeller.errors import ErrorKind
from propeller.workflow import (
    Abort,
    Continue,
    Execution,
    Fail,
    Failure,
    Launched,
    NodeEvent,
    NodeKind,
    NodePhase,
    NodeView,
    Running,
    StartAttempt,
    State,
    Stay,
    Succeed,
    Transition,
    begin,
    decide,
)
from tests.unit.workflow.drive import execution, graph, plan, task


def decided(transition: Transition) -> tuple[Execution, bool]:
    """An execution whose only task runs, after an event that leads to this transition; whether it changed anything."""
    of = execution(plan(graph(task("a"))))

    def on_event(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Transition:
        return StartAttempt(Running(0, 1000.0), 0) if state is None else transition

    transitions = {NodeKind.TASK: on_event, NodeKind.END: on_event}
    begin(of, transitions, 1000.0)
    return of, decide(of, [(0, Launched(0))], 1001.0, transitions).changed


@pytest.mark.parametrize("ends", [Succeed, Fail, Abort])
def test_a_node_that_ends_has_no_next_state_and_no_timer(ends: type[Transition]) -> None:
    assert not {"state", "wakes", "attempt"} & set(ends.__struct_fields__)


@pytest.mark.parametrize(
    ("transition", "changed"),
    [
        (Stay(wakes=(2000.0,)), False),
        (Continue(Running(0, 1000.0)), False),
        (Continue(Running(0, 1000.0, started=True)), True),
        (Continue(Running(0, 1000.0, started=True), checkpoint=False), False),
        (StartAttempt(Running(0, 1000.0), 0), True),
        (StartAttempt(Running(1, 1000.0), 1, checkpoint=False), False),
    ],
)
def test_a_status_records_new_states_and_attempts_only(transition: Transition, changed: bool) -> None:
    assert decided(transition)[1] is changed


@pytest.mark.parametrize(
    ("transition", "phase"),
    [(Succeed(), NodePhase.SUCCEEDED), (Fail(Failure("E", "m")), NodePhase.FAILED), (Abort(), NodePhase.ABORTED)],
)
def test_a_node_ends_as_its_transition_says(transition: Transition, phase: NodePhase) -> None:
    of, changed = decided(transition)
    assert (of.phases[0], of.states.get(0), changed) == (phase, None, True)


def test_a_retry_is_counted_for_the_system_only_if_the_system_failed() -> None:
    for kind, count in ((ErrorKind.USER, None), (ErrorKind.SYSTEM, 1)):
        of, _ = decided(StartAttempt(Running(1, 1000.0), 1, failure=Failure("E", "m", kind)))
        assert (of.attempts[0], of.system_failures.get(0)) == (1, count)
