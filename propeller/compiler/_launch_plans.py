"""Launch plans: what callers see of one, and the document in which resources carry it and registries keep it.

Guarantees
    A document has everything that an execution of the plan needs, but for the launch plans that it starts itself.
Errors
    CompileErrors, naming node, input and plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flyteidl.core import compiler_pb2, identifier_pb2, interface_pb2, literals_pb2, workflow_pb2

from propeller.compiler._errors import ErrorCode, Errors
from propeller.compiler._ids import identifier_text
from propeller.compiler._json import to_json
from propeller.compiler._requirements import walk
from propeller.compiler._resource import build_resource


def launch_plans_of(*graphs: Iterable[workflow_pb2.Node]) -> list[identifier_pb2.Identifier]:
    """Return the launch plans that nodes start, also inside of branches and map tasks, each once."""
    found = {
        identifier_text(node.workflow_node.launchplan_ref): node.workflow_node.launchplan_ref
        for nodes in graphs
        for node in walk(nodes)
        if node.WhichOneof("target") == "workflow_node" and node.workflow_node.HasField("launchplan_ref")
    }
    return [found[key] for key in sorted(found)]


def complete_launch_plan(plan: Any, interface: interface_pb2.TypedInterface) -> Any:
    """Return a flyteidl.admin.LaunchPlan with the closure that FlyteAdmin gives it: its inputs without the fixed ones,
    and its workflow's outputs. `interface` is the workflow's.
    """
    completed = type(plan)()
    completed.CopyFrom(plan)
    expected = completed.closure.expected_inputs
    expected.SetInParent()
    for name, variable in sorted(interface.inputs.variables.items()):
        if name in plan.spec.fixed_inputs.literals:
            continue
        given = plan.spec.default_inputs.parameters
        parameter = expected.parameters[name]
        if name in given:
            parameter.CopyFrom(given[name])
        else:
            parameter.required = True
        parameter.var.CopyFrom(variable)
    completed.closure.expected_outputs.SetInParent()
    completed.closure.expected_outputs.CopyFrom(interface.outputs)
    return completed


def build_launch_plan(plan: Any, closure: compiler_pb2.CompiledWorkflowClosure) -> dict[str, Any]:
    """Return the document of a completed launch plan, whose compiled workflow is `closure`. Raises CompileErrors."""
    resource = build_resource(closure, None, None, "")
    static = ("spec", "tasks", "subWorkflows", "node-defaults")
    return {"launchPlan": to_json(plan), **{key: resource[key] for key in static if key in resource}}


def drop_fixed_inputs(
    templates: Iterable[workflow_pb2.WorkflowTemplate], plans: Mapping[str, Any], errors: Errors
) -> None:
    """Remove bindings of inputs that a launch plan fixes, in place: flytekit binds them, with the fixed value, and they
    are no inputs of the plan. Another value is an error.
    """
    if not any(plan.spec.fixed_inputs.literals for plan in plans.values()):
        return
    for template in templates:
        for node in walk([*template.nodes, *([template.failure_node] if template.HasField("failure_node") else [])]):
            if node.WhichOneof("target") != "workflow_node" or not node.workflow_node.HasField("launchplan_ref"):
                continue
            plan = plans.get(identifier_text(node.workflow_node.launchplan_ref))
            if plan is not None:
                _drop_fixed(node, plan, errors)


def _drop_fixed(node: workflow_pb2.Node, plan: Any, errors: Errors) -> None:
    fixed = plan.spec.fixed_inputs.literals
    kept = []
    for binding in node.inputs:
        if binding.var not in fixed:
            kept.append(binding)
        elif binding.binding != binding_of(fixed[binding.var]):
            errors.add(
                ErrorCode.VARIABLE_NAME_NOT_FOUND,
                node.id,
                f"input {binding.var!r} of launch plan {plan.id.name} is fixed: it cannot be bound to another value",
            )
    if len(kept) < len(node.inputs):
        left = workflow_pb2.Node(inputs=kept).inputs
        del node.inputs[:]
        node.inputs.extend(left)


def binding_of(literal: literals_pb2.Literal) -> literals_pb2.BindingData:
    """Return the binding of a node's input to a constant, as flytekit writes it."""
    data = literals_pb2.BindingData()
    match literal.WhichOneof("value"):
        case "collection":
            data.collection.bindings.extend(map(binding_of, literal.collection.literals))
            data.collection.SetInParent()
        case "map":
            data.map.SetInParent()
            for key, inner in literal.map.literals.items():
                data.map.bindings[key].CopyFrom(binding_of(inner))
        case _:
            data.scalar.CopyFrom(literal.scalar)
    return data
