"""A dynamic task of 50,000 nodes: whatever they come to, its status stays within the budget and can be read again."""

from __future__ import annotations

import random
from functools import cache

import msgspec
import pytest

from propeller.status import decode_status, encode_status
from propeller.status._snapshot import rebuild
from propeller.storage import MemoryStore, Storage
from propeller.workflow import Execution, Graph, NodePhase, NodeView, Plan, RunningSubgraph, WorkflowPhase
from tests.unit.status.test_large_maps import BUDGET, Set, alternating, at_random, retried, waiting
from tests.unit.workflow.drive import execution, graph, plan, task

NODES = 50_000


@cache
def made() -> Plan:
    """What the task has left: nodes in chains of ten."""
    nodes = [task(f"dn{number}") for number in range(NODES)]
    return plan(graph(*nodes, edges=[(f"dn{n}", f"dn{n + 1}") for n in range(NODES - 1) if n % 10 != 9]))


async def graph_of(node: NodeView, attempt: int) -> Graph:
    """The graph, as it is read again from the task's futures.pb."""
    return made().root


def opened(bring: Set) -> Execution:
    of = execution(plan(graph(task("d"))))
    of.phase = WorkflowPhase.RUNNING
    root = of.open_frame(of.plan.root)
    of.phases[root.base], root.active = NodePhase.RUNNING, 1
    frame = of.open_frame(made().root, parent=root.base)
    of.states[root.base] = RunningSubgraph(frame.number, 0)
    rng = random.Random(1)
    for number in range(frame.base, frame.base + NODES):
        bring(of, number, rng)
    return of


def succeeded(of: Execution, node: int, rng: random.Random) -> None:
    of.phases[node] = NodePhase.SUCCEEDED
    of.started[node], of.ended[node] = node * 0.01, node * 0.01 + rng.random()


@pytest.mark.parametrize("bring", [succeeded, alternating, retried, waiting, at_random])
async def test_its_status_is_within_the_budget_and_goes_on_as_before(bring: Set) -> None:
    of, storage = opened(bring), Storage(stores={"memory": MemoryStore({})})
    status = await encode_status(of, 2000.0, BUDGET, storage)
    assert len(msgspec.json.encode(status)) <= BUDGET + 32 * 1024  # of the head, for people
    snapshot = await decode_status(status, storage, of.info.directory)
    assert snapshot is not None
    again = await rebuild(of.info, of.plan, snapshot, graph_of)
    assert (again.phases, again.attempts, again.states.keys()) == (of.phases, of.attempts, of.states.keys())
