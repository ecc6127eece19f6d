"""Deadlines of nodes with nodes inside them, and of the graphs of dynamic tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from propeller.handlers import TRANSITIONS
from propeller.workflow import (
    AttemptObserved,
    AttemptPhase,
    BranchEvaluated,
    Effect,
    EvaluateBranch,
    Execution,
    ExecutionSpec,
    FuturesFound,
    InputsWritten,
    Launch,
    Launched,
    NodeEvent,
    NodePhase,
    ObservedAttempt,
    OutputsFound,
    StopAttempt,
    Stopped,
    WorkflowPhase,
    WriteInputs,
    begin,
    decide,
    resume,
)
from propeller.workflow._spec import ExecutionConfig
from tests.unit.workflow.drive import Answer, Driver, execution, graph, plan, task

LIMITED = {"executionDeadline": "60s", "activeDeadline": "120s"}
AGAIN = LIMITED | {"retry": {"minAttempts": 2}}


def sub(**fields: Any) -> dict[str, Any]:
    return {"id": "s", "kind": "workflow", "workflow": {"subWorkflowRef": "inner"}, **fields}


def mapped(**fields: Any) -> dict[str, Any]:
    return {"id": "s", "kind": "array", "array": {"SubNodeSpec": task("item"), "dataMode": 1}, **fields}


def branch(**fields: Any) -> dict[str, Any]:
    return {"id": "s", "kind": "branch", "branch": {"if": {"condition": {}, "then": "yes"}, "else": "no"}, **fields}


def hangs(*unique_ids: str) -> Answer:
    """Pods of these nodes never end."""

    def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if isinstance(effect, Launch) and of.unique_id(effect.node) in unique_ids:
            return (Launched(effect.attempt), AttemptObserved(effect.attempt, AttemptPhase.RUNNING))
        return (InputsWritten(size=2),) if isinstance(effect, WriteInputs) else None

    return answer


def failure_of(ended: Execution) -> tuple[str, str]:
    assert ended.failure is not None
    return ended.failure.code, ended.failure.node


@pytest.mark.parametrize(("node", "inside"), [(sub(**LIMITED), "s-0-a"), (mapped(**LIMITED), "s-0-n1")])
def test_nodes_inside_are_stopped_at_the_deadline_of_their_node(node: dict[str, Any], inside: str) -> None:
    driver = Driver(execution(plan(graph(node), inner=graph(task("a")))), hangs(inside))
    ended = driver.run()
    assert (ended.phase, ended.ended_at, failure_of(ended)) == (WorkflowPhase.FAILED, 1060.0, ("TimeoutExpired", "s"))
    assert driver.stopped == [(inside, 0)]


@pytest.mark.parametrize(("node", "inside"), [(sub(**AGAIN), "s-0-a"), (mapped(**AGAIN), "s-0-n1")])
def test_with_retries_the_nodes_inside_run_once_more(node: dict[str, Any], inside: str) -> None:
    driver = Driver(execution(plan(graph(node), inner=graph(task("a")))), hangs(inside))
    ended = driver.run()
    assert ended.phase is WorkflowPhase.SUCCEEDED
    assert driver.stopped == [(inside, 0)]
    assert (inside.replace("-0-", "-1-"), 0) in driver.launched
    assert ended.outputs_uri(0).endswith("/s/data/1/outputs.pb")
    assert ended.slots.used == 0


def test_the_active_deadline_of_a_node_ends_its_last_attempt() -> None:
    node = sub(executionDeadline="60s", activeDeadline="90s", retry={"minAttempts": 5})
    driver = Driver(execution(plan(graph(node), inner=graph(task("a")))), hangs("s-0-a", "s-1-a"))
    ended = driver.run()
    assert (ended.ended_at, failure_of(ended)) == (1090.0, ("TimeoutExpired", "s"))
    assert driver.stopped == [("s-0-a", 0), ("s-1-a", 0)]


def test_a_branch_stops_its_case_at_its_deadline() -> None:
    root = graph(branch(**LIMITED), task("yes"), task("no"))
    driver = Driver(execution(plan(root)), hangs("yes"))
    ended = driver.run()
    assert (ended.phase, failure_of(ended)) == (WorkflowPhase.FAILED, ("TimeoutExpired", "s"))
    assert (driver.launched, driver.stopped) == ([("yes", 0)], [("yes", 0)])


def test_a_case_that_waits_for_a_slot_does_not_start_after_the_deadline_of_its_branch() -> None:
    root = graph(branch(**LIMITED), task("yes"), task("no"), task("b"), onFailurePolicy=1)
    of = execution(plan(root), ExecutionSpec(execution_config=ExecutionConfig(max_parallelism=1)))
    assert begin(of, TRANSITIONS, 1000.0).effects == [EvaluateBranch(0), Launch(3, 0)]
    assert not decide(of, [(0, BranchEvaluated("yes"))], 1000.0, TRANSITIONS).effects
    decide(of, [(3, Launched(0)), (3, AttemptObserved(0, AttemptPhase.RUNNING))], 1001.0, TRANSITIONS)
    decide(of, [], 1060.0, TRANSITIONS)
    assert of.phases[0] == NodePhase.FAILED
    decide(of, [(3, AttemptObserved(0, AttemptPhase.SUCCEEDED))], 1061.0, TRANSITIONS)
    ended = decide(of, [(3, OutputsFound(0))], 1062.0, TRANSITIONS)
    assert not ended.effects
    assert of.phase is WorkflowPhase.FAILED


def test_the_deadline_of_a_node_holds_over_a_restart() -> None:
    of = execution(plan(graph(sub(**AGAIN)), inner=graph(task("a"))))
    begin(of, TRANSITIONS, 1000.0)
    decide(of, [(0, InputsWritten())], 1001.0, TRANSITIONS)
    of.timers.clear()
    resume(of, TRANSITIONS, 1050.0)
    assert decide(of, [], 1060.0, TRANSITIONS).effects == [StopAttempt(2, 0)]
    assert decide(of, [(2, Stopped(0))], 1061.0, TRANSITIONS).effects == [WriteInputs(0)]
    of.timers.clear()
    resume(of, TRANSITIONS, 1100.0)
    decide(of, [], 1120.0, TRANSITIONS)
    assert failure_of(of)[0] == "TimeoutExpired"


def test_a_node_whose_outputs_are_being_stored_has_ended_in_time() -> None:
    of = execution(plan(graph(mapped(**LIMITED))))
    begin(of, TRANSITIONS, 1000.0)
    decide(of, [(0, InputsWritten(size=0))], 1001.0, TRANSITIONS)
    assert not decide(of, [], 1200.0, TRANSITIONS).effects
    assert of.phases[0] == NodePhase.RUNNING


def _dynamic(**fields: Any) -> Execution:
    """What it has made, a task, runs."""
    of = execution(plan(graph(task("d", **fields), task("b"))))
    begin(of, TRANSITIONS, 1000.0)
    inner = plan(graph(task("a"))).root
    decide(of, [(0, Launched(0)), (0, AttemptObserved(0, AttemptPhase.SUCCEEDED))], 1010.0, TRANSITIONS)
    decide(of, [(0, FuturesFound(0, inner))], 1020.0, TRANSITIONS)
    return of


def test_the_graph_of_a_dynamic_task_runs_within_the_deadline_of_its_attempt() -> None:
    of = _dynamic(executionDeadline="60s", retry={"minAttempts": 2})
    assert of.slots.used == 2
    assert decide(of, [], 1060.0, TRANSITIONS).effects == [StopAttempt(3, 0)]
    assert decide(of, [(3, Stopped(0, 30.0))], 1060.0, TRANSITIONS).effects == []
    assert decide(of, [(3, AttemptObserved(0, AttemptPhase.GONE))], 1065.0, TRANSITIONS).effects == [Launch(0, 1)]
    assert of.slots.used == 2


def test_after_a_restart_a_dynamic_task_continues_with_the_attempt_that_has_a_pod() -> None:
    of = _dynamic(executionDeadline="60s", retry={"minAttempts": 2})
    of.timers.clear()
    of.observed_attempts["d"] = ObservedAttempt(1)
    assert Launch(0, 1) in resume(of, TRANSITIONS, 1065.0).effects
    assert of.phases[3] == NodePhase.ABORTED


def test_after_a_restart_a_dynamic_task_holds_no_slot_of_its_own() -> None:
    """Regression: with a limit to its time it gave its place back once more at each restart."""
    of = _dynamic(executionDeadline="60s", activeDeadline="120s")
    resume(of, TRANSITIONS, 1030.0)
    assert of.slots.used == 2


def test_a_deadline_is_not_missed_if_the_start_was_rounded_up() -> None:
    """Regression: a start is kept as a float32, and a timer that rang just before the rounded end never rang again."""
    of = execution(plan(graph(task("a"), task("b", activeDeadline="60s"), edges=[("a", "b")])))
    begin(of, TRANSITIONS, 1000.0)
    decide(of, [(0, Launched(0)), (0, AttemptObserved(0, AttemptPhase.SUCCEEDED))], 1001.0, TRANSITIONS)
    later = 1000.0 + 200_000.012  # float32: 200,000.015625
    started = decide(of, [(0, OutputsFound(0))], later, TRANSITIONS)
    assert started.wake is not None
    assert decide(of, [], started.wake, TRANSITIONS).effects
