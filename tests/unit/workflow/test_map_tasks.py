"""Map tasks: how many items run at once, how many have to succeed, and flytekit's older form of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from propeller.errors import Invalid
from propeller.workflow import (
    AttemptObserved,
    AttemptPhase,
    Effect,
    Execution,
    ExecutionSpec,
    Failure,
    InputsWritten,
    Launch,
    NodeEvent,
    NodeKind,
    Plan,
    WorkflowPhase,
    WriteInputs,
    parse_plan,
)
from propeller.workflow._spec import ExecutionConfig
from tests.unit.workflow.drive import TASK, Driver, execution, graph, plan, task

LIMITED = ExecutionSpec(execution_config=ExecutionConfig(max_parallelism=3))


def array(node_id: str = "n0", **fields: Any) -> dict[str, Any]:
    return {"id": node_id, "kind": "array", "array": {"SubNodeSpec": task("item"), **fields}}


def of_size(size: int, *bad: str) -> Any:
    """Map tasks have so many items, and those of these ids fail."""

    def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if isinstance(effect, WriteInputs):
            return (InputsWritten(size),)
        if isinstance(effect, Launch) and of.unique_id(effect.node) in bad:
            failure = Failure("Broken", f"item {of.unique_id(effect.node)} is broken")
            return (AttemptObserved(effect.attempt, AttemptPhase.FAILED, failure=failure),)
        return None

    return answer


@pytest.mark.parametrize(("own", "at_once"), [({}, 3), ({"Parallelism": 0}, 10), ({"Parallelism": 5}, 5)])
def test_a_map_with_a_parallelism_of_its_own_is_not_held_back_by_the_workflows(
    own: dict[str, Any], at_once: int
) -> None:
    """FlytePropeller's inferParallelism: without its own, the workflow's counts; 0 is no limit."""
    driver = Driver(execution(plan(graph(array(**own))), LIMITED), of_size(10))

    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert driver.at_once == at_once
    assert driver.execution.slots.used == 0


def test_tasks_beside_such_a_map_have_the_workflows_slots_to_themselves() -> None:
    tasks = [task(f"t{number}") for number in range(6)]
    driver = Driver(execution(plan(graph(array(Parallelism=4), *tasks)), LIMITED), of_size(8))

    driver.run()
    assert driver.at_once == 3 + 4
    assert len(driver.launched) == 14


def test_the_failure_of_a_map_says_how_many_items_failed_if_not_all_had_to_succeed() -> None:
    bad = [f"n0-0-n{number}" for number in (1, 3, 4)]
    driver = Driver(execution(plan(graph(array(MinSuccesses=3)))), of_size(5, *bad))

    failure = driver.run().failure
    assert failure is not None
    assert failure.message == "3 of 5 items failed (1, 3-4), and 3 have to succeed; item 1: item n0-0-n1 is broken"
    assert (failure.code, failure.node) == ("Broken", "n0-0-n1")


def test_the_failure_of_a_map_names_its_item_by_number() -> None:
    driver = Driver(execution(plan(graph(array(Parallelism=1)))), of_size(5, "n0-0-n3"))

    failure = driver.run().failure
    assert failure is not None
    assert failure.message == "item 3 of 5 failed: item n0-0-n3 is broken"


def test_the_failure_of_a_map_names_all_items_that_failed_before_it_ended() -> None:
    bad = [f"n0-0-n{number}" for number in (0, 1, 2, 6)]
    of = execution(plan(graph(array(Parallelism=1, MinSuccesses=8, RunAllSubNodes=True))))

    failure = Driver(of, of_size(8, *bad)).run().failure
    assert failure is not None
    assert failure.message == "4 of 8 items failed (0-2, 6); item 0: item n0-0-n0 is broken"


def test_the_numbers_of_failed_items_in_a_message_are_limited() -> None:
    bad = [f"n0-0-n{number}" for number in range(0, 100, 2)]
    of = execution(plan(graph(array(MinSuccesses=100, RunAllSubNodes=True))))

    failure = Driver(of, of_size(100, *bad)).run().failure
    assert failure is not None
    assert failure.message.startswith("50 of 100 items failed (0, 2, 4, ")
    assert ", 38, ...); item 0: " in failure.message


def test_the_number_of_successes_wins_over_their_ratio() -> None:
    driver = Driver(execution(plan(graph(array(MinSuccesses=1, MinSuccessRatio=1.0)))), of_size(3, "n0-0-n0"))

    assert driver.run().phase is WorkflowPhase.SUCCEEDED


@pytest.mark.parametrize(("run_all", "launched"), [(False, 2), (True, 6)])
def test_every_item_runs_after_too_many_have_failed_if_the_map_says_so(run_all: bool, launched: int) -> None:
    of = execution(plan(graph(array(Parallelism=1, MinSuccesses=5, RunAllSubNodes=run_all))))
    driver = Driver(of, of_size(6, "n0-0-n0", "n0-0-n1"))

    assert driver.run().phase is WorkflowPhase.FAILED
    assert len(driver.launched) == launched


def older(version: int = 1, custom: dict[str, Any] | None = None, **fields: Any) -> Plan:
    """A workflow of one task of type container_array, as flytekit's legacy_map_task writes it."""
    of = {**TASK, "type": "container_array", "taskTypeVersion": version, "custom": custom or {}}
    return parse_plan(json.dumps({"spec": graph(task("n0", **fields)), "tasks": {"t": of}}).encode(), "digest")


def test_a_task_of_type_container_array_is_an_array_node() -> None:
    node = older(custom={"parallelism": "2", "minSuccessRatio": 0.5}, retry={"minAttempts": 3}).root.nodes[0]

    assert node.kind is NodeKind.ARRAY
    assert node.array is not None
    assert (node.array.parallelism, node.array.min_success_ratio, node.array.needed(5)) == (2, 0.5, 3)
    assert (node.array.sub_node_spec.kind, node.array.sub_node_spec.task) == (NodeKind.TASK, "t")
    assert node.array.sub_node_spec.retry is not None
    assert node.array.sub_node_spec.retry.min_attempts == 3


def test_all_its_items_run_and_each_attempt_has_outputs_of_its_own() -> None:
    """FlytePropeller gives the attempts of an item one directory, in which the second finds the first one's error."""
    driver = Driver(execution(older()), of_size(4))
    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    assert sorted(driver.launched) == sorted((f"n0-0-n{number}", 0) for number in range(4))

    item = driver.execution.frames[1].base + 3
    assert driver.execution.output_directory(item, 1) == "memory://m/e/n0/data/0/3/1/3"


def test_its_timeout_is_that_of_the_whole_map() -> None:
    node = older(executionDeadline="60s", activeDeadline="120s").root.nodes[0]

    assert node.array is not None
    assert (node.execution_deadline, node.array.sub_node_spec.execution_deadline) == ("60s", "")


@pytest.mark.parametrize(
    ("version", "custom", "message"),
    [
        (0, {}, r"tasks\[t\]\.taskTypeVersion is 0: map tasks of flytekit before 0\.16"),
        (1, {"parallelism": "many"}, r"tasks\[t\]\.custom is no flyteidl\.plugins\.ArrayJob"),
        (1, {"minSuccessRatio": 2.0}, r"array\.MinSuccessRatio is 2\.0, and can be 0 to 1"),
        (1, {"parallelism": "-1"}, r"array\.Parallelism is -1, and can be 0 or more"),
    ],
)
def test_one_that_cannot_be_run_is_refused_by_the_field(version: int, custom: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        older(version, custom)


def test_a_task_that_only_mentions_the_type_stays_a_task() -> None:
    of = {**TASK, "config": {"note": "container_array"}}
    found = parse_plan(json.dumps({"spec": graph(task("n0")), "tasks": {"t": of}}).encode(), "digest")

    assert found.root.nodes[0].kind is NodeKind.TASK
