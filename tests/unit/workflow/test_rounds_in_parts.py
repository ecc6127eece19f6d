"""A round hears so many facts at most: the rest waits, and nothing depends on where it is cut."""

from __future__ import annotations

from collections.abc import Iterable
from unittest import mock

import pytest

from propeller.handlers import STEPS
from propeller.workflow import (
    EXECUTION,
    Cancel,
    Effect,
    EffectFailed,
    Execution,
    Fact,
    Failure,
    Launch,
    Launched,
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
    def answer(of: Execution, effect: Effect) -> Iterable[Fact] | None:
        if isinstance(effect, Launch) and of.unique_id(effect.node) == name:
            return (EffectFailed(effect.attempt, BROKEN),)
        return None

    return Driver(execution(plan(graph(*WIDE, onFailure=task("clean")))), answer)


@pytest.mark.parametrize("most", [1, 3, 40, 500])
def test_it_comes_to_the_same_however_it_is_cut(most: int) -> None:
    with mock.patch.object(_decide, "MOST_FACTS", most):
        wide = Driver(execution(plan(graph(*WIDE))))
        assert wide.run().phase is WorkflowPhase.SUCCEEDED
        assert sorted(wide.launched) == sorted((node["id"], 0) for node in WIDE)
        failing = fails("n7")
        assert failing.run().phase is WorkflowPhase.FAILED
        assert failing.launched[-1] == ("clean", 0)
        assert failing.execution.failure is not None
        assert failing.execution.failure.node == "n7"


def test_a_round_says_that_there_is_more_and_goes_on_where_it_was() -> None:
    with mock.patch.object(_decide, "MOST_FACTS", 15):
        of = execution(plan(graph(*WIDE)))
        first = begin(of, STEPS, 1000.0)
        assert (len(first.effects), first.more) == (15, True)
        second = decide(of, [], 1000.0, STEPS)
        third = decide(of, [], 1000.0, STEPS)
        assert (len(second.effects), len(third.effects), third.more) == (15, 10, False)


def test_an_end_of_the_whole_does_not_wait_its_turn() -> None:
    with mock.patch.object(_decide, "MOST_FACTS", 5):
        of = execution(plan(graph(*WIDE)))
        begin(of, STEPS, 1000.0)
        ended = decide(of, [(EXECUTION, Cancel("enough"))], 1001.0, STEPS)
        assert [type(effect) for effect in ended.effects] == [StopAttempt] * 5
        assert (of.phase, ended.more) == (WorkflowPhase.ABORTED, False)


def test_what_a_failure_has_yet_to_stop_is_stopped_after_a_restart() -> None:
    with mock.patch.object(_decide, "MOST_FACTS", 45):
        of = execution(plan(graph(*WIDE)))
        begin(of, STEPS, 1000.0)
        launched = [(node, Launched(0)) for node in range(40)]
        decide(of, launched, 1000.0, STEPS)
        decide(of, [(0, EffectFailed(0, BROKEN)), *launched * 2], 1001.0, STEPS)
        assert of.phases[1] == NodePhase.RUNNING
        of.todo.clear()  # a crash, and a rebuild
        resumed = resume(of, STEPS, 1002.0)
        while resumed.more:
            resumed = decide(of, [], 1002.0, STEPS)
    assert of.phase is WorkflowPhase.FAILED
    assert all(phase in {NodePhase.FAILED, NodePhase.ABORTED, NodePhase.NOT_STARTED} for phase in of.phases)


def test_a_failure_node_that_runs_goes_on_after_a_restart() -> None:
    of = execution(plan(graph(task("n0"), onFailure=task("clean"))))
    begin(of, STEPS, 1000.0)
    (cleans,) = decide(of, [(0, EffectFailed(0, BROKEN))], 1001.0, STEPS).effects
    assert isinstance(cleans, Launch)
    resume(of, STEPS, 1002.0)
    assert of.phases[cleans.node] == NodePhase.RUNNING
