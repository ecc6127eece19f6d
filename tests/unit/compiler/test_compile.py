"""Guarantees of the compiler beyond Flyte's own vectors: limits, recursion, warnings, errors that say what to do."""

from __future__ import annotations

from typing import Any

import pytest
from flyteidl.admin import launch_plan_pb2
from flyteidl.core import types_pb2, workflow_pb2

from propeller.compiler import (
    CompileErrors,
    ErrorCode,
    Limits,
    build_resource,
    compile_workflow,
    find_requirements,
    find_warnings,
)
from propeller.compiler._workflow import MAX_PASSES
from propeller.errors import Invalid
from tests.unit.compiler import shapes

TASKS = [shapes.add_task()]


def codes(caught: pytest.ExceptionInfo[CompileErrors]) -> set[tuple[str, str]]:
    return {(str(error.code), error.node_id) for error in caught.value.errors}


def branching(name: str) -> workflow_pb2.WorkflowTemplate:
    """A workflow with one branch, n0, of one case, c."""
    made = shapes.workflow(name)
    branch = made.nodes.add(id="n0")
    shapes.bind(branch, "x", "", "x")
    block = branch.branch_node.if_else
    comparison = block.case.condition.comparison
    comparison.left_value.var = "x"
    comparison.right_value.primitive.integer = 1
    scratch = shapes.workflow()
    block.case.then_node.CopyFrom(shapes.add_node(scratch, "c"))
    block.error.message = "no"
    return made


@pytest.mark.parametrize(
    ("provider", "code", "at"),
    [("n0", ErrorCode.CYCLE_DETECTED, "n0-c"), ("n7", ErrorCode.PARAMETER_NOT_BOUND, "n0-c")],
)
def test_a_case_that_takes_the_value_of_a_call_which_flytekit_dropped_is_refused_with_what_to_write(
    provider: str, code: ErrorCode, at: str
) -> None:
    made = branching("w")
    case = made.nodes[-1].branch_node.if_else.case.then_node
    bound = next(one for one in case.inputs if one.var == "a").binding.promise
    bound.node_id, bound.var = provider, "o0"
    with pytest.raises(CompileErrors) as caught:
        compile_workflow(made, [], TASKS)
    found = [error for error in caught.value.errors if (error.code, error.node_id) == (code, at)]
    assert len(found) == 1
    assert "flytekit drops the call g() there. Call it before the conditional" in found[0].message


def test_the_messages_passed_in_are_not_changed() -> None:
    given, subs = shapes.calling(["s"]), [branching("s")]
    before = [message.SerializeToString(deterministic=True) for message in (given, *subs, *TASKS)]
    closure = compile_workflow(given, subs, TASKS)
    build_resource(closure, None, None, "")
    after = [message.SerializeToString(deterministic=True) for message in (given, *subs, *TASKS)]
    assert before == after


def test_building_a_resource_does_not_change_the_closure() -> None:
    closure = compile_workflow(shapes.chain(3), [], TASKS)
    before = closure.SerializeToString(deterministic=True)
    build_resource(closure, None, None, "")
    assert closure.SerializeToString(deterministic=True) == before


def test_every_error_is_reported_and_not_the_first_only() -> None:
    made = shapes.chain(3)
    made.nodes[0].inputs[0].var = "c"
    made.nodes[1].task_node.reference_id.CopyFrom(shapes.task_id("add"))
    made.nodes[2].inputs[1].binding.promise.node_id = "nobody"
    with pytest.raises(CompileErrors) as caught:
        compile_workflow(made, [], TASKS)
    assert codes(caught) >= {
        ("VariableNameNotFound", "n0"),
        ("ParameterNotBound", "n0"),
        ("NodeReferenceNotFound", "nobody"),
        ("ParameterNotBound", "n2"),
    }
    assert isinstance(caught.value, Invalid)
    assert caught.value.report().count("\n") == len(caught.value.errors)
    assert "\n" not in str(caught.value)


def test_an_error_names_the_input_and_both_types() -> None:
    made = shapes.workflow()
    made.interface.inputs.variables["x"].type.CopyFrom(shapes.STRING)
    shapes.add_node(made, "n0")
    with pytest.raises(CompileErrors, match=r"input 'a' of type integer is bound to output 'x' .* of type string"):
        compile_workflow(made, [], TASKS)


def test_an_error_names_the_sub_workflow_whose_node_it_is() -> None:
    """Each has a node n0, and that of one with a call after its mistake, too, is its own."""
    made, inner, outer = shapes.calling(["outer"]), shapes.workflow("inner"), shapes.workflow("outer")
    for template in (made, inner, outer):
        template.interface.inputs.variables["s"].type.CopyFrom(shapes.STRING)
    for template in (inner, outer):
        shapes.add_node(template, "n0").inputs[0].binding.promise.var = "s"
    shapes.bind(shapes.call(outer, "n1", "inner"), "s", "", "s")
    shapes.add_node(outer, "n2").inputs[1].binding.promise.var = "s"
    shapes.bind(made.nodes[0], "s", "", "s")
    shapes.add_node(made, "n2").inputs[0].binding.promise.var = "s"
    with pytest.raises(CompileErrors) as caught:
        compile_workflow(made, [inner, outer], TASKS)
    assert {(error.workflow, error.node_id, str(error).split(":")[0]) for error in caught.value.errors} == {
        ("", "n2", "MismatchingTypes at n2"),
        ("outer", "n0", "MismatchingTypes at n0 of outer"),
        ("outer", "n2", "MismatchingTypes at n2 of outer"),
        ("inner", "n0", "MismatchingTypes at n0 of inner"),
    }


@pytest.mark.parametrize("names", [["s"], ["t", "s"]])
def test_a_sub_workflow_that_calls_itself_is_refused_by_name(names: list[str]) -> None:
    subs = [shapes.calling([names[-1]], "t"), shapes.calling([names[0]], "s")]
    for attempt in (
        lambda: find_requirements(shapes.calling(["s"]), subs),
        lambda: compile_workflow(shapes.calling(["s"]), subs, TASKS),
    ):
        with pytest.raises(CompileErrors, match="calls itself") as caught:
            attempt()
        assert codes(caught) == {("CycleDetected", "n0")}


def test_a_scalar_without_a_value_is_refused_by_name() -> None:
    made = shapes.chain(1)
    made.nodes[0].inputs[0].binding.scalar.SetInParent()
    with pytest.raises(CompileErrors) as caught:
        compile_workflow(made, [], TASKS)
    assert codes(caught) == {("UnrecognizedValue", "n0")}


def test_more_nodes_than_the_limit_are_refused_with_its_name() -> None:
    with pytest.raises(CompileErrors, match=r"Limits\.nodes allows 5"):
        compile_workflow(shapes.chain(6), [], TASKS, limits=Limits(nodes=5))
    compile_workflow(shapes.chain(5), [], TASKS, limits=Limits(nodes=5))


def test_more_bytes_than_the_limit_are_refused_with_its_name() -> None:
    with pytest.raises(CompileErrors, match=r"Limits\.bytes allows 100"):
        compile_workflow(shapes.chain(6), [], TASKS, limits=Limits(bytes=100))


def nested(levels: int) -> workflow_pb2.WorkflowTemplate:
    made = shapes.workflow()
    node = made.nodes.add(id="n0")
    for _ in range(levels):
        node.array_node.node.id = "inner"
        node = node.array_node.node
    node.CopyFrom(shapes.add_node(shapes.workflow(), "inner"))
    return made


def repeating(**array: Any) -> dict[str, Any]:
    """The array of a map task's node in its resource."""
    made = nested(1)
    for name in ("a", "b"):
        shapes.bind(made.nodes[0], name, "start-node", "x")
    made.nodes[0].array_node.MergeFrom(workflow_pb2.ArrayNode(**array))
    resource = build_resource(compile_workflow(made, [], TASKS), None, None, "ns")
    found: dict[str, Any] = resource["spec"]["nodes"]["n0"]["array"]
    return found


def test_what_flytes_compiler_drops_of_a_map_task_is_in_its_resource() -> None:
    own_files = workflow_pb2.ArrayNode.INDIVIDUAL_INPUT_FILES
    spec = repeating(data_mode=own_files, run_all_sub_nodes=True)
    assert (spec["dataMode"], spec["RunAllSubNodes"]) == (1, True)
    assert not {"dataMode", "RunAllSubNodes"} & repeating().keys()


def mapping(result: types_pb2.LiteralType, **array: Any) -> workflow_pb2.WorkflowTemplate:
    """A workflow that maps `add` over its list `x`, with the same `b` for each item, as flytekit maps what it does not
    wrap in lists itself; its output is of this type.
    """
    made = nested(1)
    made.interface.inputs.variables["x"].type.collection_type.CopyFrom(shapes.INTEGER)
    made.interface.inputs.variables["z"].type.CopyFrom(shapes.INTEGER)
    made.interface.outputs.variables["y"].type.CopyFrom(result)
    shapes.bind(made.nodes[0], "a", "start-node", "x")
    shapes.bind(made.nodes[0], "b", "start-node", "z")
    made.nodes[0].array_node.is_original_sub_node_interface.value = True
    made.nodes[0].array_node.MergeFrom(workflow_pb2.ArrayNode(bound_inputs=["b"], **array))
    promise = made.outputs.add(var="y").binding.promise
    promise.node_id, promise.var = "n0", "o0"
    return made


INTEGERS = types_pb2.LiteralType(collection_type=shapes.INTEGER)
OPTIONAL = types_pb2.LiteralType(
    collection_type=types_pb2.LiteralType(
        union_type=types_pb2.UnionType(
            variants=[shapes.INTEGER, types_pb2.LiteralType(simple=types_pb2.SimpleType.NONE)]
        )
    )
)


@pytest.mark.parametrize(
    ("result", "array"),
    [
        (INTEGERS, {}),
        (INTEGERS, {"min_success_ratio": 1.0}),
        (INTEGERS, {"min_successes": 1}),
        (OPTIONAL, {"min_success_ratio": 0.5}),
    ],
)
def test_items_with_types_of_their_own_take_and_give_lists_of_them(
    result: types_pb2.LiteralType, array: dict[str, Any]
) -> None:
    compile_workflow(mapping(result, **array), [], TASKS)


@pytest.mark.parametrize(("result", "array"), [(INTEGERS, {"min_success_ratio": 0.5}), (shapes.INTEGER, {})])
def test_an_output_of_a_map_is_a_list_with_none_in_it_where_items_may_fail(
    result: types_pb2.LiteralType, array: dict[str, Any]
) -> None:
    with pytest.raises(CompileErrors, match="'y'") as caught:
        compile_workflow(mapping(result, **array), [], TASKS)
    assert codes(caught) == {("MismatchingTypes", "end-node")}


def test_nodes_nested_deeper_than_the_limit_are_refused_with_its_name() -> None:
    with pytest.raises(CompileErrors, match=r"Limits\.depth allows 24"):
        compile_workflow(nested(25), [], TASKS)


def test_messages_nested_deeper_than_protobuf_reads_are_refused_by_name() -> None:
    made = shapes.workflow()
    kind = made.interface.inputs.variables["y"].type
    for _ in range(300):
        kind = kind.collection_type
    kind.simple = types_pb2.SimpleType.INTEGER
    with pytest.raises(CompileErrors, match="nested deeper than protobuf's 100 levels"):
        compile_workflow(made, [], TASKS)


def test_ten_thousand_workflows_deep_is_not_too_deep() -> None:
    depth = 10_000
    subs = [shapes.calling([f"s{number + 1}"], f"s{number}") for number in range(depth)]
    last = shapes.workflow(f"s{depth}")
    shapes.add_node(last, "n0")
    closure = compile_workflow(shapes.calling(["s0"]), [*subs, last], TASKS)
    assert len(closure.sub_workflows) == depth + 1


def test_a_branch_in_a_workflow_with_two_callers_is_prefixed_twice() -> None:
    closure = compile_workflow(shapes.calling(["s", "t"]), [branching("s"), shapes.calling(["s"], "t")], TASKS)
    case = closure.sub_workflows[0].template.nodes[2].branch_node.if_else.case.then_node
    assert case.id == "n0-n0-c"


def test_calls_in_layers_take_time_in_the_layers_and_not_in_the_paths() -> None:
    depth = 60
    subs = [branching(f"s{depth}a"), branching(f"s{depth}b")]
    for layer in range(depth):
        called = [f"s{layer + 1}a", f"s{layer + 1}b"]
        subs += [shapes.calling(called, f"s{layer}{side}") for side in "ab"]
    closure = compile_workflow(shapes.calling(["s0a", "s0b"]), subs, TASKS)
    case = closure.sub_workflows[0].template.nodes[2].branch_node.if_else.case.then_node
    assert case.id == "n0-" * MAX_PASSES + "c"


def test_dropped_nodes_and_order_without_effect_are_told() -> None:
    made = shapes.chain(2)
    shapes.add_node(made, "n1")
    shapes.add_node(made, "end-node")
    made.nodes[0].upstream_node_ids.append("nobody")
    closure = compile_workflow(made, [], TASKS)
    assert [node.id for node in closure.primary.template.nodes] == ["start-node", "end-node", "n0", "n1"]
    dropped, named, ordered = find_warnings(made)
    assert "'n1'; the second, which is another one, is dropped" in dropped
    assert "'end-node'" in named
    assert "'nobody'" in ordered


def test_an_empty_template_and_a_sub_workflow_without_id_are_refused() -> None:
    with pytest.raises(CompileErrors) as caught:
        compile_workflow(workflow_pb2.WorkflowTemplate(), [], TASKS)
    assert (ErrorCode.VALUE_REQUIRED, "root") in codes(caught)
    with pytest.raises(CompileErrors, match="sub-workflow number 0 has no id"):
        find_requirements(shapes.chain(1), [workflow_pb2.WorkflowTemplate()])


def test_there_are_thirty_one_codes() -> None:
    assert len(ErrorCode) == 31


def test_a_missing_sub_workflow_is_reported_for_every_node_that_calls_it() -> None:
    made = shapes.calling(["gone", "here", "gone", "other"])
    branch = made.nodes.add(id="n4")
    shapes.call(made, "case", "gone")
    block = branch.branch_node.if_else
    block.case.then_node.CopyFrom(made.nodes[-1])
    block.else_node.CopyFrom(made.nodes[-1])
    block.else_node.id = "else"
    del made.nodes[-1]
    shapes.call(made, "n5", "gone")
    made.failure_node.CopyFrom(made.nodes[-1])
    made.failure_node.id = "fn"
    here = shapes.calling(["gone"], "here")
    here.nodes[0].id = "inside"
    with pytest.raises(CompileErrors) as caught:
        compile_workflow(made, [here], TASKS)
    callers = ["n0", "n2", "n3", "case", "else", "n5", "fn", "inside"]
    assert codes(caught) == {("WorkflowReferenceNotFound", node_id) for node_id in callers}


def test_a_recursion_is_reported_for_every_node_that_closes_it() -> None:
    with pytest.raises(CompileErrors) as caught:
        compile_workflow(shapes.calling(["s"]), [shapes.calling(["s", "s"], "s")], TASKS)
    assert codes(caught) == {("CycleDetected", "n0"), ("CycleDetected", "n1")}


def test_errors_of_a_shared_launch_plan_are_reported_for_each_node() -> None:
    """Its outputs are read once."""
    made = shapes.workflow()
    for number in range(3):
        made.nodes.add(id=f"n{number}").workflow_node.launchplan_ref.CopyFrom(shapes.workflow_id("lp"))
    plan = launch_plan_pb2.LaunchPlan(id=shapes.workflow_id("lp"))
    plan.closure.expected_inputs.SetInParent()
    plan.closure.expected_outputs.variables["o"].description = "without a type"
    with pytest.raises(CompileErrors) as caught:
        compile_workflow(made, [], TASKS, [plan])
    assert codes(caught) == {("ValueRequired", f"n{number}") for number in range(3)}
