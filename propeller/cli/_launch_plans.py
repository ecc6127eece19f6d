"""Launch plan nodes as sub-workflows: the plan's workflow runs inside of the execution, with the plan's inputs.

A launch plan node starts an execution of its own, which is FlyteAdmin's to create. If the plan and its workflow were
serialized together with the caller, the same tasks can run with the same inputs here. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from flyteidl.admin import launch_plan_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.core import workflow_pb2 as core_pb2

from propeller.cli.flytekit_bridge import Serialized
from propeller.errors import Invalid

_Key = tuple[str, str, str, str]


def with_plans_inside(serialized: Serialized) -> Serialized:
    """Each node that calls a launch plan calls the plan's workflow. Raises Invalid, with the plan's name, for a plan
    that is not there.
    """
    workflow = workflow_pb2.WorkflowSpec()
    workflow.CopyFrom(serialized.workflow)
    if not any(_calls(template) for template in (workflow.template, *workflow.sub_workflows)):
        return serialized
    plans = {_key(plan.id): plan for plan in serialized.launch_plans}
    known = {_key(template.id) for template in workflow.sub_workflows}
    for spec in serialized.workflows:
        for template in (spec.template, *spec.sub_workflows):
            if _key(template.id) not in known:
                known.add(_key(template.id))
                workflow.sub_workflows.add().CopyFrom(template)
    for template in (workflow.template, *workflow.sub_workflows):
        for node, target in _calls(template):
            _call_workflow(node, target, plans)
    return msgspec.structs.replace(serialized, workflow=workflow)


def nodes_of(template: core_pb2.WorkflowTemplate) -> Iterator[core_pb2.Node]:
    """Its nodes, those of its branches too, at any depth."""
    todo = [*template.nodes, *([template.failure_node] if template.HasField("failure_node") else [])]
    while todo:
        node = todo.pop()
        yield node
        if node.WhichOneof("target") == "branch_node":
            blocks = node.branch_node.if_else
            todo.append(blocks.case.then_node)
            todo.extend(block.then_node for block in blocks.other)
            if blocks.HasField("else_node"):
                todo.append(blocks.else_node)


def mapped(node: core_pb2.Node) -> core_pb2.Node:
    """Return the node that a map task repeats; any other node itself."""
    return node.array_node.node if node.WhichOneof("target") == "array_node" else node


def _calls(template: core_pb2.WorkflowTemplate) -> list[tuple[core_pb2.Node, core_pb2.WorkflowNode]]:
    """Return nodes that call launch plans, in map tasks too, with the reference to the plan."""
    found = []
    for node in nodes_of(template):
        inner = mapped(node)
        if inner.WhichOneof("target") == "workflow_node" and inner.workflow_node.HasField("launchplan_ref"):
            found.append((node, inner.workflow_node))
    return found


def _call_workflow(
    node: core_pb2.Node, target: core_pb2.WorkflowNode, plans: dict[_Key, launch_plan_pb2.LaunchPlan]
) -> None:
    plan = plans.get(_key(target.launchplan_ref))
    if plan is None:
        raise Invalid(
            f"node {node.id} calls launch plan {named(target.launchplan_ref)}, which is not in the file: launch plan "
            "nodes of registered plans are not supported yet, so import the plan from the file that defines it; see "
            "docs/differences.md"
        )
    target.sub_workflow_ref.CopyFrom(plan.spec.workflow_id)
    bound = {binding.var for binding in node.inputs}
    values = {
        name: parameter.default
        for name, parameter in plan.spec.default_inputs.parameters.items()
        if parameter.HasField("default")
    }
    for name, literal in sorted({**values, **plan.spec.fixed_inputs.literals}.items()):
        if name not in bound:
            node.inputs.add(var=name, binding=_binding(literal))


def _binding(literal: literals_pb2.Literal) -> literals_pb2.BindingData:
    data = literals_pb2.BindingData()
    match literal.WhichOneof("value"):
        case "collection":
            data.collection.bindings.extend(map(_binding, literal.collection.literals))
            data.collection.SetInParent()
        case "map":
            data.map.SetInParent()
            for key, inner in literal.map.literals.items():
                data.map.bindings[key].CopyFrom(_binding(inner))
        case _:
            data.scalar.CopyFrom(literal.scalar)
    return data


def named(identifier: identifier_pb2.Identifier) -> str:
    """Format an identifier for a message, with what tells entities of one name apart."""
    said = ((part, getattr(identifier, part)) for part in ("project", "domain", "version"))
    return f"{identifier.name} ({', '.join(f'{part} {value!r}' for part, value in said)})"


def _key(identifier: identifier_pb2.Identifier) -> _Key:
    return identifier.project, identifier.domain, identifier.name, identifier.version
