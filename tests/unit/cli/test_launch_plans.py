"""Launch plans of a file: what callers see of them, and what a resource carries."""

from __future__ import annotations

from typing import Any

import pytest
from flyteidl.admin import launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, literals_pb2, tasks_pb2
from flyteidl.core import workflow_pb2 as core_pb2
from msgspec.structs import replace

from propeller.cli._workflow import closure_of, resource_of
from propeller.cli.flytekit_bridge import Serialized, Versioned
from propeller.compiler import CompileErrors
from propeller.errors import Invalid
from tests.unit.compiler import shapes

PLAN = identifier_pb2.Identifier(project="p", domain="d", name="plan", version="v1")
CHILD = identifier_pb2.Identifier(project="p", domain="d", name="child", version="v1")
TASK = identifier_pb2.Identifier(resource_type=identifier_pb2.TASK, name="t")


def number(value: int) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def plan(*, defaults: dict[str, int] | None = None, fixed: dict[str, int] | None = None) -> launch_plan_pb2.LaunchPlan:
    made = launch_plan_pb2.LaunchPlan(id=PLAN)
    made.spec.workflow_id.CopyFrom(CHILD)
    for name, value in (defaults or {}).items():
        made.spec.default_inputs.parameters[name].default.CopyFrom(number(value))
    for name, value in (fixed or {}).items():
        made.spec.fixed_inputs.literals[name].CopyFrom(number(value))
    return made


def child(*inputs: str) -> workflow_pb2.WorkflowSpec:
    """A workflow of one task, with inputs that are whole numbers, and one output."""
    template = core_pb2.WorkflowTemplate(id=CHILD)
    for name in inputs:
        template.interface.inputs.variables[name].type.CopyFrom(shapes.INTEGER)
    template.interface.inputs.SetInParent()
    template.interface.outputs.SetInParent()
    template.nodes.add(id="n0").task_node.reference_id.CopyFrom(TASK)
    return workflow_pb2.WorkflowSpec(template=template)


def caller(node: core_pb2.Node, *plans: launch_plan_pb2.LaunchPlan, inputs: tuple[str, ...] = ()) -> Serialized:
    root = core_pb2.WorkflowTemplate(id=identifier_pb2.Identifier(name="root"), nodes=[node])
    root.interface.inputs.SetInParent()
    spec = task_pb2.TaskSpec(template=tasks_pb2.TaskTemplate(id=TASK, type="x"))
    spec.template.interface.inputs.SetInParent()
    return Serialized(
        name="wf",
        kind="workflow",
        workflow=workflow_pb2.WorkflowSpec(template=root),
        tasks=(spec,),
        launch_plans=plans,
        workflows=(child(*inputs),),
        parameters=(),
        inputs=literals_pb2.LiteralMap(),
    )


def calling(**bound: int) -> core_pb2.Node:
    node = core_pb2.Node(id="n0", workflow_node=core_pb2.WorkflowNode(launchplan_ref=PLAN))
    for name, value in bound.items():
        node.inputs.add(var=name).binding.scalar.CopyFrom(number(value).scalar)
    return node


def resource(serialized: Serialized) -> dict[str, Any]:
    return resource_of(serialized, Versioned(), name="a", namespace="n")


def test_a_resource_carries_the_plans_that_its_nodes_start() -> None:
    found = resource(caller(calling(a=1), plan(defaults={"b": 3}, fixed={"c": 2}), inputs=("a", "b", "c")))
    assert found["spec"]["nodes"]["n0"]["workflow"]["launchPlanRefId"]["name"] == "plan"
    [(path, document)] = found["launchPlans"].items()
    assert path == "p/d/plan/v1"
    expected = document["launchPlan"]["closure"]["expectedInputs"]["parameters"]
    assert {name: "default" in one for name, one in expected.items()} == {"a": False, "b": True}
    assert "n0" in document["spec"]["nodes"]


def test_an_input_without_a_default_has_to_be_bound() -> None:
    with pytest.raises(CompileErrors, match="'a'"):
        closure_of(caller(calling(), plan(), inputs=("a",)))


def test_a_fixed_input_may_be_bound_to_its_value_as_flytekit_does() -> None:
    closure = closure_of(caller(calling(c=2), plan(fixed={"c": 2}), inputs=("c",)))
    [node] = [one for one in closure.primary.template.nodes if one.id == "n0"]
    assert not node.inputs
    with pytest.raises(CompileErrors, match="input 'c' of launch plan plan is fixed"):
        closure_of(caller(calling(c=3), plan(fixed={"c": 2}), inputs=("c",)))


def test_a_plan_in_a_branch_is_carried() -> None:
    branch = core_pb2.Node(id="n0")
    block = branch.branch_node.if_else
    block.case.then_node.CopyFrom(calling())
    block.case.condition.comparison.left_value.primitive.integer = 1
    block.case.condition.comparison.right_value.primitive.integer = 1
    block.error.message = "no case"
    assert list(resource(caller(branch, plan()))["launchPlans"]) == ["p/d/plan/v1"]


def test_a_plan_that_is_not_there_is_named() -> None:
    told = r"node n0 calls launch plan plan \(project 'p', domain 'd', version 'v1'\), which is not in the file"
    with pytest.raises(Invalid, match=told):
        closure_of(caller(calling()))


@pytest.mark.parametrize("kind", ["launch plan", "workflow"])
def test_the_resource_of_a_launch_plan_names_it(kind: str) -> None:
    found = replace(caller(calling(), plan()), name="nightly", kind=kind)
    annotations = resource(found)["metadata"].get("annotations")
    assert annotations == ({"propeller/launch-plan": "nightly"} if kind == "launch plan" else None)
