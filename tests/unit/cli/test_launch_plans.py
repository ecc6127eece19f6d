"""Launch plan nodes whose plan is in the same file."""

from __future__ import annotations

import pytest
from flyteidl.admin import launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, literals_pb2, tasks_pb2
from flyteidl.core import workflow_pb2 as core_pb2
from msgspec.structs import replace

from propeller.cli._launch_plans import with_plans_inside
from propeller.cli._workflow import closure_of, resource_of
from propeller.cli.flytekit_bridge import Serialized, Versioned
from propeller.errors import Invalid

PLAN = identifier_pb2.Identifier(name="plan")
CHILD = identifier_pb2.Identifier(name="child")


def number(value: int) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def numbers(*values: int) -> literals_pb2.Literal:
    return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=map(number, values)))


def caller(node: core_pb2.Node, *plans: launch_plan_pb2.LaunchPlan) -> Serialized:
    return Serialized(
        name="wf",
        kind="workflow",
        workflow=workflow_pb2.WorkflowSpec(template=core_pb2.WorkflowTemplate(nodes=[node])),
        tasks=(),
        launch_plans=plans,
        workflows=(workflow_pb2.WorkflowSpec(template=core_pb2.WorkflowTemplate(id=CHILD)),),
        parameters=(),
        inputs=literals_pb2.LiteralMap(),
    )


def calling() -> core_pb2.Node:
    return core_pb2.Node(id="n0", workflow_node=core_pb2.WorkflowNode(launchplan_ref=PLAN))


def test_the_plans_workflow_is_called_with_its_defaults_and_fixed_inputs() -> None:
    plan = launch_plan_pb2.LaunchPlan(id=PLAN)
    plan.spec.workflow_id.CopyFrom(CHILD)
    for name in ("a", "b"):
        plan.spec.default_inputs.parameters[name].default.CopyFrom(number(1))
    plan.spec.default_inputs.parameters["needed"].required = True
    plan.spec.fixed_inputs.literals["c"].CopyFrom(numbers(2, 3))
    node = calling()
    node.inputs.add(var="a").binding.promise.node_id = "start"
    found = with_plans_inside(caller(node, plan)).workflow
    [called] = found.template.nodes
    assert called.workflow_node.sub_workflow_ref == CHILD
    assert [template.id for template in found.sub_workflows] == [CHILD]
    bound = {binding.var: binding.binding for binding in called.inputs}
    assert set(bound) == {"a", "b", "c"}
    assert bound["a"].promise.node_id == "start"
    assert [item.scalar.primitive.integer for item in bound["c"].collection.bindings] == [2, 3]


def test_a_plan_in_a_branch_is_found() -> None:
    plan = launch_plan_pb2.LaunchPlan(id=PLAN)
    plan.spec.workflow_id.CopyFrom(CHILD)
    branch = core_pb2.Node(id="n0")
    branch.branch_node.if_else.case.then_node.CopyFrom(calling())
    [found] = with_plans_inside(caller(branch, plan)).workflow.template.nodes
    assert found.branch_node.if_else.case.then_node.workflow_node.sub_workflow_ref == CHILD


def test_a_plan_that_is_not_there_is_named() -> None:
    node = calling()
    plan = identifier_pb2.Identifier(project="p", domain="d", name="nightly", version="v1")
    node.workflow_node.launchplan_ref.CopyFrom(plan)
    told = r"node n0 calls launch plan nightly \(project 'p', domain 'd', version 'v1'\), which is not in the file"
    with pytest.raises(Invalid, match=told):
        with_plans_inside(caller(node))


@pytest.mark.parametrize("mapped", [False, True], ids=["called", "mapped over"])
def test_a_task_that_the_file_only_refers_to_is_named(mapped: bool) -> None:
    task = identifier_pb2.Identifier(project="p", domain="d", name="clean", version="v1")
    node = core_pb2.Node(id="n0", task_node=core_pb2.TaskNode(reference_id=task))
    if mapped:
        node = core_pb2.Node(id="n0", array_node=core_pb2.ArrayNode(node=node))
    told = r"node n0 of .* calls task clean \(project 'p', domain 'd', version 'v1'\), which is not in the file"
    with pytest.raises(Invalid, match=told):
        closure_of(caller(node))


@pytest.mark.parametrize("kind", ["launch plan", "workflow"])
def test_the_resource_of_a_launch_plan_names_it(kind: str) -> None:
    task = identifier_pb2.Identifier(resource_type=identifier_pb2.TASK, name="t")
    node = core_pb2.Node(id="n0", task_node=core_pb2.TaskNode(reference_id=task))
    spec = task_pb2.TaskSpec(template=tasks_pb2.TaskTemplate(id=task, type="x"))
    spec.template.interface.inputs.SetInParent()
    workflow = workflow_pb2.WorkflowSpec(template=core_pb2.WorkflowTemplate(id=CHILD, nodes=[node]))
    workflow.template.interface.inputs.SetInParent()
    found = replace(caller(node), name="nightly", kind=kind, workflow=workflow, tasks=(spec,))
    metadata = resource_of(found, Versioned(), name="a", namespace="n")["metadata"]
    assert metadata.get("annotations") == ({"propeller/launch-plan": "nightly"} if kind == "launch plan" else None)
