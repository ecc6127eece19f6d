"""Workflows of a given shape, as resources. A simulator ends their pods.

Tasks have no inputs and outputs, but for those of `counting`: there each gives the sum of its inputs and one more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from flyteidl.core import compiler_pb2, identifier_pb2, literals_pb2, tasks_pb2, types_pb2, workflow_pb2
from google.protobuf import json_format

from propeller.compiler import build_resource, compile_task, compile_workflow
from propeller.controller import FLYTE_WORKFLOWS

NAMESPACE = "load"
PROJECT = "load"
ITEM = "i0"
OUTPUT = "o0"
_INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)


def chain(tasks: int) -> workflow_pb2.WorkflowTemplate:
    """Each task waits for the one before."""
    return _workflow(f"chain-{tasks}", [[f"n{number - 1}"] if number else [] for number in range(tasks)])


def parallel(tasks: int) -> workflow_pb2.WorkflowTemplate:
    """No task waits for another."""
    return _workflow(f"parallel-{tasks}", [[] for _ in range(tasks)])


def mapped(items: int) -> workflow_pb2.WorkflowTemplate:
    """A map task over so many integers."""
    template = _workflow(f"mapped-{items}", [])
    node = template.nodes.add(id="n0")
    node.array_node.node.id = "item"
    node.array_node.node.task_node.reference_id.CopyFrom(_item_task().id)
    binding = node.inputs.add(var=ITEM).binding
    for number in range(items):
        binding.collection.bindings.add().scalar.primitive.integer = number
    return template


def mapping(concurrency: int = 0) -> workflow_pb2.WorkflowTemplate:
    """A map task over the list that is the workflow's input. `concurrency`: items at once, as flytekit's; 0: all."""
    template = mapped(0)
    template.id.name = "mapping"
    template.interface.inputs.variables[ITEM].type.collection_type.CopyFrom(_INTEGER)
    promise = types_pb2.OutputReference(node_id="start-node", var=ITEM)
    template.nodes[0].inputs[0].binding.promise.CopyFrom(promise)
    template.nodes[0].array_node.parallelism = concurrency
    return template


def mapping_executions(count: int, prefix: str, size: int) -> dict[str, Any]:
    """An execution that starts `count` others: it maps a launch plan, whose closure has about `size` bytes and whose
    workflow is one task, over so many integers.
    """
    (resource,) = resources(mapped(count), 1, prefix)
    identity = {"project": PROJECT, "domain": "test", "name": "plan", "version": "v"}
    (array,) = (node["array"] for node in resource["spec"]["nodes"].values() if "array" in node)
    array["SubNodeSpec"] = {"id": "item", "kind": "workflow", "workflow": {"launchPlanRefId": identity}}
    inputs = {"parameters": {ITEM: {"var": {"type": {"simple": "INTEGER"}}, "required": True}}}
    workflow = {**identity, "name": "started"}
    plan = {"id": identity, "spec": {"workflowId": workflow}, "closure": {"expectedInputs": inputs}}
    (started,) = padded(resources(parallel(1), 1, "unused"), size)
    document = {"launchPlan": plan, "spec": started["spec"], "tasks": started["tasks"]}
    return resource | {"launchPlans": {f"{PROJECT}/test/plan/v": document}}


def padded(given: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """Have closures of about `size` bytes, by more tasks than run."""
    for resource in given:
        ((key, task),) = resource["tasks"].items()
        more = range(size // len(orjson.dumps(task)))
        resource["tasks"] |= {f"{key}-{number}": task for number in more}
    return given


def numbers(count: int) -> literals_pb2.LiteralMap:
    """Inputs of `mapping`: so many integers."""
    found = literals_pb2.LiteralMap()
    literals = found.literals[ITEM].collection.literals
    for number in range(count):
        literals.add().scalar.primitive.integer = number
    return found


def counting(parallel: int, chain: int) -> workflow_pb2.WorkflowTemplate:
    """`parallel` tasks, and behind all of them `chain` tasks in a row, each of which takes the results of those before.

    So the workflow's output is the number of its tasks, if no result is lost.
    """
    template = _workflow(f"counting-{parallel}-{chain}", [[] for _ in range(parallel + chain)])
    for number in range(parallel, parallel + chain):
        before = range(parallel) if number == parallel else [number - 1]
        node = template.nodes[number]
        for position, upstream in enumerate(before):
            node.upstream_node_ids.append(f"n{upstream}")
            node.inputs.append(_promise(f"i{position}", upstream))
    for node in template.nodes:
        node.task_node.reference_id.name = _counting_task(len(node.inputs)).id.name
    template.interface.outputs.variables[OUTPUT].type.CopyFrom(_INTEGER)
    template.outputs.append(_promise(OUTPUT, parallel + chain - 1))
    return template


def resources(
    template: workflow_pb2.WorkflowTemplate,
    count: int,
    prefix: str,
    *,
    project: str = PROJECT,
    namespace: str = NAMESPACE,
    inputs: literals_pb2.LiteralMap | None = None,
) -> list[dict[str, Any]]:
    """`count` executions, named by `prefix` and their number."""
    closure = closure_of(template)
    found = []
    for number in range(count):
        name = f"{prefix}{number}"
        identity = identifier_pb2.WorkflowExecutionIdentifier(project=project, domain="test", name=name)
        resource: dict[str, Any] = build_resource(closure, inputs, identity, namespace)
        found.append(resource | {"kind": FLYTE_WORKFLOWS.kind})
    return found


def offload(template: workflow_pb2.WorkflowTemplate, directory: Path, name: str) -> str:
    """Write the closure where the controller may read it, as FlyteAdmin does; returns its URI. `directory` is that of
    the measurement.
    """
    path = directory / "metadata" / f"{name}.pb"  # below the controller's --metadata-prefix
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(closure_of(template).SerializeToString())
    return f"file://{path}"


def offload_inputs(count: int, directory: Path) -> str:
    """Write `numbers(count)` where the controller may read them, and return their URI."""
    path = directory / "metadata" / f"inputs-{count}.pb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(numbers(count).SerializeToString())
    return f"file://{path}"


def closure_of(template: workflow_pb2.WorkflowTemplate) -> compiler_pb2.CompiledWorkflowClosure:
    """The workflow, compiled."""
    return compile_workflow(template, [], [compile_task(task) for task in _tasks(template)], [])


def _tasks(template: workflow_pb2.WorkflowTemplate) -> list[tasks_pb2.TaskTemplate]:
    if any(node.HasField("array_node") for node in template.nodes):
        return [_item_task()]
    if not template.outputs:
        return [_task()]
    return [_counting_task(count) for count in sorted({len(node.inputs) for node in template.nodes})]


def _workflow(name: str, upstream: Sequence[Sequence[str]]) -> workflow_pb2.WorkflowTemplate:
    template = workflow_pb2.WorkflowTemplate()
    template.id.CopyFrom(_task().id)
    template.id.resource_type = identifier_pb2.WORKFLOW
    template.id.name = name
    for number, before in enumerate(upstream):
        node = template.nodes.add(id=f"n{number}", upstream_node_ids=before)
        node.task_node.reference_id.CopyFrom(_task().id)
    return template


def _task() -> tasks_pb2.TaskTemplate:
    template = {
        "id": {"resourceType": "TASK", "project": "load", "domain": "test", "name": "nothing", "version": "v"},
        "type": "python-task",
        "interface": {},
        "container": {"image": "registry.example/nothing:v1", "args": ["pyflyte-execute", "{{.input}}"]},
    }
    return json_format.ParseDict(template, tasks_pb2.TaskTemplate())


def _item_task() -> tasks_pb2.TaskTemplate:
    """Of a map task: takes an integer. Its interface is that of the map, as flytekit writes it."""
    task = _task()
    task.id.name = "item"
    task.interface.inputs.variables[ITEM].type.collection_type.CopyFrom(_INTEGER)
    return task


def _counting_task(inputs: int) -> tasks_pb2.TaskTemplate:
    """Takes so many integers, i0 and on."""
    task = _task()
    task.id.name = f"count-{inputs}"
    for number in range(inputs):
        task.interface.inputs.variables[f"i{number}"].type.CopyFrom(_INTEGER)
    task.interface.outputs.variables[OUTPUT].type.CopyFrom(_INTEGER)
    task.container.args[:] = ["count", "{{.input}}", "{{.outputPrefix}}"]
    return task


def _promise(name: str, node: int) -> literals_pb2.Binding:
    promise = types_pb2.OutputReference(node_id=f"n{node}", var=OUTPUT)
    return literals_pb2.Binding(var=name, binding=literals_pb2.BindingData(promise=promise))
