"""The deadline of an execution: the resource's activeDeadlineSeconds."""

from __future__ import annotations

from collections.abc import Iterable

from propeller.handlers import TRANSITIONS
from propeller.workflow import (
    Effect,
    EffectFailed,
    Execution,
    ExecutionSpec,
    Failure,
    Launch,
    NodeEvent,
    WorkflowPhase,
    begin,
    decide,
    resume,
)
from tests.unit.workflow.drive import Driver, execution, graph, plan, task

LIMITED = ExecutionSpec(active_deadline_seconds=60)


def never_ends(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
    return () if isinstance(effect, Launch) else None


def test_an_execution_fails_at_its_deadline_and_stops_its_pods() -> None:
    driver = Driver(execution(plan(graph(task("n0"), task("n1"))), LIMITED), never_ends)
    ended = driver.run()
    assert (ended.phase, ended.ended_at) == (WorkflowPhase.FAILED, 1060.0)
    assert ended.failure is not None
    assert (ended.failure.code, ended.failure.message) == (
        "TimeoutExpired",
        "workflow active deadline [60s] expired",
    )
    assert {name for name, _ in driver.stopped} == {"n0", "n1"}


def test_an_execution_that_ends_in_time_is_not_affected_by_its_deadline() -> None:
    ended = Driver(execution(plan(graph(task("n0"))), LIMITED)).run()
    assert (ended.phase, ended.timers) == (WorkflowPhase.SUCCEEDED, [])


def test_the_deadline_counts_from_the_creation_also_after_a_restart() -> None:
    of = execution(plan(graph(task("n0"))), LIMITED)
    begin(of, TRANSITIONS, 1000.0)
    of.timers.clear()  # as after a rebuild
    assert resume(of, TRANSITIONS, 1050.0).wake == 1060.0
    assert decide(of, [], 1060.0, TRANSITIONS).changed
    assert of.phase is WorkflowPhase.FAILED


def test_a_failure_before_the_deadline_stays_the_reason() -> None:
    def first_fails(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if not isinstance(effect, Launch):
            return None
        own = Failure("Broken", "it broke")
        return (EffectFailed(effect.attempt, own),) if of.unique_id(effect.node) == "n0" else ()

    of = execution(plan(graph(task("n0"), task("n1"), onFailurePolicy=1)), LIMITED)
    ended = Driver(of, first_fails).run()
    assert (ended.phase, ended.ended_at) == (WorkflowPhase.FAILED, 1060.0)
    assert ended.failure is not None
    assert ended.failure.code == "Broken"


def test_no_failure_node_runs_beyond_the_deadline() -> None:
    driver = Driver(execution(plan(graph(task("n0"), onFailure=task("handler"))), LIMITED), never_ends)
    ended = driver.run()
    assert (ended.phase, ended.ended_at) == (WorkflowPhase.FAILED, 1060.0)
    assert driver.launched == [("n0", 0)]
