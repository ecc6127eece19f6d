"""Graphs inside graphs multiply: what one execution may grow to is limited, and small graphs among many stay cheap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from propeller.errors import ErrorKind
from propeller.workflow import Effect, Execution, InputsWritten, NodeEvent, WorkflowPhase, WriteInputs, _growth
from tests.unit.growth import grows_beyond
from tests.unit.workflow.drive import Driver, execution, graph, plan, task


def inner(node_id: str, name: str) -> dict[str, Any]:
    return {"id": node_id, "kind": "workflow", "workflow": {"subWorkflowRef": name}}


def doubling(levels: int) -> Driver:
    """Sub-workflows that run the next one twice: 2^levels of the last one."""
    subs = {f"w{level}": graph(inner("x", f"w{level + 1}"), inner("y", f"w{level + 1}")) for level in range(levels)}
    return Driver(execution(plan(graph(inner("n0", "w0")), **subs, **{f"w{levels}": graph(task("t"))})))


def failed_by_its_size(driver: Driver) -> str:
    assert driver.run().phase is WorkflowPhase.FAILED
    failure = driver.execution.failure
    assert failure is not None
    assert (failure.code, failure.kind) == ("TooManyNodes", ErrorKind.USER)
    return failure.message


def test_sub_workflows_that_multiply_fail_the_execution_and_not_the_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_growth, "MAX_GRAPHS", 100)
    driver = doubling(40)  # 10^12 graphs in a resource of 10 KB
    assert "the execution has 100 sub-workflows, dynamic workflows and map tasks" in failed_by_its_size(driver)
    assert len(driver.execution.frames) == 100
    assert doubling(5).run().phase is WorkflowPhase.SUCCEEDED


def test_map_tasks_that_multiply_fail_before_their_items_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_growth, "MAX_NODES", 1000)

    def items(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        return (InputsWritten(400),) if isinstance(effect, WriteInputs) else None

    maps = [{"id": f"n{number}", "kind": "array", "array": {"SubNodeSpec": task("sub")}} for number in range(3)]
    driver = Driver(execution(plan(graph(*maps))), items)
    assert "the execution has 1204 nodes with those of n2, and may have 1000" in failed_by_its_size(driver)
    assert len(driver.execution.phases) == 804


def test_the_failure_of_many_small_graphs_costs_each_of_them_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_with(graphs: int) -> None:
        monkeypatch.setattr(_growth, "MAX_GRAPHS", graphs)
        failed_by_its_size(doubling(40))

    assert not grows_beyond(8, lambda: fails_with(1000), lambda: fails_with(4000))
