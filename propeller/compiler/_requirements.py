"""Find the tasks, launch plans and sub-workflows that a workflow needs.

Source: flytepropeller/pkg/compiler/requirements.go, which follows a sub-workflow once for each call of it, and forever
if one calls itself. Here each is read once, and recursion is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from flyteidl.core import identifier_pb2, workflow_pb2

from propeller.compiler._errors import ErrorCode, Errors
from propeller.compiler._graph import find_cycle
from propeller.compiler._ids import identifier_text, order_of

PRIMARY = "<primary>"
"""The key of the workflow itself: its own identifier may be the same as a sub-workflow's."""


class Requirements(msgspec.Struct, frozen=True):
    """Identifiers in Flyte's order: by type, project, domain, name, version."""

    task_ids: tuple[identifier_pb2.Identifier, ...]
    launch_plan_ids: tuple[identifier_pb2.Identifier, ...]


class References:
    """References of a workflow and of the sub-workflows that it calls, directly or indirectly."""

    def __init__(self) -> None:
        self.tasks: dict[str, identifier_pb2.Identifier] = {}
        self.launch_plans: dict[str, identifier_pb2.Identifier] = {}
        self.calls: dict[str, dict[str, list[str]]] = {}
        """For each workflow read, the keys of those it calls, and the nodes that do: each has its own error."""
        self.with_branches: set[str] = set()
        """Keys of workflows that have branches, or call a workflow that has."""
        self.nodes = 0


def find_requirements(
    template: workflow_pb2.WorkflowTemplate, sub_workflows: Sequence[workflow_pb2.WorkflowTemplate] = ()
) -> Requirements:
    """Return what must be passed to `compile_workflow`. Raises CompileErrors if sub-workflows have no ids, or call
    themselves.
    """
    errors = Errors()
    units = index_by_id(sub_workflows, errors)
    errors.raise_if_any()
    references = read_requirements(template, units, Errors())
    find_recursion(references, errors)
    errors.raise_if_any()
    return Requirements(
        tuple(sorted(references.tasks.values(), key=order_of)),
        tuple(sorted(references.launch_plans.values(), key=order_of)),
    )


def sub_workflows_of(templates: Iterable[workflow_pb2.WorkflowTemplate]) -> dict[str, identifier_pb2.Identifier]:
    """Return the sub-workflows that nodes of these workflows call, by the text of their ids."""
    return {
        identifier_text(node.workflow_node.sub_workflow_ref): node.workflow_node.sub_workflow_ref
        for template in templates
        for node in _all_nodes(template)
        if node.WhichOneof("target") == "workflow_node" and node.workflow_node.HasField("sub_workflow_ref")
    }


def index_by_id(
    templates: Sequence[workflow_pb2.WorkflowTemplate], errors: Errors
) -> dict[str, workflow_pb2.WorkflowTemplate]:
    found: dict[str, workflow_pb2.WorkflowTemplate] = {}
    for number, template in enumerate(templates):
        if not template.HasField("id"):
            errors.add(ErrorCode.VALUE_REQUIRED, "", f"sub-workflow number {number} has no id")
            continue
        key = identifier_text(template.id)
        if key in found:
            errors.add(ErrorCode.DUPLICATE_ID, key, "two sub-workflows have this id")
        found[key] = template
    return found


def read_requirements(
    template: workflow_pb2.WorkflowTemplate, units: Mapping[str, workflow_pb2.WorkflowTemplate], errors: Errors
) -> References:
    """Read a workflow and every sub-workflow that is reachable from it."""
    references = References()
    todo = [(PRIMARY, template)]
    while todo:
        key, unit = todo.pop()
        if key in references.calls:
            continue
        calls = references.calls[key] = {}
        for node in _all_nodes(unit):
            references.nodes += 1
            _read_node(node, references, key, calls)
        for called, node_ids in calls.items():
            if called in units:
                todo.append((called, units[called]))
                continue
            for node_id in node_ids:
                errors.add(ErrorCode.WORKFLOW_REFERENCE_NOT_FOUND, node_id, f"there is no sub-workflow {called}")
    return references


def find_recursion(references: References, errors: Errors) -> None:
    """Refuse a workflow that calls itself; else spread which ones have branches to their callers."""
    cycle = find_cycle(references.calls, PRIMARY)
    if cycle:
        for node_id in references.calls[cycle[0]][cycle[1]]:
            errors.add(ErrorCode.CYCLE_DETECTED, node_id, f"a sub-workflow calls itself: {' > '.join(cycle)}")
        return
    callers: dict[str, list[str]] = {}
    for caller, calls in references.calls.items():
        for called in calls:
            callers.setdefault(called, []).append(caller)
    todo = list(references.with_branches)
    while todo:
        for caller in callers.get(todo.pop(), ()):
            if caller not in references.with_branches:
                references.with_branches.add(caller)
                todo.append(caller)


def _all_nodes(template: workflow_pb2.WorkflowTemplate) -> Iterator[workflow_pb2.Node]:
    """Nodes of a workflow, and the nodes inside them."""
    return walk([*template.nodes, *([template.failure_node] if template.HasField("failure_node") else [])])


def walk(nodes: Iterable[workflow_pb2.Node]) -> Iterator[workflow_pb2.Node]:
    """Nodes, and the nodes inside them, at any depth."""
    stack = list(nodes)
    while stack:
        node = stack.pop()
        yield node
        target = node.WhichOneof("target")
        if target == "branch_node":
            block = node.branch_node.if_else
            stack.extend(case.then_node for case in (block.case, *block.other) if case.HasField("then_node"))
            if block.HasField("else_node"):
                stack.append(block.else_node)
        elif target == "array_node" and node.array_node.HasField("node"):
            stack.append(node.array_node.node)


def _read_node(node: workflow_pb2.Node, references: References, key: str, calls: dict[str, list[str]]) -> None:
    match node.WhichOneof("target"):
        case "task_node":
            if node.task_node.HasField("reference_id"):
                task = node.task_node.reference_id
                references.tasks.setdefault(identifier_text(task), task)
        case "workflow_node":
            target = node.workflow_node
            if target.HasField("launchplan_ref"):
                references.launch_plans.setdefault(identifier_text(target.launchplan_ref), target.launchplan_ref)
            elif target.HasField("sub_workflow_ref"):
                calls.setdefault(identifier_text(target.sub_workflow_ref), []).append(node.id)
        case "branch_node":
            references.with_branches.add(key)
