"""When failure nodes run, and when they do not: as FlytePropeller has it (workflow/executor.go, subworkflow.go).

They run after a node has failed or timed out. They do not run after an abort, nor in what is cancelled from outside.
"""

from __future__ import annotations

from collections.abc import Iterable

from propeller.handlers import TRANSITIONS
from propeller.workflow import (
    AttemptObserved,
    AttemptPhase,
    Cancel,
    Effect,
    EffectFailed,
    Execution,
    ExecutionSpec,
    Failure,
    Launch,
    Launched,
    NodeEvent,
    NodePhase,
    WorkflowPhase,
    decide,
)
from propeller.workflow._decide import EXECUTION
from tests.unit.workflow.drive import Answer, Driver, execution, graph, plan, task
from tests.unit.workflow.test_time_limits import sub


def behaves(*, fails: tuple[str, ...] = (), hangs: tuple[str, ...] = ()) -> Answer:
    """Attempts of these nodes fail, or never end."""

    def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if isinstance(effect, Launch) and of.unique_id(effect.node) in fails:
            return (EffectFailed(effect.attempt, Failure("Broken", "it broke", node=of.unique_id(effect.node))),)
        if isinstance(effect, Launch) and of.unique_id(effect.node) in hangs:
            return (Launched(effect.attempt), AttemptObserved(effect.attempt, AttemptPhase.RUNNING))
        return None

    return answer


INNER = graph(task("bad"), onFailure=task("clean"))


def names(driver: Driver) -> list[str]:
    return [name for name, _ in driver.launched]


def test_the_failure_node_of_a_sub_workflow_runs_before_that_of_the_workflow_around_it() -> None:
    driver = Driver(execution(plan(graph(sub(), onFailure=task("outer")), inner=INNER)), behaves(fails=("s-0-bad",)))
    ended = driver.run()
    assert names(driver) == ["s-0-bad", "s-0-clean", "outer"]
    assert ended.phase is WorkflowPhase.FAILED
    assert ended.failure is not None
    assert (ended.failure.code, ended.failure.node) == ("Broken", "s-0-bad")


def test_each_failure_node_gets_the_error_of_its_own_graph() -> None:
    driver = Driver(execution(plan(graph(sub(), onFailure=task("outer")), inner=INNER)), behaves(fails=("s-0-bad",)))
    ended = driver.run()
    assert [frame.failure and frame.failure.node for frame in ended.frames] == ["s-0-bad", "s-0-bad"]
    assert driver.phase_of("s-0-clean") == driver.phase_of("outer") == NodePhase.SUCCEEDED


def test_a_node_that_times_out_leads_to_the_failure_node() -> None:
    root = graph(task("slow", executionDeadline="60s"), onFailure=task("clean"))
    driver = Driver(execution(plan(root)), behaves(hangs=("slow",)))
    ended = driver.run()
    assert (names(driver), driver.stopped) == (["slow", "clean"], [("slow", 0)])
    assert ended.failure is not None
    assert (ended.failure.code, ended.failure.node) == ("TimeoutExpired", "slow")


def test_a_sub_workflow_that_times_out_as_a_whole_does_not_run_its_own_failure_node() -> None:
    root = graph(sub(executionDeadline="60s"), onFailure=task("outer"))
    driver = Driver(execution(plan(root, inner=INNER)), behaves(hangs=("s-0-bad",)))
    ended = driver.run()
    assert (names(driver), driver.stopped) == (["s-0-bad", "outer"], [("s-0-bad", 0)])
    assert ended.failure is not None
    assert (ended.failure.code, ended.failure.node) == ("TimeoutExpired", "s")


def test_what_is_cancelled_because_another_node_has_failed_runs_no_failure_node() -> None:
    root = graph(sub(), task("a"), task("b", executionDeadline="60s"), onFailure=task("outer"), edges=[("a", "b")])
    driver = Driver(execution(plan(root, inner=INNER)), behaves(hangs=("s-0-bad", "b")))
    driver.run()
    assert set(names(driver)) == {"s-0-bad", "a", "b", "outer"}
    assert {name for name, _ in driver.stopped} == {"s-0-bad", "b"}


def abort(driver: Driver) -> None:
    driver.carry_on(decide(driver.execution, [(EXECUTION, Cancel("deleted"))], driver.now, TRANSITIONS))


def test_an_abort_runs_no_failure_node() -> None:
    driver = Driver(
        execution(plan(graph(sub(), onFailure=task("outer")), inner=INNER)), behaves(hangs=("s-0-bad", "outer"))
    )
    driver.run()
    abort(driver)
    assert driver.execution.phase is WorkflowPhase.ABORTED
    assert (names(driver), driver.stopped) == (["s-0-bad"], [("s-0-bad", 0)])


def test_an_abort_stops_a_failure_node_that_runs() -> None:
    root = graph(sub(), onFailure=task("outer"))
    driver = Driver(execution(plan(root, inner=INNER)), behaves(fails=("s-0-bad",), hangs=("s-0-clean",)))
    driver.run()
    abort(driver)
    assert driver.execution.phase is WorkflowPhase.ABORTED
    assert (names(driver), driver.stopped) == (["s-0-bad", "s-0-clean"], [("s-0-clean", 0)])


def test_the_deadline_of_the_execution_stops_a_failure_node_that_runs_and_the_first_error_stays() -> None:
    of = execution(plan(graph(task("bad"), onFailure=task("clean"))), ExecutionSpec(active_deadline_seconds=60))
    driver = Driver(of, behaves(fails=("bad",), hangs=("clean",)))
    ended = driver.run()
    assert (ended.phase, ended.ended_at, driver.stopped) == (WorkflowPhase.FAILED, 1060.0, [("clean", 0)])
    assert ended.failure is not None
    assert ended.failure.code == "Broken"


def test_a_failure_node_that_is_a_workflow_runs_to_its_end() -> None:
    handler = {"id": "handler", "kind": "workflow", "workflow": {"subWorkflowRef": "inner"}}
    root = graph(task("bad"), onFailure=handler)
    driver = Driver(execution(plan(root, inner=graph(task("one"), task("two")))), behaves(fails=("bad",)))
    assert driver.run().phase is WorkflowPhase.FAILED
    assert set(names(driver)) == {"bad", "handler-0-one", "handler-0-two"}
