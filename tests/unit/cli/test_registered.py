"""What a file refers to is found in a registry, with all that it needs, and compared with what the file declares."""

from __future__ import annotations

import orjson
import pytest
from flyteidl.admin import launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, interface_pb2, literals_pb2, tasks_pb2, types_pb2
from flyteidl.core import workflow_pb2 as core_pb2
from google.protobuf import json_format

from propeller.cli._registered import link, linked_with
from propeller.cli._workflow import closure_of
from propeller.cli.flytekit_bridge import Reference, Serialized
from propeller.errors import Invalid
from propeller.registry import Entity, EntityKind, StoredRegistry
from propeller.storage import MemoryStore, Storage, StorageOptions
from tests.unit.compiler import shapes

KINDS = {
    EntityKind.TASK: identifier_pb2.ResourceType.TASK,
    EntityKind.WORKFLOW: identifier_pb2.ResourceType.WORKFLOW,
    EntityKind.LAUNCH_PLAN: identifier_pb2.ResourceType.LAUNCH_PLAN,
}
STRING = types_pb2.LiteralType(simple=types_pb2.SimpleType.STRING)
OPTIONAL = types_pb2.LiteralType(
    union_type=types_pb2.UnionType(variants=[shapes.INTEGER, types_pb2.LiteralType(simple=types_pb2.SimpleType.NONE)])
)


def named(kind: EntityKind, name: str, version: str = "v1") -> identifier_pb2.Identifier:
    return identifier_pb2.Identifier(
        resource_type=KINDS[kind], project="other", domain="production", name=name, version=version
    )


def interface(
    inputs: dict[str, types_pb2.LiteralType], **outputs: types_pb2.LiteralType
) -> interface_pb2.TypedInterface:
    made = interface_pb2.TypedInterface()
    for side, variables in ((made.inputs, inputs), (made.outputs, outputs)):
        side.SetInParent()
        for name, kind in variables.items():
            side.variables[name].type.CopyFrom(kind)
    return made


def task(name: str, **inputs: types_pb2.LiteralType) -> task_pb2.TaskSpec:
    return task_pb2.TaskSpec(
        template=tasks_pb2.TaskTemplate(id=named(EntityKind.TASK, name), type="x", interface=interface(inputs))
    )


def workflow(name: str, *nodes: core_pb2.Node) -> workflow_pb2.WorkflowSpec:
    return workflow_pb2.WorkflowSpec(
        template=core_pb2.WorkflowTemplate(id=named(EntityKind.WORKFLOW, name), nodes=nodes, interface=interface({}))
    )


def runs_task(name: str, version: str = "v1") -> core_pb2.Node:
    node = core_pb2.Node(id=f"n-{name}")
    node.task_node.reference_id.CopyFrom(named(EntityKind.TASK, name, version))
    return node


def runs_workflow(name: str) -> core_pb2.Node:
    node = core_pb2.Node(id=f"n-{name}")
    node.workflow_node.sub_workflow_ref.CopyFrom(named(EntityKind.WORKFLOW, name))
    return node


def starts(name: str) -> core_pb2.Node:
    node = core_pb2.Node(id=f"n-{name}")
    node.workflow_node.launchplan_ref.CopyFrom(named(EntityKind.LAUNCH_PLAN, name))
    return node


def file(*nodes: core_pb2.Node, references: tuple[Reference, ...] = ()) -> Serialized:
    root = core_pb2.WorkflowTemplate(id=identifier_pb2.Identifier(name="root"), nodes=nodes, interface=interface({}))
    return Serialized(
        name="wf",
        kind="workflow",
        workflow=workflow_pb2.WorkflowSpec(template=root),
        tasks=(),
        launch_plans=(),
        references=references,
        parameters=(),
        inputs=literals_pb2.LiteralMap(),
    )


async def registry(*specs: task_pb2.TaskSpec | workflow_pb2.WorkflowSpec) -> StoredRegistry:
    made = StoredRegistry(Storage(stores={"memory": MemoryStore({})}), "memory://r")
    for spec in specs:
        kind = EntityKind.TASK if isinstance(spec, task_pb2.TaskSpec) else EntityKind.WORKFLOW
        of = spec.template.id
        entity = Entity(kind, of.project, of.domain, of.name, of.version)
        await made.register(entity, spec.SerializeToString(deterministic=True))
    return made


async def test_a_registered_workflow_comes_with_the_workflows_and_tasks_that_it_runs() -> None:
    inner = workflow("inner", runs_task("t"))
    outer = workflow("outer", runs_workflow("inner"))
    linked = await link(file(runs_workflow("outer")), await registry(task("t"), inner, outer))
    closure = closure_of(linked.serialized, linked.plans)
    assert [one.template.id.name for one in closure.sub_workflows] == ["outer", "inner"]
    assert [one.template.id.project for one in closure.tasks] == ["other"]


async def test_a_registered_workflow_that_calls_itself_is_refused() -> None:
    of = await registry(workflow("w", runs_workflow("w")))
    with pytest.raises(Invalid, match="calls itself"):
        await link(file(runs_workflow("w")), of)


async def test_what_is_not_there_is_named_with_the_versions_that_are() -> None:
    of = await registry(task("t"))
    with pytest.raises(Invalid, match=r"task t \(project 'other', .* version 'v2'\) is not registered .* there: v1\."):
        await link(file(runs_task("t", "v2")), of)
    with pytest.raises(Invalid, match=r"task t is referred to without a version, .* there: v1\."):
        await link(file(runs_task("t", "")), of)
    with pytest.raises(Invalid, match=r"workflow gone .* is not registered in memory://r; no version of it is there"):
        await link(file(runs_workflow("gone")), of)
    with pytest.raises(Invalid, match=r"launch plan gone .* is not registered in memory://r; no version"):
        await link(file(starts("gone")), of)


async def test_without_a_registry_what_is_not_in_the_file_is_refused_by_name() -> None:
    mapped = core_pb2.Node(id="n0", array_node=core_pb2.ArrayNode(node=runs_task("t")))
    for node, words in ((runs_task("t"), "task t"), (mapped, "task t"), (runs_workflow("w"), "workflow w")):
        with pytest.raises(Invalid, match=rf"{words} \(project 'other'.* is not in the file: .* --registry URI"):
            await linked_with(file(node), "", StorageOptions())


async def test_content_that_is_something_else_is_refused() -> None:
    made = StoredRegistry(Storage(stores={"memory": MemoryStore({})}), "memory://r")
    await made.register(Entity(EntityKind.TASK, "other", "production", "t", "v1"), b"\xff")
    await made.register(
        Entity(EntityKind.TASK, "other", "production", "u", "v1"), task("t").SerializeToString(deterministic=True)
    )
    with pytest.raises(Invalid, match=r"task t .* is no TaskSpec"):
        await link(file(runs_task("t")), made)
    with pytest.raises(Invalid, match=r"task u .* is another one"):
        await link(file(runs_task("u")), made)


@pytest.mark.parametrize(
    ("declared", "fault"),
    [
        pytest.param({"a": shapes.INTEGER}, "", id="equal"),
        pytest.param({"a": shapes.INTEGER, "b": shapes.INTEGER}, "", id="optional-input-declared"),
        pytest.param({"a": STRING}, "input 'a' is string here, and integer there", id="another-type"),
        pytest.param({}, "input 'a' is needed there, and not declared here", id="too-few"),
        pytest.param({"a": shapes.INTEGER, "c": STRING}, "input 'c' is not there", id="too-many"),
    ],
)
async def test_a_declared_interface_is_compared_with_the_registered_one(
    declared: dict[str, types_pb2.LiteralType], fault: str
) -> None:
    of = await registry(task("t", a=shapes.INTEGER, b=OPTIONAL))
    referring = file(runs_task("t"), references=(Reference(named(EntityKind.TASK, "t"), interface(declared)),))
    if not fault:
        await link(referring, of)
        return
    with pytest.raises(Invalid) as caught:
        await link(referring, of)
    text = str(caught.value)
    assert f"is registered in memory://r with another interface: {fault}" in text
    assert "registered: (a: integer, b: (integer | none)) -> ()" in text


async def test_a_declared_output_that_is_not_returned_is_refused() -> None:
    of = await registry(task("t"))
    declared = Reference(named(EntityKind.TASK, "t"), interface({}, o0=STRING))
    with pytest.raises(Invalid, match=r"output 'o0' is not there \(declared here: \(\) -> \(o0: string\)"):
        await link(file(runs_task("t"), references=(declared,)), of)


async def test_inputs_with_defaults_or_fixed_values_need_not_be_declared_for_a_launch_plan() -> None:
    of = await registry()
    plan = launch_plan_pb2.LaunchPlan(id=named(EntityKind.LAUNCH_PLAN, "nightly"))
    for name, required in (("a", True), ("b", False)):
        parameter = plan.closure.expected_inputs.parameters[name]
        parameter.required = required
        parameter.var.type.CopyFrom(shapes.INTEGER)
    plan.spec.fixed_inputs.literals["c"].SetInParent()
    document = {"launchPlan": json_format.MessageToDict(plan), "spec": {}}
    await of.register(Entity(EntityKind.LAUNCH_PLAN, "other", "production", "nightly", "v1"), orjson.dumps(document))

    def referring(*inputs: str) -> Serialized:
        declared = interface(dict.fromkeys(inputs, shapes.INTEGER))
        return file(references=(Reference(named(EntityKind.LAUNCH_PLAN, "nightly"), declared),))

    for inputs in (("a",), ("a", "b"), ("a", "c")):
        await link(referring(*inputs), of)
    with pytest.raises(Invalid, match="input 'a' is needed there"):
        await link(referring("b"), of)
