"""Nodes of the resource.

Source: flytepropeller/pkg/compiler/transformers/k8s/node.go and the types in pkg/apis/flyteworkflow/v1alpha1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flyteidl.core import tasks_pb2, workflow_pb2

from propeller.compiler._errors import ErrorCode, Errors
from propeller.compiler._ids import END_NODE, START_NODE, identifier_text
from propeller.compiler._json import to_json, to_plain_json
from propeller.compiler._resource._bindings import bindings_json
from propeller.compiler._resource._durations import doubled, go_text, nanoseconds
from propeller.compiler._trampoline import Trampoline, run
from propeller.quantity import NotAQuantity, canonical

NodeSpec = dict[str, Any]
Tasks = Mapping[str, tasks_pb2.TaskTemplate]

_RESOURCE_NAMES = {
    tasks_pb2.Resources.CPU: "cpu",
    tasks_pb2.Resources.MEMORY: "memory",
    tasks_pb2.Resources.GPU: "nvidia.com/gpu",
    tasks_pb2.Resources.EPHEMERAL_STORAGE: "ephemeral-storage",
}
_CACHE_FIELDS = {
    "cacheable": "cacheable",
    "cache_version": "cacheVersion",
    "cache_serializable": "cacheSerializable",
}
"""What a node says about the cache. Flyte's compiler drops it (docs/differences.md)."""

_UINT32 = 2**32
_NOTHING_INSIDE = frozenset({"task_node", "workflow_node", "gate_node", None})


def build_nodes(nodes: Iterable[workflow_pb2.Node], tasks: Tasks, errors: Errors) -> dict[str, NodeSpec]:
    """All nodes by id, those inside branches too. Two with one id must be equal. Like Flyte, stops at the first node
    that is refused.
    """
    found: dict[str, NodeSpec] = {}
    for node in nodes:
        before = errors.count
        specs = build_node(node, tasks, errors)
        if errors.count != before:
            break
        for spec in specs:
            existing = found.get(spec["id"])
            if existing is not None and existing != spec:
                differing = sorted(key for key in existing.keys() | spec.keys() if existing.get(key) != spec.get(key))
                message = f"two nodes have the id {spec['id']!r} and differ in {', '.join(differing)}: rename one"
                errors.add(ErrorCode.VALUE_COLLISION, node.id, message)
            found[spec["id"]] = spec
    return found


def build_node(node: workflow_pb2.Node, tasks: Tasks, errors: Errors) -> list[NodeSpec]:
    """Build the node, followed by the nodes inside its branches. Empty if it is refused."""
    if node.WhichOneof("target") in _NOTHING_INSIDE:
        spec = _common(node, tasks, errors)
        return [] if spec is None else [spec]
    return run(_build(node, tasks, errors))


def _build(node: workflow_pb2.Node, tasks: Tasks, errors: Errors) -> Trampoline[list[NodeSpec]]:
    spec = _common(node, tasks, errors)
    if spec is None:
        return []
    match node.WhichOneof("target"):
        case "branch_node":
            return [spec, *(yield _build_branch(node.branch_node.if_else, spec, tasks, errors))]
        case "array_node":
            array = node.array_node
            inner = yield _build(array.node, tasks, errors)
            if not inner:
                return []
            success = array.WhichOneof("success_criteria")
            spec["array"] = {
                "SubNodeSpec": inner[0],
                "Parallelism": array.parallelism if array.HasField("parallelism") else None,
                "MinSuccesses": array.min_successes if success == "min_successes" else None,
                "MinSuccessRatio": to_json(array)["minSuccessRatio"] if success == "min_success_ratio" else None,
                "BoundInputs": list(array.bound_inputs) or None,
            }
            if array.data_mode != workflow_pb2.ArrayNode.SINGLE_INPUT_FILE:
                spec["array"]["dataMode"] = int(array.data_mode)
            if array.run_all_sub_nodes:
                spec["array"]["RunAllSubNodes"] = True
    return [spec]


def _common(node: workflow_pb2.Node, tasks: Tasks, errors: Errors) -> NodeSpec | None:
    """Build the fields of all kinds, and the kinds without inner nodes; None if the node is refused."""
    target = node.WhichOneof("target")
    if target is None and node.id not in {START_NODE, END_NODE}:
        errors.add(ErrorCode.VALUE_REQUIRED, node.id, "the node runs nothing: it has no target")
        return None
    spec: NodeSpec = {"id": node.id, "resources": {}, "kind": ""}
    task: tasks_pb2.TaskTemplate | None = None
    if target == "task_node":
        key = identifier_text(node.task_node.reference_id if node.task_node.HasField("reference_id") else None)
        task = tasks.get(key)
        if task is None:
            errors.add(ErrorCode.TASK_REFERENCE_NOT_FOUND, node.id, f"there is no task {key}")
            return None
        spec["task"] = key
        if not _add_overrides(node, spec, errors):
            return None
    if not _add_metadata(node, task, spec, errors):
        return None
    if node.output_aliases:
        spec["outputAlias"] = [to_plain_json(alias) for alias in node.output_aliases]
    if node.inputs:
        spec["inputBindings"] = bindings_json(node.inputs)
    match target:
        case "task_node":
            spec["kind"] = "task"
        case "workflow_node":
            return _add_workflow(node, spec, errors)
        case "branch_node":
            spec["kind"] = "branch"
        case "gate_node":
            _add_gate(node.gate_node, spec)
        case "array_node":
            spec["kind"] = "array"
        case _:
            spec["kind"] = "start" if node.id == START_NODE else "end"
    return spec


def _add_metadata(node: workflow_pb2.Node, task: tasks_pb2.TaskTemplate | None, spec: NodeSpec, errors: Errors) -> bool:
    metadata = node.metadata
    if metadata.HasField("timeout"):
        nanos = nanoseconds(metadata.timeout)
        if nanos is None:
            errors.add(ErrorCode.SYNTAX_ERROR, node.id, "metadata.timeout is out of range")
            return False
        spec["executionDeadline"] = go_text(nanos)
        spec["activeDeadline"] = go_text(doubled(nanos))
    if metadata.name:
        spec["name"] = metadata.name
    if metadata.HasField("interruptible"):
        spec["interruptible"] = metadata.interruptible
    if cache := {name: getattr(metadata, field) for field, name in _CACHE_FIELDS.items() if metadata.HasField(field)}:
        spec["cache"] = cache
    retries = metadata.retries.retries or (task.metadata.retries.retries if task is not None else 0)
    if retries:
        spec["retry"] = {"minAttempts": (retries + 1) % _UINT32}
    return True


def _add_overrides(node: workflow_pb2.Node, spec: NodeSpec, errors: Errors) -> bool:
    if not node.task_node.HasField("overrides"):
        return True
    overrides = node.task_node.overrides
    for kind, entries in (("requests", overrides.resources.requests), ("limits", overrides.resources.limits)):
        amounts: dict[str, str] = {}
        for entry in entries:
            try:
                amount = canonical(entry.value)
            except NotAQuantity:
                message = f"node {node.id!r} overrides {kind} with {entry.value!r}, which is no quantity"
                errors.add(ErrorCode.WORKFLOW_BUILD_ERROR, "", message)
                return False
            if amount != "0" and entry.name in _RESOURCE_NAMES:
                amounts[_RESOURCE_NAMES[entry.name]] = amount
        if amounts:
            spec["resources"][kind] = amounts
    if overrides.HasField("extended_resources"):
        spec["extendedResources"] = to_json(overrides.extended_resources)
    if overrides.container_image:
        spec["containerImage"] = overrides.container_image
    if overrides.HasField("pod_template"):
        spec["podTemplate"] = to_plain_json(overrides.pod_template)
    return True


def _add_workflow(node: workflow_pb2.Node, spec: NodeSpec, errors: Errors) -> NodeSpec | None:
    target = node.workflow_node
    spec["kind"] = "workflow"
    match target.WhichOneof("reference"):
        case "launchplan_ref":
            spec["workflow"] = {"launchPlanRefId": to_json(target.launchplan_ref)}
        case "sub_workflow_ref":
            spec["workflow"] = {"subWorkflowRef": identifier_text(target.sub_workflow_ref)}
        case _:
            errors.add(ErrorCode.VALUE_REQUIRED, node.id, "the node runs a workflow and does not say which")
            return None
    return spec


def _add_gate(gate: workflow_pb2.GateNode, spec: NodeSpec) -> None:
    spec["kind"] = "gate"
    condition = gate.WhichOneof("condition")
    if condition is not None:
        spec["gate"] = {"kind": condition, condition: to_json(getattr(gate, condition))}


def _build_branch(
    block: workflow_pb2.IfElseBlock, spec: NodeSpec, tasks: Tasks, errors: Errors
) -> Trampoline[list[NodeSpec]]:
    """Add the cases to the branch's spec; the nodes inside."""
    inside: list[NodeSpec] = list((yield _build(block.case.then_node, tasks, errors)))
    branch: dict[str, Any] = {"if": _case(block.case)}
    match block.WhichOneof("default"):
        case "else_node":
            inside += yield _build(block.else_node, tasks, errors)
            branch["else"] = block.else_node.id
        case "error":
            branch["elseFail"] = to_plain_json(block.error)
    for other in block.other:
        inside += yield _build(other.then_node, tasks, errors)
    if block.other:
        branch["elseIf"] = [_case(other) for other in block.other]
    spec["branch"] = branch
    return inside


def _case(block: workflow_pb2.IfBlock) -> dict[str, Any]:
    return {"condition": to_json(block.condition), "then": block.then_node.id}
