"""One reconcile handles a maximum of events. The others stay for the next one, and the result is the same."""

from __future__ import annotations

from collections.abc import Iterable
from unittest import mock

import pytest

from propeller.handlers import TRANSITIONS
from propeller.workflow import (
    EXECUTION,
    Cancel,
    Effect,
    EffectFailed,
    Execution,
    Failure,
    Launch,
    Launched,
    NodeEvent,
    NodePhase,
    StopAttempt,
    WorkflowPhase,
    _decide,
    begin,
    decide,
    resume,
)
from tests.unit.workflow.drive import Driver, execution, graph, plan, task

WIDE = [task(f"n{number}") for number in range(40)]
BROKEN = Failure("Broken", "it broke")


def fails(name: str) -> Driver:
    def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if isinstance(effect, Launch) and of.unique_id(effect.node) == name:
            return (EffectFailed(effect.attempt, BROKEN),)
        return None

    return Driver(execution(plan(graph(*WIDE, onFailure=task("clean")))), answer)


@pytest.mark.parametrize("most", [1, 3, 40, 500])
def test_the_result_is_the_same_however_many_events_one_reconcile_handles(most: int) -> None:
    with mock.patch.object(_decide, "MAX_EVENTS", most):
        wide = Driver(execution(plan(graph(*WIDE))))
        assert wide.run().phase is WorkflowPhase.SUCCEEDED
        assert sorted(wide.launched) == sorted((node["id"], 0) for node in WIDE)
        failing = fails("n7")
        assert failing.run().phase is WorkflowPhase.FAILED
        assert failing.launched[-1] == ("clean", 0)
        assert failing.execution.failure is not None
        assert failing.execution.failure.node == "n7"


def test_a_reconcile_reports_that_events_are_left_and_the_next_one_handles_them() -> None:
    with mock.patch.object(_decide, "MAX_EVENTS", 15):
        of = execution(plan(graph(*WIDE)))
        first = begin(of, TRANSITIONS, 1000.0)
        assert (len(first.effects), first.more) == (15, True)
        second = decide(of, [], 1000.0, TRANSITIONS)
        third = decide(of, [], 1000.0, TRANSITIONS)
        assert (len(second.effects), len(third.effects), third.more) == (15, 10, False)


def test_an_abort_skips_the_queue_of_events() -> None:
    with mock.patch.object(_decide, "MAX_EVENTS", 5):
        of = execution(plan(graph(*WIDE)))
        begin(of, TRANSITIONS, 1000.0)
        ended = decide(of, [(EXECUTION, Cancel("enough"))], 1001.0, TRANSITIONS)
        assert [type(effect) for effect in ended.effects] == [StopAttempt] * 5
        assert (of.phase, ended.more) == (WorkflowPhase.ABORTED, False)


def test_nodes_that_a_failure_has_not_stopped_yet_are_stopped_after_a_restart() -> None:
    with mock.patch.object(_decide, "MAX_EVENTS", 45):
        of = execution(plan(graph(*WIDE)))
        begin(of, TRANSITIONS, 1000.0)
        launched = [(node, Launched(0)) for node in range(40)]
        decide(of, launched, 1000.0, TRANSITIONS)
        decide(of, [(0, EffectFailed(0, BROKEN)), *launched * 2], 1001.0, TRANSITIONS)
        assert of.phases[1] == NodePhase.RUNNING
        of.todo.clear()  # a crash, and a rebuild
        resumed = resume(of, TRANSITIONS, 1002.0)
        while resumed.more:
            resumed = decide(of, [], 1002.0, TRANSITIONS)
    assert of.phase is WorkflowPhase.FAILED
    assert all(phase in {NodePhase.FAILED, NodePhase.ABORTED, NodePhase.NOT_STARTED} for phase in of.phases)


def test_a_failure_node_that_runs_goes_on_after_a_restart() -> None:
    of = execution(plan(graph(task("n0"), onFailure=task("clean"))))
    begin(of, TRANSITIONS, 1000.0)
    (cleans,) = decide(of, [(0, EffectFailed(0, BROKEN))], 1001.0, TRANSITIONS).effects
    assert isinstance(cleans, Launch)
    resume(of, TRANSITIONS, 1002.0)
    assert of.phases[cleans.node] == NodePhase.RUNNING
