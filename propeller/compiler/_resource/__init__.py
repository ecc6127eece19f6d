"""The FlyteWorkflow resource of a compiled workflow, for the API server.

Guarantees
    Equal to Flyte v1.16.8's as JSON (flytepropeller/pkg/compiler/transformers/k8s). The closure is not changed.
Errors
    Raises CompileErrors: inputs that do not fit, ids that collide, values that Kubernetes does not take.
"""

from __future__ import annotations

from typing import Any

from flyteidl.core import compiler_pb2, identifier_pb2, literals_pb2, tasks_pb2

from propeller.compiler._errors import ErrorCode, Errors
from propeller.compiler._ids import START_NODE, identifier_text
from propeller.compiler._json import Unrepresentable, to_json, to_stripped_json
from propeller.compiler._resource._inputs import validate_inputs
from propeller.compiler._resource._metadata import build_metadata
from propeller.compiler._resource._workflows import build_workflow

_NO_RESOURCES = dict.fromkeys(("CPU", "Memory", "EphemeralStorage", "Storage", "GPU"), "0")


def build_resource(
    closure: compiler_pb2.CompiledWorkflowClosure,
    inputs: literals_pb2.LiteralMap | None,
    execution_id: identifier_pb2.WorkflowExecutionIdentifier | None,
    namespace: str,
) -> dict[str, Any]:
    """The resource as a JSON object.

    Without an execution and inputs it is the static part that all executions share (`spec`, `tasks`, `subWorkflows`),
    under a generated name; an execution must have all inputs.
    """
    errors = Errors()
    template = closure.primary.template
    if inputs is not None:
        validate_inputs(template, inputs, errors)
    elif execution_id is not None and template.interface.inputs.variables:
        errors.add(ErrorCode.VALUE_REQUIRED, "root", f"the workflow has inputs: {_names(closure)}")
    errors.raise_if_any()
    try:
        return _build(closure, inputs, execution_id, namespace, errors)
    except Unrepresentable as error:
        errors.add(ErrorCode.WORKFLOW_BUILD_ERROR, "", f"the workflow has no JSON form: {error}")
        raise errors.exception() from error


def _build(
    closure: compiler_pb2.CompiledWorkflowClosure,
    inputs: literals_pb2.LiteralMap | None,
    execution_id: identifier_pb2.WorkflowExecutionIdentifier | None,
    namespace: str,
    errors: Errors,
) -> dict[str, Any]:
    template = closure.primary.template
    tasks: dict[str, tasks_pb2.TaskTemplate] = {}
    for task in closure.tasks:
        key = identifier_text(task.template.id if task.template.HasField("id") else None)
        if key in tasks:
            errors.add(ErrorCode.VALUE_COLLISION, key, "two tasks have this id")
        tasks.setdefault(key, task.template)
    spec = build_workflow(closure.primary, tasks, errors)
    sub_workflows: dict[str, Any] = {}
    if not errors.count:
        for sub_workflow in closure.sub_workflows:
            identifier = sub_workflow.template.id if sub_workflow.template.HasField("id") else None
            sub_workflows[identifier_text(identifier)] = build_workflow(sub_workflow, tasks, errors)
    if errors.count:
        errors.add(ErrorCode.WORKFLOW_BUILD_ERROR, "", "a workflow could not be built")
        raise errors.exception()
    if START_NODE not in spec["nodes"]:
        errors.add(ErrorCode.WORKFLOW_BUILD_ERROR, "", "the workflow has no start node: compile it first")
    elif not spec["edges"]["downstream"].get(START_NODE):
        identifier = template.id if template.HasField("id") else None
        errors.add(ErrorCode.NO_ENTRY_NODE_FOUND, identifier_text(identifier), "the start leads to no node")
    if execution_id is None and not template.HasField("id"):
        errors.add(ErrorCode.WORKFLOW_BUILD_ERROR, "", "neither the execution nor the workflow has an id")
    errors.raise_if_any()
    resource: dict[str, Any] = {
        "kind": "flyteworkflow",
        "apiVersion": "flyte.lyft.com/v1alpha1",
        "metadata": build_metadata(template.id, execution_id, namespace),
        "spec": spec,
        "executionId": {},
        "tasks": {key: to_stripped_json(task) for key, task in tasks.items()},
        "node-defaults": {"interruptible": True} if template.metadata_defaults.interruptible else {},
        "securityContext": {},
        "status": {"phase": 0},
        "rawOutputDataConfig": {},
        "executionConfig": {
            "TaskPluginImpls": None,
            "MaxParallelism": 0,
            "RecoveryExecution": {},
            "TaskResources": {"Requests": dict(_NO_RESOURCES), "Limits": dict(_NO_RESOURCES)},
            "Interruptible": None,
            "OverwriteCache": False,
            "EnvironmentVariables": None,
        },
    }
    if sub_workflows:
        resource["subWorkflows"] = sub_workflows
    if inputs is not None:
        resource["inputs"] = to_json(inputs)
    return resource


def _names(closure: compiler_pb2.CompiledWorkflowClosure) -> str:
    return ", ".join(sorted(closure.primary.template.interface.inputs.variables))
