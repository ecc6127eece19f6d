"""Items of a large map task that wait to be launched: few at a time, in order, and none is lost by a restart."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest

from propeller.errors import ErrorKind
from propeller.handlers import TRANSITIONS
from propeller.status._snapshot import rebuild, take
from propeller.workflow import (
    AttemptObserved,
    AttemptPhase,
    BackingOff,
    Decision,
    Effect,
    Execution,
    ExecutionSpec,
    Failure,
    Graph,
    InputsWritten,
    Launch,
    Launched,
    NodeEvent,
    NodeView,
    Placements,
    Refusals,
    Refused,
    WorkflowPhase,
    WriteInputs,
    begin,
    decide,
    resume,
)
from propeller.workflow._item_window import MAX_WAITING_ITEMS
from propeller.workflow._spec import ExecutionConfig
from tests.unit.workflow.drive import Driver, execution, graph, plan, task
from tests.unit.workflow.test_map_tasks import array, of_size

SIZE = 2 * MAX_WAITING_ITEMS + 500
WAITS = Refusals(0, 1000.0, 0.0, "waits for 1 of pool p")
"""Of an attempt that waits for tokens."""


async def no_graph(node: NodeView, attempt: int) -> Graph:
    raise AssertionError("it has no dynamic task")


@dataclasses.dataclass
class Map:
    """A map task whose launches are not answered unless a test says so."""

    execution: Execution
    launches: list[Launch]

    def events(self, *events: tuple[int, NodeEvent]) -> int:
        """Handle events; returns how many items are launched because of them."""
        return len(self.take(decide(self.execution, events, 1001.0, TRANSITIONS)))

    def take(self, decision: Decision) -> list[Launch]:
        found = [one for one in decision.effects if isinstance(one, Launch)]
        while decision.more:
            decision = decide(self.execution, (), 1001.0, TRANSITIONS)
            found += [one for one in decision.effects if isinstance(one, Launch)]
        self.launches += found
        return found


def started(spec: ExecutionSpec = ExecutionSpec(), *, several: bool = False) -> Map:  # noqa: B008 - frozen
    of = execution(plan(graph(array())), spec)
    if several:
        of.placements = Placements("one")
    begin(of, TRANSITIONS, 1000.0)
    (node,) = of.states
    map_task = Map(of, [])
    map_task.events((node, InputsWritten(SIZE)))
    return map_task


def test_no_more_items_start_than_may_wait() -> None:
    map_task = started()
    assert len(map_task.launches) == MAX_WAITING_ITEMS
    assert len(map_task.execution.states) == MAX_WAITING_ITEMS + 1
    assert not map_task.execution.todo


def test_an_item_that_is_launched_lets_the_next_one_start() -> None:
    map_task = started()
    first = map_task.launches[:3]
    assert map_task.events(*((one.node, Launched(0)) for one in first)) == 3
    base = first[0].node
    assert [one.node for one in map_task.launches] == list(range(base, base + MAX_WAITING_ITEMS + 3))


def test_an_item_that_is_refused_and_waits_lets_none_start() -> None:
    map_task = started()
    node = map_task.launches[0].node
    assert map_task.events((node, Refused(0, WAITS.reason, 60.0, WAITS))) == 0


def test_an_item_that_pauses_after_a_failure_does_not_hold_back_others() -> None:
    map_task = started()
    node, other = map_task.launches[0].node, map_task.launches[1].node
    failure = Failure("Evicted", "by the node", ErrorKind.SYSTEM, recoverable=True)
    failed = AttemptObserved(0, AttemptPhase.FAILED, failure=failure)
    assert map_task.events((node, Launched(0))) == 1
    assert map_task.events((node, failed)) == 0
    assert type(map_task.execution.states[node]) is BackingOff
    assert map_task.events((other, Launched(0))) == 1


async def test_after_a_restart_the_items_that_were_held_back_start_in_turn() -> None:
    before = started()
    first = [one.node for one in before.launches[:10]]
    before.events(*((node, Launched(0)) for node in first))

    info = before.execution.info
    of = await rebuild(info, before.execution.plan, take(before.execution), no_graph)
    after = Map(of, [])
    after.take(resume(of, TRANSITIONS, 1003.0))
    again = [one.node for one in after.launches]
    assert again == list(range(first[-1] + 1, first[-1] + 1 + MAX_WAITING_ITEMS))
    assert after.events((again[0], Launched(0))) == 1


@pytest.mark.parametrize("limit", [0, 7])
def test_every_item_runs_once_and_in_order(limit: int) -> None:
    spec = ExecutionSpec(execution_config=ExecutionConfig(max_parallelism=limit))
    driver = Driver(execution(plan(graph(array(), task("beside"))), spec), of_size(SIZE))
    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    items = [name for name, _ in driver.launched if name != "beside"]
    assert items == [f"n0-0-n{number}" for number in range(SIZE)]
    assert driver.at_once <= (limit or MAX_WAITING_ITEMS + 1)


def test_items_of_several_clusters_do_not_hold_each_other_back() -> None:
    assert len(started(several=True).launches) == SIZE


def test_an_execution_that_ends_starts_no_items() -> None:
    def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if isinstance(effect, WriteInputs):
            return (InputsWritten(SIZE),)
        if isinstance(effect, Launch):
            failure = Failure("Broken", "it broke")
            return (AttemptObserved(effect.attempt, AttemptPhase.FAILED, failure=failure),)
        return None

    driver = Driver(execution(plan(graph(array()))), answer)
    assert driver.run().phase is WorkflowPhase.FAILED
    assert len(driver.launched) <= MAX_WAITING_ITEMS
    assert not driver.execution.filling
