"""A map task of 100,000 items: whatever its items come to, its status stays within the budget and can be read again."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from propeller.status import decode_status, encode_status
from propeller.status._snapshot import rebuild, take
from propeller.storage import MemoryStore, Storage
from propeller.workflow import (
    BackingOff,
    Execution,
    Failure,
    Graph,
    ItemsGraph,
    Launching,
    NodePhase,
    NodeView,
    Refusals,
    Running,
    RunningSubtasks,
    WorkflowPhase,
)
from propeller.workflow._failures import MAX_CHARACTERS, WHOLE_CHARACTERS
from tests.unit.workflow.drive import execution, graph, plan, task

ITEMS = 100_000
BUDGET = 256 * 1024
CALL = {"id": "item", "kind": "workflow", "workflow": {"launchPlanRefId": {"name": "plan"}}}

Set = Callable[[Execution, int, random.Random], None]
"""Brings one item to where it is."""


def _end(of: Execution, node: int, phase: NodePhase) -> None:
    of.phases[node], of.started[node], of.ended[node] = phase, node * 0.37, node * 0.73


def alternating(of: Execution, node: int, rng: random.Random) -> None:
    """One succeeds, the next fails for a reason of its own, as long as a traceback is."""
    _end(of, node, NodePhase.FAILED if node % 2 else NodePhase.SUCCEEDED)
    if node % 2:
        of.failures.record(
            node, Failure("USER:ValueError", f"{node} " + rng.randbytes(1500).hex(), node=f"m-0-n{node}")
        )


def retried(of: Execution, node: int, rng: random.Random) -> None:
    """Each is at another attempt, and its failures were the system's and a queue's."""
    attempt = rng.randint(1, 200)
    of.phases[node], of.attempts[node] = NodePhase.RUNNING, attempt
    of.system_failures[node] = of.evictions[node] = attempt
    of.states[node] = Running(attempt, 1000.0 + rng.random(), started=True)


def waiting(of: Execution, node: int, rng: random.Random) -> None:
    """Each waits for a reason of its own, as long as a reason may be."""
    of.phases[node] = NodePhase.RUNNING
    reason = rng.randbytes(600).hex()
    wait = Refusals(3, 1000.0, 0.0, reason)
    of.states[node] = BackingOff(0, 1030.5, 1000.0, reason, wait) if node % 2 else Launching(0, 1000.0, wait)


def at_random(of: Execution, node: int, rng: random.Random) -> None:
    """Nothing that compresses."""
    rng.choice((alternating, retried))(of, node, rng)
    of.started[node], of.ended[node] = rng.random() * 1e5, rng.random() * 1e5


def mapped(bring: Set, item: dict[str, Any] = task("item")) -> Execution:  # noqa: B008 - never changed
    made = {"id": "m", "kind": "array", "array": {"SubNodeSpec": item, "MinSuccesses": 0}}
    of = execution(plan(graph(made)))
    of.phase = WorkflowPhase.RUNNING
    root = of.open_frame(of.plan.root)
    node = of.view(root.base)
    of.phases[node.number], root.active = NodePhase.RUNNING, 1
    frame = of.open_frame(ItemsGraph(of.plan, node.spec, ITEMS), parent=node.number, items=True)
    rng = random.Random(1)
    for number in range(frame.base, frame.base + ITEMS - 1):  # the last one has not begun
        bring(of, number, rng)
    phases = of.phases[frame.base :]
    succeeded, failed = phases.count(NodePhase.SUCCEEDED), phases.count(NodePhase.FAILED)
    of.states[node.number] = RunningSubtasks(frame.number, ITEMS, ITEMS - 1, succeeded, failed)
    return of


async def none_inside(node: NodeView, attempt: int) -> Graph:
    raise AssertionError(f"{node.log_name} is no dynamic task")


@pytest.mark.parametrize("item", [task("item"), CALL], ids=["task", "launch plan"])
@pytest.mark.parametrize("bring", [alternating, retried, waiting, at_random])
async def test_its_status_is_within_the_budget_and_decides_as_before(bring: Set, item: dict[str, Any]) -> None:
    of = mapped(bring, item)
    storage = Storage(stores={"memory": MemoryStore({})})

    status = await encode_status(of, 2000.0, BUDGET, storage)
    assert len(msgspec.json.encode(status)) <= BUDGET + 32 * 1024  # of the head, for people

    snapshot = await decode_status(status, storage, of.info.directory)
    assert snapshot is not None
    again = await rebuild(of.info, of.plan, snapshot, none_inside)
    assert (again.phases, again.attempts, again.states.keys()) == (of.phases, of.attempts, of.states.keys())
    assert (again.system_failures, again.evictions) == (take(of).system_failures, take(of).evictions)
    assert again.states[0] == of.states[0]


async def test_statuses_of_items_that_only_ended_are_in_the_resource_itself() -> None:
    """Which needs no object store: their phases compress."""

    def end(of: Execution, node: int, rng: random.Random) -> None:
        of.phases[node] = NodePhase.FAILED if node % 2 else NodePhase.SUCCEEDED

    status = await encode_status(mapped(end), 2000.0, BUDGET, Storage(stores={}))
    assert len(base64.b64decode(status["nodes"])) < 4096


def test_the_first_failures_are_kept_whole_and_all_of_them_within_a_bound() -> None:
    of = mapped(alternating)

    kept = [failure for _, failure in sorted(of.failures.items())]
    assert len(kept[0].message) > 3000
    assert len(kept[-1].message) <= 256
    assert WHOLE_CHARACTERS < sum(len(failure.message) for failure in kept) < MAX_CHARACTERS
    assert len(kept) < of.phases.count(NodePhase.FAILED) == (ITEMS - 1) // 2
