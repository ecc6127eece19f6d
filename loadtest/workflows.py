"""Workflows of a given shape, as resources: tasks without inputs and outputs, whose pods somebody else ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flyteidl.core import identifier_pb2, tasks_pb2, workflow_pb2
from google.protobuf import json_format

from propeller.compiler import build_resource, compile_task, compile_workflow
from propeller.kube import FLYTE_WORKFLOWS

NAMESPACE = "load"


def chain(tasks: int) -> workflow_pb2.WorkflowTemplate:
    """Each task waits for the one before."""
    return _workflow(f"chain-{tasks}", [[f"n{number - 1}"] if number else [] for number in range(tasks)])


def parallel(tasks: int) -> workflow_pb2.WorkflowTemplate:
    """No task waits for another."""
    return _workflow(f"parallel-{tasks}", [[] for _ in range(tasks)])


def resources(template: workflow_pb2.WorkflowTemplate, count: int, prefix: str) -> list[dict[str, Any]]:
    """`count` executions, named by `prefix` and their number."""
    closure = compile_workflow(template, [], [compile_task(_task())], [])
    found = []
    for number in range(count):
        name = f"{prefix}{number}"
        identity = identifier_pb2.WorkflowExecutionIdentifier(project="load", domain="test", name=name)
        resource: dict[str, Any] = build_resource(closure, None, identity, NAMESPACE)
        found.append(resource | {"kind": FLYTE_WORKFLOWS.kind})
    return found


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
