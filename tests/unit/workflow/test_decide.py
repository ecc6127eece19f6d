"""Decisions for each node kind and each kind of failure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from propeller.errors import ErrorKind
from propeller.handlers import TRANSITIONS
from propeller.workflow import (
    EXECUTION,
    AttemptObserved,
    AttemptPhase,
    BranchEvaluated,
    Cancel,
    Effect,
    EffectFailed,
    Execution,
    ExecutionSpec,
    Expire,
    Expired,
    Failure,
    FuturesFound,
    InputsWritten,
    Launch,
    Launched,
    NodeEvent,
    NodePhase,
    ObservedAttempt,
    OutputsFound,
    Refused,
    StopAttempt,
    Stopped,
    WorkflowPhase,
    begin,
    decide,
)
from propeller.workflow import Collect as CollectEffect
from propeller.workflow import WriteInputs as WriteInputsEffect
from propeller.workflow._spec import ExecutionConfig
from tests.unit.workflow.drive import Answer, Driver, execution, graph, plan, task

FAIL_AFTER = 1


def failing(*unique_ids: str, kind: ErrorKind = ErrorKind.USER, recoverable: bool = False, times: int = 99) -> Answer:
    """An answer that fails the pods of the named nodes, the first `times` attempts of each."""

    def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if isinstance(effect, Launch) and of.unique_id(effect.node) in unique_ids and effect.attempt < times:
            failure = Failure("Error", "it broke", kind, recoverable=recoverable)
            return (Launched(effect.attempt), AttemptObserved(effect.attempt, AttemptPhase.FAILED, failure=failure))
        return None

    return answer


def test_a_chain_runs_in_order_and_succeeds() -> None:
    driver = Driver(execution(plan(graph(task("a"), task("b"), task("c"), edges=[("a", "b"), ("b", "c")]))))

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert driver.launched == [("a", 0), ("b", 0), ("c", 0)]


def test_a_diamond_waits_for_both_sides_and_runs_each_node_once() -> None:
    edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]
    driver = Driver(execution(plan(graph(task("a"), task("b"), task("c"), task("d"), edges=edges))))

    driver.run()

    assert driver.launched == [("a", 0), ("b", 0), ("c", 0), ("d", 0)]


def test_a_failed_node_stops_its_siblings_at_once_by_default() -> None:
    def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if isinstance(effect, Launch) and of.unique_id(effect.node) == "slow":
            return (Launched(0),)  # runs on and on
        return failing("bad")(of, effect)

    driver = Driver(execution(plan(graph(task("slow"), task("bad")))), answer)

    assert driver.run().phase is WorkflowPhase.FAILED
    assert driver.stopped == [("slow", 0)]
    assert driver.phase_of("slow") is NodePhase.ABORTED
    assert driver.execution.failure is not None
    assert driver.execution.failure.node == "bad"


def test_with_fail_after_executable_nodes_complete_nodes_that_do_not_need_the_failed_one_still_run() -> None:
    root = graph(
        task("bad"),
        task("a"),
        task("b"),
        task("after"),
        edges=[("a", "b"), ("bad", "after")],
        onFailurePolicy=FAIL_AFTER,
    )
    driver = Driver(execution(plan(root)), failing("bad"))

    assert driver.run().phase is WorkflowPhase.FAILED
    assert driver.phase_of("b") is NodePhase.SUCCEEDED
    assert driver.phase_of("after") is NodePhase.NOT_STARTED


def test_user_failures_are_retried_as_often_as_the_task_allows() -> None:
    driver = Driver(execution(plan(graph(task("a", retry={"minAttempts": 3})))), failing("a", recoverable=True))

    assert driver.run().phase is WorkflowPhase.FAILED
    assert driver.launched == [("a", 0), ("a", 1), ("a", 2)]


def test_a_failure_that_is_not_recoverable_is_never_retried() -> None:
    driver = Driver(execution(plan(graph(task("a", retry={"minAttempts": 3})))), failing("a"))

    driver.run()

    assert driver.launched == [("a", 0)]


def test_system_failures_have_a_budget_of_their_own() -> None:
    answer = failing("a", kind=ErrorKind.SYSTEM, recoverable=True)
    driver = Driver(execution(plan(graph(task("a")))), answer)

    assert driver.run().phase is WorkflowPhase.FAILED
    assert [attempt for _, attempt in driver.launched] == [0, 1, 2, 3]


def test_a_retry_that_succeeds_lets_the_workflow_succeed() -> None:
    answer = failing("a", kind=ErrorKind.SYSTEM, recoverable=True, times=2)
    driver = Driver(execution(plan(graph(task("a"), task("b"), edges=[("a", "b")]))), answer)

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert driver.launched == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]


def test_a_rejected_launch_is_retried_later_under_the_same_attempt() -> None:
    refused: list[int] = []

    def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if isinstance(effect, Launch) and len(refused) < 2:
            refused.append(effect.attempt)
            return (Refused(effect.attempt, "exceeded quota", 5.0),)
        return None

    driver = Driver(execution(plan(graph(task("a")))), answer)

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert driver.launched == [("a", 0)] * 3
    assert driver.now == 1010.0


def test_no_more_tasks_run_at_once_than_the_execution_allows() -> None:
    spec = ExecutionSpec(execution_config=ExecutionConfig(max_parallelism=3))
    driver = Driver(execution(plan(graph(*(task(f"n{i}") for i in range(20)))), spec))

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert len(driver.launched) == 20
    assert driver.at_once == 3


def test_a_sub_workflow_runs_inside_its_node_under_its_own_names() -> None:
    inner = graph(task("x"), task("y"), edges=[("x", "y")])
    outer = graph(
        task("a"), {"id": "n0", "kind": "workflow", "workflow": {"subWorkflowRef": "inner"}}, edges=[("a", "n0")]
    )
    driver = Driver(execution(plan(outer, inner=inner)))

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert driver.launched == [("a", 0), ("n0-0-x", 0), ("n0-0-y", 0)]


def test_a_failure_inside_a_sub_workflow_is_the_failure_of_its_node() -> None:
    outer = graph({"id": "n0", "kind": "workflow", "workflow": {"subWorkflowRef": "inner"}})
    driver = Driver(execution(plan(outer, inner=graph(task("x")))), failing("n0-0-x"))

    assert driver.run().phase is WorkflowPhase.FAILED
    assert driver.phase_of("n0") is NodePhase.FAILED
    assert driver.execution.failure is not None
    assert driver.execution.failure.node == "n0-0-x"


@pytest.mark.parametrize(("chosen", "skipped"), [("n0-n0", "n0-n1"), ("n0-n1", "n0-n0")])
def test_a_branch_runs_one_case_and_skips_the_others(chosen: str, skipped: str) -> None:
    branch = {"id": "n0", "kind": "branch", "branch": {"if": {"then": "n0-n0"}, "else": "n0-n1"}}
    root = graph(branch, task("n0-n0"), task("n0-n1"), task("after"), edges=[("n0", "after")])

    def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        return (BranchEvaluated(chosen),) if type(effect).__name__ == "EvaluateBranch" else None

    driver = Driver(execution(plan(root)), answer)

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert driver.launched == [(chosen, 0), ("after", 0)]
    assert driver.phase_of(skipped) is NodePhase.SKIPPED


def test_a_case_that_needs_another_node_waits_for_it_after_being_chosen() -> None:
    branch = {"id": "n0", "kind": "branch", "branch": {"if": {"then": "n0-n0"}, "else": "n0-n1"}}
    root = graph(branch, task("n0-n0"), task("n0-n1"), task("slow"), edges=[("slow", "n0-n0")])
    driver = Driver(execution(plan(root)))

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert driver.launched.index(("slow", 0)) < driver.launched.index(("n0-n0", 0))


def array_node(**array: object) -> dict[str, object]:
    return {"id": "n0", "kind": "array", "array": {"SubNodeSpec": task("item"), **array}}


def sized(size: int, otherwise: Answer = lambda of, effect: None) -> Answer:
    def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if isinstance(effect, WriteInputsEffect):
            return (InputsWritten(size),)
        return otherwise(of, effect)

    return answer


def test_a_map_task_runs_every_item_and_no_more_at_once_than_it_may() -> None:
    driver = Driver(execution(plan(graph(array_node(Parallelism=4)))), sized(10))

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert sorted(driver.launched) == sorted((f"n0-0-n{i}", 0) for i in range(10))
    assert driver.at_once == 4


def test_a_map_task_over_an_empty_list_succeeds_without_a_pod() -> None:
    driver = Driver(execution(plan(graph(array_node()))), sized(0))

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert driver.launched == []


@pytest.mark.parametrize(("ratio", "phase"), [(0.5, WorkflowPhase.SUCCEEDED), (0.9, WorkflowPhase.FAILED)])
def test_a_map_task_succeeds_when_enough_items_do(ratio: float, phase: WorkflowPhase) -> None:
    bad = failing("n0-0-n1", "n0-0-n3")
    driver = Driver(execution(plan(graph(array_node(MinSuccessRatio=ratio)))), sized(5, bad))

    assert driver.run().phase is phase


def test_a_dynamic_task_runs_the_workflow_that_it_wrote() -> None:
    inside = plan(graph(task("d0"), task("d1"), edges=[("d0", "d1")]))

    def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if isinstance(effect, CollectEffect) and of.unique_id(effect.node) == "n0":
            return (FuturesFound(effect.attempt, inside.root),)
        return None

    driver = Driver(execution(plan(graph(task("n0"), task("after"), edges=[("n0", "after")]))), answer)

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert driver.launched == [("n0", 0), ("n0-0-d0", 0), ("n0-0-d1", 0), ("after", 0)]


def test_the_failure_node_runs_after_a_failure_and_the_workflow_still_fails() -> None:
    root = graph(task("bad"), onFailure=task("cleanup"))
    driver = Driver(execution(plan(root)), failing("bad"))

    assert driver.run().phase is WorkflowPhase.FAILED
    assert driver.launched == [("bad", 0), ("cleanup", 0)]
    assert driver.execution.failure is not None
    assert driver.execution.failure.node == "bad"


def test_the_failure_node_runs_once_however_many_nodes_fail_in_one_reconcile() -> None:
    """Two ends of one round both found the failure node not started yet, and met its one dependency twice."""
    root = graph(task("a"), task("b"), onFailure=task("clean"))
    driver = Driver(execution(plan(root)), failing("a", "b"))

    assert driver.run().phase is WorkflowPhase.FAILED
    assert [name for name, _ in driver.launched].count("clean") == 1


def test_a_failure_node_that_fails_itself_leaves_the_execution_the_error_that_came_first() -> None:
    """In FlytePropeller it replaces that error (handleFailureNode)."""
    driver = Driver(execution(plan(graph(task("bad"), onFailure=task("cleanup")))), failing("bad", "cleanup"))

    of = driver.run()
    assert of.phase is WorkflowPhase.FAILED
    assert of.failure is not None
    assert of.failure.node == "bad"
    assert sorted(of.failures) == [of.frames[0].base, of.frames[0].base + (of.frames[0].graph.failure or 0)]


def test_the_failure_node_stays_out_of_a_workflow_that_succeeds() -> None:
    driver = Driver(execution(plan(graph(task("a"), onFailure=task("cleanup")))))

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert driver.launched == [("a", 0)]


def test_an_abort_stops_every_pod_and_ends_the_execution() -> None:
    driver = Driver(
        execution(plan(graph(task("a"), task("b")))),
        lambda of, effect: (
            (Launched(0), AttemptObserved(0, AttemptPhase.RUNNING)) if isinstance(effect, Launch) else None
        ),
    )
    begun = begin(driver.execution, TRANSITIONS, 1000.0)
    decide(
        driver.execution, [(e.node, event) for e in begun.effects for event in driver.events_of(e)], 1000.0, TRANSITIONS
    )

    driver.carry_on(decide(driver.execution, [(EXECUTION, Cancel("enough"))], 1001.0, TRANSITIONS))

    assert driver.execution.phase is WorkflowPhase.ABORTED
    assert sorted(driver.stopped) == [("a", 0), ("b", 0)]
    assert not driver.execution.states


def test_an_event_of_an_attempt_that_is_over_changes_nothing() -> None:
    running = execution(plan(graph(task("a", retry={"minAttempts": 2}))))
    begin(running, TRANSITIONS, 1000.0)
    failure = Failure("Error", "it broke", recoverable=True)
    decide(running, [(0, AttemptObserved(0, AttemptPhase.FAILED, failure=failure))], 1001.0, TRANSITIONS)

    late = decide(
        running, [(0, AttemptObserved(0, AttemptPhase.SUCCEEDED)), (0, EffectFailed(0, failure))], 1002.0, TRANSITIONS
    )

    assert not late.changed
    assert not late.effects


def test_an_attempt_that_takes_too_long_is_stopped_and_counts_as_the_users_failure() -> None:
    root = graph(task("a", executionDeadline="30s", retry={"minAttempts": 2}))
    driver = Driver(
        execution(plan(root)), lambda of, effect: (Launched(effect.attempt),) if isinstance(effect, Launch) else None
    )

    assert driver.run().phase is WorkflowPhase.FAILED
    assert driver.stopped == [("a", 0), ("a", 1)]
    assert driver.execution.failure is not None
    assert driver.execution.failure.code == "TimeoutExpired"


def test_a_failure_ends_the_workflow_while_nodes_wait_for_a_slot() -> None:
    spec = ExecutionSpec(execution_config=ExecutionConfig(max_parallelism=2))
    driver = Driver(execution(plan(graph(task("bad"), *(task(f"n{i}") for i in range(9)))), spec), failing("bad"))

    assert driver.run().phase is WorkflowPhase.FAILED
    assert len(driver.launched) < 10


def test_with_fail_after_executable_nodes_complete_nodes_that_wait_for_a_slot_run_after_a_failure() -> None:
    spec = ExecutionSpec(execution_config=ExecutionConfig(max_parallelism=2))
    root = graph(task("bad"), *(task(f"n{i}") for i in range(9)), onFailurePolicy=FAIL_AFTER)
    driver = Driver(execution(plan(root), spec), failing("bad"))

    assert driver.run().phase is WorkflowPhase.FAILED
    assert len(driver.launched) == 10


def _restarted(root: dict[str, Any], limit: int, *launched_before: str) -> Execution:
    """An execution that was loaded after a crash before its first status, with pods of the nodes `launched_before`."""
    spec = ExecutionSpec(execution_config=ExecutionConfig(max_parallelism=limit))
    of = execution(plan(root), spec)
    of.recover_attempts(dict.fromkeys(launched_before, ObservedAttempt(0)))
    return of


def test_after_a_restart_a_node_that_had_started_keeps_its_slot_until_it_is_reached() -> None:
    root = graph(task("new"), task("a"), task("b"), edges=[("a", "b")])
    driver = Driver(_restarted(root, 1, "a", "b"))

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert driver.launched == [("a", 0), ("b", 0), ("new", 0)]


def test_after_a_restart_no_slot_is_kept_for_a_node_that_cannot_be_reached() -> None:
    root = graph(task("a"), task("b"), edges=[("a", "b")])
    driver = Driver(_restarted(root, 1, "b"))  # and what a had left is gone

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert driver.launched == [("a", 0), ("b", 0)]


def test_an_attempt_that_is_over_keeps_its_slot_until_its_pod_is_asked_to_stop() -> None:
    spec = ExecutionSpec(execution_config=ExecutionConfig(max_parallelism=1))
    root = graph(task("a", executionDeadline="10s"), task("b"), onFailurePolicy=FAIL_AFTER)
    of = execution(plan(root), spec)
    begin(of, TRANSITIONS, 1000.0)
    assert decide(of, [(0, Launched(0))], 1000.0, TRANSITIONS).effects == []
    assert decide(of, [], 1010.0, TRANSITIONS).effects == [Expire(0, 0)]
    assert decide(of, [(0, Expired(0))], 1010.0, TRANSITIONS).effects == [StopAttempt(0, 0)]
    assert decide(of, [(0, Stopped(0))], 1011.0, TRANSITIONS).effects == [Launch(1, 0)]


def test_a_success_in_the_reconcile_of_a_failure_completes_a_dependency_and_starts_no_successor() -> None:
    """Regression: it did not count, and after a rebuild it did."""
    of = execution(plan(graph(task("a"), task("b"), task("c"), edges=[("b", "c")])))
    begin(of, TRANSITIONS, 1000.0)
    decide(of, [(1, Launched(0)), (1, AttemptObserved(0, AttemptPhase.SUCCEEDED))], 1001.0, TRANSITIONS)
    failed = AttemptObserved(0, AttemptPhase.FAILED, failure=Failure("Error", "it broke"))
    decided = decide(of, [(0, failed), (1, OutputsFound(0))], 1002.0, TRANSITIONS)
    assert (of.phases[1], of.phases[2], of.unmet[2]) == (NodePhase.SUCCEEDED, NodePhase.NOT_STARTED, 0)
    assert not decided.effects
