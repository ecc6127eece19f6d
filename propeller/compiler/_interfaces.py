"""Find a node's interface: the inputs and outputs of the task or workflow that it runs.

Source: flytepropeller/pkg/compiler/validators/interface.go and branch.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from flyteidl.core import workflow_pb2

from propeller.compiler._bindings import Direction, validate_bindings
from propeller.compiler._errors import ErrorCode, Errors
from propeller.compiler._ids import identifier_text
from propeller.compiler._limits import exceeded
from propeller.compiler._scope import Interface, Node, Workflow
from propeller.compiler._trampoline import Trampoline
from propeller.compiler._types import Type, Types

_LIST = "collection_type"


def find_interface(workflow: Workflow, node: Node, errors: Errors) -> Trampoline[bool]:
    """Whether the node's interface is right; it is in `node.interface` then."""
    if node.interface is not None:
        return True
    before = errors.count
    match node.target:
        case "task_node":
            found = _of_task(workflow, node, errors)
        case "workflow_node":
            found = _of_workflow(workflow, node, errors)
        case "branch_node":
            found = yield _of_branch(workflow, node, errors)
        case "gate_node":
            found = _of_gate(workflow, node, errors)
        case "array_node":
            found = yield _of_array(workflow, node, errors)
        case _:
            errors.add(ErrorCode.VALUE_REQUIRED, node.id, "the node runs nothing: it has no target")
            found = None
    if found is not None:
        for problem in found.problems:
            errors.add(ErrorCode.VALUE_REQUIRED, node.id, problem)
    if errors.count != before:
        return False
    node.interface = found
    return True


def inner_node(workflow: Workflow, node: Node, place: str, core: workflow_pb2.Node) -> Node:
    """Return the node at `place` inside another; it is created once."""
    found = node.inner.get(place)
    if found is None:
        depth = node.depth + 1
        limits = workflow.compilation.limits
        if depth > limits.depth:
            raise exceeded("depth", depth, limits.depth, f"the nesting of nodes around {core.id!r}")
        found = node.inner[place] = Node(core, depth)
    return found


def cases_of(workflow: Workflow, node: Node) -> Iterator[tuple[workflow_pb2.IfBlock, Node | None]]:
    """The conditional cases of a branch that are there, and their nodes."""
    block = node.core.branch_node.if_else
    if block.HasField("case"):
        yield block.case, _case(workflow, node, "case", block.case)
    for index, other in enumerate(block.other):
        yield other, _case(workflow, node, f"other {index}", other)


def else_of(workflow: Workflow, node: Node) -> Node | None:
    block = node.core.branch_node.if_else
    return inner_node(workflow, node, "else", block.else_node) if block.HasField("else_node") else None


def _case(workflow: Workflow, node: Node, place: str, block: workflow_pb2.IfBlock) -> Node | None:
    return inner_node(workflow, node, place, block.then_node) if block.HasField("then_node") else None


def _of_task(workflow: Workflow, node: Node, errors: Errors) -> Interface | None:
    task = node.core.task_node
    if not task.HasField("reference_id"):
        errors.add(ErrorCode.VALUE_REQUIRED, node.id, "the node runs a task and does not say which")
        return None
    key = identifier_text(task.reference_id)
    if key not in workflow.compilation.tasks:
        errors.add(ErrorCode.TASK_REFERENCE_NOT_FOUND, node.id, f"there is no task {key}")
        return None
    return workflow.compilation.task_interface(key)


def _of_workflow(workflow: Workflow, node: Node, errors: Errors) -> Interface | None:
    target = node.core.workflow_node
    launch_plan = identifier_text(target.launchplan_ref if target.HasField("launchplan_ref") else None)
    if launch_plan == workflow.unit.key:
        return _of_unit(workflow, workflow.unit.key, node, errors)
    if target.HasField("launchplan_ref"):
        return _of_launch_plan(workflow, launch_plan, node, errors)
    if target.HasField("sub_workflow_ref"):
        return _of_unit(workflow, identifier_text(target.sub_workflow_ref), node, errors)
    errors.add(ErrorCode.WORKFLOW_REFERENCE_NOT_FOUND, node.id, "the node runs a workflow and does not say which")
    return None


def _of_unit(workflow: Workflow, key: str, node: Node, errors: Errors) -> Interface | None:
    unit = workflow.unit if key == workflow.unit.key else workflow.compilation.units.get(key)
    if unit is None:
        errors.add(ErrorCode.WORKFLOW_REFERENCE_NOT_FOUND, node.id, f"there is no sub-workflow {key}")
        return None
    if not unit.core.template.HasField("interface"):
        errors.add(ErrorCode.VALUE_REQUIRED, node.id, f"sub-workflow {key} has no interface")
        return None
    return workflow.compilation.unit_interface(unit)


def _of_launch_plan(workflow: Workflow, key: str, node: Node, errors: Errors) -> Interface | None:
    """Of its inputs, those that are required and those that the node binds. Fixed ones are no parameters at all."""
    plan = workflow.compilation.launch_plans.get(key)
    if plan is None:
        errors.add(ErrorCode.WORKFLOW_REFERENCE_NOT_FOUND, node.id, f"there is no launch plan {key}")
        return None
    types = workflow.compilation.types
    for field in ("expected_inputs", "expected_outputs"):
        if not plan.closure.HasField(field):
            errors.add(ErrorCode.VALUE_REQUIRED, node.id, f"launch plan {key} has no {field}: it is not registered")
    problems: list[str] = []
    bound = {binding.var for binding in node.core.inputs}
    inputs: dict[str, Type] = {}
    parameters = plan.closure.expected_inputs.parameters
    for name in parameters:
        parameter = parameters[name]
        if not parameter.required and name not in bound:
            continue
        if not name or not parameter.var.HasField("type"):
            problems.append(f"input {name!r} of launch plan {key} has no {'type' if name else 'name'}")
        inputs[name] = types.of(parameter.var.type) if parameter.var.HasField("type") else types.missing
    outputs = workflow.compilation.launch_plan_outputs(key, problems)
    return Interface(inputs, outputs, tuple(problems))


def _of_gate(workflow: Workflow, node: Node, errors: Errors) -> Interface | None:
    gate = node.core.gate_node
    match gate.WhichOneof("condition"):
        case "approve":
            passed = validate_bindings(
                workflow, node, node.core.inputs, {}, errors, Direction.UPSTREAM, check_types=False
            )
            return Interface(passed, passed, _problems_of(passed))
        case "signal":
            if not gate.signal.HasField("type"):
                errors.add(ErrorCode.VALUE_REQUIRED, node.id, "the signal has no type")
                return None
            if not gate.signal.output_variable_name:
                errors.add(ErrorCode.VALUE_REQUIRED, node.id, "the signal has no outputVariableName")
                return None
            types = workflow.compilation.types
            return Interface({}, {gate.signal.output_variable_name: types.of(gate.signal.type)})
        case "sleep":
            return Interface({}, {})
        case _:
            errors.add(ErrorCode.NO_CONDITION_FOUND, node.id, "the gate waits for nothing: it has no condition")
            return None


def _of_array(workflow: Workflow, node: Node, errors: Errors) -> Trampoline[Interface | None]:
    """Return the interface of the repeated node. flytekit has wrapped the mapped types of a task in lists already; of a
    launch plan and of a task that it only refers to it says that it has not, and they are wrapped here.
    """
    array = node.core.array_node
    if not array.HasField("node"):
        errors.add(ErrorCode.VALUE_REQUIRED, "", "the array node has no node to repeat")
        return None
    inner = inner_node(workflow, node, "array", array.node)
    found = yield find_interface(workflow, inner, errors)
    if not found or inner.interface is None or not array.is_original_sub_node_interface.value:
        return inner.interface if found else None
    return _of_items(workflow.compilation.types, inner.interface, array)


def _of_items(types: Types, item: Interface, array: workflow_pb2.ArrayNode) -> Interface:
    """Return lists of an item's inputs but for the bound ones, and of its outputs: with None among them if a ratio of
    the items may fail (flytekit's `transform_interface_to_list_interface`).
    """
    may_fail = array.WhichOneof("success_criteria") == "min_success_ratio" and array.min_success_ratio != 1
    bound = frozenset(array.bound_inputs)
    inputs = {name: kind if name in bound else types.holder(_LIST, kind) for name, kind in item.inputs.items()}
    outputs = {
        name: types.holder(_LIST, types.optional(kind) if may_fail else kind) for name, kind in item.outputs.items()
    }
    return Interface(inputs, outputs, item.problems)


def _of_branch(workflow: Workflow, node: Node, errors: Errors) -> Trampoline[Interface | None]:
    """Return the outputs that all cases have in common; the inputs are the bound ones."""
    block = node.core.branch_node.if_else
    if not node.core.branch_node.HasField("if_else") or not block.HasField("case"):
        errors.add(ErrorCode.VALUE_REQUIRED, node.id, "the branch has no case")
        return None
    if not block.case.HasField("then_node"):
        errors.add(ErrorCode.VALUE_REQUIRED, node.id, "the branch's first case has no node")
        return None
    before = errors.count
    cases = [case for _, case in cases_of(workflow, node)]
    if None in cases:
        errors.add(ErrorCode.VALUE_REQUIRED, node.id, "a case of the branch has no node")
    cases.append(else_of(workflow, node))
    outputs: dict[str, Type] | None = None
    for case in cases:
        if case is None:
            continue
        _rename(workflow, node, case)
        if not (yield find_interface(workflow, case, errors)):
            continue
        assert case.interface is not None
        if outputs is None:
            outputs = dict(case.interface.outputs)
        else:
            outputs = _in_common(case, outputs, case.interface.outputs, errors)
    inputs = validate_bindings(workflow, node, node.core.inputs, {}, errors, Direction.UPSTREAM, check_types=False)
    if errors.count != before or outputs is None:
        return None
    return Interface(inputs, outputs, _problems_of(inputs))


def _rename(workflow: Workflow, branch: Node, case: Node) -> None:
    """Cases are nodes of the workflow too: their branch's id makes theirs its own."""
    length, most = len(branch.id) + 1 + len(case.id), workflow.compilation.limits.id_length
    if length > most:
        raise exceeded("id_length", length, most, f"the length of the id of a case of {branch.id[:40]!r}")
    case.rename(f"{branch.id}-{case.id}")


def _in_common(case: Node, first: dict[str, Type], other: dict[str, Type], errors: Errors) -> dict[str, Type]:
    common = {name: kind for name, kind in first.items() if name in other}
    for name, kind in common.items():
        if other[name] is not kind:
            errors.add(
                ErrorCode.MISMATCHING_TYPES,
                case.id,
                f"output {name!r} is of type {other[name]} here, and of type {kind} in another case of the branch",
            )
    return common


def _problems_of(variables: dict[str, Type]) -> tuple[str, ...]:
    """Return the problems of variables whose types come from bindings."""
    return tuple(
        f"input {name!r} has no {'type' if name else 'name'}"
        for name, kind in variables.items()
        if not name or kind.missing
    )
