"""What a dynamic task leaves may be any graph: one that cannot run is the task's failure, and says why."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flyteidl.core import dynamic_job_pb2, workflow_pb2

from propeller.errors import ErrorKind
from propeller.handlers.executors._outcome import collect
from propeller.workflow import EffectFailed, FuturesFound
from tests.unit.compiler import shapes
from tests.unit.handlers.build import World, graph, task, template

FUTURES = "memory://m/e/n0/data/0/futures.pb"


def job(nodes: int, provider: Callable[[int], str]) -> dynamic_job_pb2.DynamicJobSpec:
    """Nodes d0, d1, ... of which each has the output of another one as its input; "" for a constant."""
    made = dynamic_job_pb2.DynamicJobSpec(tasks=[shapes.template()])
    for number in range(nodes):
        node = made.nodes.add(id=f"d{number}")
        node.task_node.reference_id.CopyFrom(shapes.task_id("add"))
        for name in ("a", "b"):
            if other := provider(number):
                shapes.bind(node, name, other)
            else:
                node.inputs.add(var=name).binding.scalar.primitive.integer = number
    return made


def with_node(node: workflow_pb2.Node) -> dynamic_job_pb2.DynamicJobSpec:
    made = job(2, lambda number: "")
    made.nodes.append(node)
    return made


HOSTILE = {
    "a cycle": (job(3, lambda number: f"d{(number + 1) % 3}"), (), "the start leads to none of d0, d1, d2"),
    "an unknown node": (job(2, lambda number: "nowhere"), (), "there is no node 'nowhere' to bind to"),
    "no outputs": (job(2, lambda number: ""), ("o0",), "input 'o0' of type integer is not bound"),
    "no nodes": (job(0, lambda number: ""), (), "the workflow has no nodes"),
    "a node that runs nothing": (with_node(workflow_pb2.Node(id="x")), (), "it has no target"),
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_graph_that_cannot_run_is_the_tasks_failure_and_is_not_retried(kind: str) -> None:
    made, outputs, message = HOSTILE[kind]
    of = World(graph(task("n0")), {"t": template(outputs=outputs)})
    of.blobs[FUTURES] = made.SerializeToString()
    found = await collect(of.node("n0"), 0, of.storage, of.launch_plans)
    assert isinstance(found, EffectFailed)
    assert (found.failure.code, found.failure.kind) == ("DynamicWorkflowBuildFailed", ErrorKind.USER)
    assert not found.failure.recoverable
    assert message in found.failure.message


async def test_a_graph_of_thousands_of_nodes_is_read() -> None:
    of = World(graph(task("n0")))
    of.blobs[FUTURES] = job(5_000, lambda number: f"d{number - 1}" if number else "").SerializeToString()
    found = await collect(of.node("n0"), 0, of.storage, of.launch_plans)
    assert isinstance(found, FuturesFound)
    assert len(found.graph.nodes) == 5_001
