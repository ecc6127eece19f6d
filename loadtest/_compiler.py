"""Time and memory of compiling chains of nodes, and of parsing their resources into plans; how both grow."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from flyteidl.core import compiler_pb2, identifier_pb2, tasks_pb2, workflow_pb2
from google.protobuf import json_format

from loadtest._line import Line
from propeller.compiler import build_resource, compile_task, compile_workflow
from propeller.workflow import Plan, parse_plan

NODES = (10, 1_000, 10_000, 50_000)
INTEGER = {"type": {"simple": "INTEGER"}}


def measure() -> Iterator[Line]:
    took: dict[int, tuple[float, float]] = {}
    for nodes in NODES:
        compiled, closure = _timed(lambda nodes=nodes: _compile(nodes))  # type: ignore[misc]  # bound on purpose
        document = orjson.dumps(build_resource(closure, None, None, "ns"))
        parsed, _ = _timed(lambda document=document: parse_plan(document, ""))  # type: ignore[misc]  # bound on purpose
        took[nodes] = compiled, parsed
        yield Line(
            name=f"compile a chain of {nodes:,}", value=compiled, unit="s", budget={10: 0.005, 10_000: 5}.get(nodes)
        )
        yield Line(name=f"parse its resource of {nodes:,}", value=parsed, unit="s", budget={10_000: 0.5}.get(nodes))
    for name, which in (("compile", 0), ("parse", 1)):
        growth = (took[50_000][which] / 50_000) / (took[1_000][which] / 1_000)
        yield Line(name=f"{name}, time per node of 50,000 to that of 1,000", value=growth, unit="x", budget=2)
    yield Line(name="a plan of 50,000 nodes", value=_plan_bytes(document) / 1e6, unit="MB", budget=40)


def _compile(nodes: int) -> compiler_pb2.CompiledWorkflowClosure:
    return compile_workflow(_chain(nodes), [], [compile_task(_increment())], [])


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _plan_bytes(document: bytes) -> int:
    gc.collect()
    tracemalloc.start()
    plan: Plan = parse_plan(bytes(bytearray(document)), "")
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert plan.node_count
    return size


def _increment() -> tasks_pb2.TaskTemplate:
    template = {
        "id": {"resourceType": "TASK", "project": "p", "domain": "d", "name": "increment", "version": "v"},
        "type": "python-task",
        "interface": {"inputs": {"variables": {"x": INTEGER}}, "outputs": {"variables": {"o0": INTEGER}}},
        "container": {"image": "i", "args": ["run"]},
    }
    return json_format.ParseDict(template, tasks_pb2.TaskTemplate())


def _chain(nodes: int) -> workflow_pb2.WorkflowTemplate:
    """Each node adds one to the output of the node before."""
    template = workflow_pb2.WorkflowTemplate()
    template.id.CopyFrom(_increment().id)
    template.id.resource_type = identifier_pb2.WORKFLOW
    template.id.name = "chain"
    json_format.ParseDict({"variables": {"x": INTEGER}}, template.interface.inputs)
    json_format.ParseDict({"variables": {"o0": INTEGER}}, template.interface.outputs)
    task = _increment().id
    for number in range(nodes):
        node = template.nodes.add(id=f"n{number}")
        node.task_node.reference_id.CopyFrom(task)
        binding = node.inputs.add(var="x").binding.promise
        binding.node_id, binding.var = (f"n{number - 1}", "o0") if number else ("", "x")
    output = template.outputs.add(var="o0").binding.promise
    output.node_id, output.var = f"n{nodes - 1}", "o0"
    return template
