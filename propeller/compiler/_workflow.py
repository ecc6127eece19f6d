"""Compile a workflow with everything that it calls: check it, add start and end nodes, connections and ids.

Guarantees
    Accepts and refuses what Flyte v1.16.8 accepts and refuses, with the same codes at the same nodes; the closure is
    equal to Flyte's (flytepropeller/pkg/compiler/workflow_compiler.go). All errors are reported, not only the first.
    Time is linear in nodes and bindings; nothing is recursive; the messages passed in are not changed.
Caveats
    A sub-workflow that calls itself (Flyte overflows its stack), and a workflow that exceeds `Limits`, is refused by
    name.
    Flyte drops a second node with the same id. It also compiles a sub-workflow again for each workflow that calls it,
    which prefixes the branch's id to its cases' ids each time. Both are mirrored, the latter up to `MAX_PASSES` times;
    `find_warnings` warns of the former.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flyteidl.core import compiler_pb2, workflow_pb2
from google.protobuf.message import DecodeError, Message

from propeller.compiler._bindings import Direction, validate_bindings
from propeller.compiler._errors import CompileError, CompileErrors, ErrorCode, Errors
from propeller.compiler._graph import find_cycle, reachable
from propeller.compiler._ids import END_NODE, START_NODE, identifier_text
from propeller.compiler._launch_plans import drop_fixed_inputs
from propeller.compiler._limits import DEFAULT_LIMITS, Limits, exceeded
from propeller.compiler._nodes import add_edges, validate_node
from propeller.compiler._requirements import PRIMARY, find_recursion, index_by_id, read_requirements
from propeller.compiler._scope import Compilation, Interface, Node, Unit, Workflow
from propeller.compiler._trampoline import Trampoline, run

MAX_PASSES = 16
"""Passes over one sub-workflow with branches. Flyte makes one pass for each call path that leads to it, which is
exponential.
"""

_CLOSURE = compiler_pb2.CompiledWorkflowClosure.DESCRIPTOR.fields_by_name
_TEMPLATE_FIELD = 1
_ENDS = workflow_pb2.WorkflowTemplate(
    nodes=[workflow_pb2.Node(id=START_NODE), workflow_pb2.Node(id=END_NODE)]
).SerializeToString()


def compile_workflow(
    template: workflow_pb2.WorkflowTemplate,
    sub_workflows: Sequence[workflow_pb2.WorkflowTemplate] = (),
    tasks: Sequence[compiler_pb2.CompiledTask] = (),
    launch_plans: Sequence[Any] = (),
    *,
    limits: Limits = DEFAULT_LIMITS,
) -> compiler_pb2.CompiledWorkflowClosure:
    """Compile a workflow. `launch_plans` are flyteidl.admin.LaunchPlan messages whose closure has the expected inputs
    and outputs. Raises CompileErrors.
    """
    errors = Errors()
    if not template.ByteSize():
        errors.add(ErrorCode.VALUE_REQUIRED, "root", "there is no workflow: the template is empty")
    for task in tasks:
        if not task.template.HasField("id"):
            errors.add(ErrorCode.VALUE_REQUIRED, "task", "a task has no id")
    errors.raise_if_any()
    units = index_by_id(sub_workflows, errors)
    errors.raise_if_any()
    closure = _assemble(template, sub_workflows, tasks, limits)
    plans = {identifier_text(plan.id if plan.HasField("id") else None): plan for plan in launch_plans}
    drop_fixed_inputs(_templates_in(closure), plans, errors)
    errors.raise_if_any()
    compilation = Compilation(closure, plans, _validate_unit, limits)
    _check_requirements(template, units, compilation)
    run(_validate_unit(compilation, compilation.primary))
    compilation.errors.raise_if_any()
    for unit in (compilation.primary, *compilation.units.values()):
        if not unit.passes:
            del unit.core.template.nodes[:2]  # never called: it stays as it was given
    return closure


def _templates_in(closure: compiler_pb2.CompiledWorkflowClosure) -> list[workflow_pb2.WorkflowTemplate]:
    return [closure.primary.template, *(one.template for one in closure.sub_workflows)]


def _assemble(
    template: workflow_pb2.WorkflowTemplate,
    sub_workflows: Sequence[workflow_pb2.WorkflowTemplate],
    tasks: Sequence[compiler_pb2.CompiledTask],
    limits: Limits,
) -> compiler_pb2.CompiledWorkflowClosure:
    """Build the closure: copies of everything, with start and end nodes in front of each workflow's own."""
    closure = compiler_pb2.CompiledWorkflowClosure()
    parts: list[tuple[str, bytes, Message]] = [("primary", _ENDS, template)]
    parts += [("sub_workflows", _ENDS, sub_workflow) for sub_workflow in sub_workflows]
    unique = {identifier_text(task.template.id): task.template for task in reversed(tasks)}
    parts += [("tasks", b"", task) for task in reversed(unique.values())]
    size = 0
    for field, head, message in parts:
        data = message.SerializeToString()
        size += len(data)
        if size > limits.bytes:
            raise exceeded("bytes", size, limits.bytes, "the size of the messages")
        wrapped = _delimited(_CLOSURE[field].number, _delimited(_TEMPLATE_FIELD, head + data))
        try:
            closure.MergeFromString(wrapped)
        except DecodeError as error:
            name = getattr(getattr(message, "id", None), "name", "")
            raise CompileErrors(
                (CompileError(ErrorCode.INVALID_VALUE, "", f"{name!r} is nested deeper than protobuf's 100 levels"),)
            ) from error
    return closure


def _delimited(number: int, data: bytes) -> bytes:
    """Encode a field of bytes or of a message for the wire."""
    head = bytearray([number << 3 | 2])
    length = len(data)
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + data


def _check_requirements(
    template: workflow_pb2.WorkflowTemplate, units: dict[str, workflow_pb2.WorkflowTemplate], compilation: Compilation
) -> None:
    """Check that everything referred to exists; if not, only that is reported."""
    errors = compilation.errors
    references = read_requirements(template, units, errors)
    if references.nodes > compilation.limits.nodes:
        raise exceeded("nodes", references.nodes, compilation.limits.nodes, "the number of nodes")
    for key in references.launch_plans:
        if key not in compilation.launch_plans:
            errors.add(ErrorCode.WORKFLOW_REFERENCE_NOT_FOUND, START_NODE, f"there is no launch plan {key}")
    for key in references.tasks:
        if key not in compilation.tasks:
            errors.add(ErrorCode.TASK_REFERENCE_NOT_FOUND, START_NODE, f"there is no task {key}")
    find_recursion(references, errors)
    errors.raise_if_any()
    compilation.primary.has_branches = PRIMARY in references.with_branches
    for core in compilation.closure.sub_workflows:
        unit = Unit(core)
        unit.has_branches = unit.key in references.with_branches
        compilation.units[unit.key] = unit


def _validate_unit(compilation: Compilation, unit: Unit) -> Trampoline[bool]:
    """Validate a workflow; return the earlier verdict if another pass could not change it."""
    errors = compilation.errors
    if unit.passes and (not unit.has_branches or unit.passes >= MAX_PASSES):
        if not unit.valid:
            errors.again()
        return unit.valid
    unit.passes += 1
    before, outer = errors.count, errors.workflow
    errors.workflow = "" if unit is compilation.primary else unit.core.template.id.name
    yield _validate_once(compilation, unit)
    errors.workflow = outer
    unit.valid = errors.count == before
    return unit.valid


def _validate_once(compilation: Compilation, unit: Unit) -> Trampoline[None]:
    errors, template = compilation.errors, unit.core.template
    given = template.nodes[2:]
    if not given:
        errors.add(ErrorCode.NO_NODES_FOUND, unit.key, "the workflow has no nodes")
        return
    interface = compilation.unit_interface(unit)
    for problem in interface.problems:
        errors.add(ErrorCode.VALUE_REQUIRED, START_NODE, problem)
    if interface.problems:
        return
    workflow = Workflow(compilation, unit)
    start, end = Node(template.nodes[0]), Node(template.nodes[1])
    start.interface = Interface({}, interface.inputs)
    end.interface = Interface(interface.outputs, {})
    workflow.nodes = {START_NODE: start, END_NODE: end}
    kept: list[workflow_pb2.Node] = []
    for core in given:
        node = Node(core)
        if node.id not in workflow.nodes:
            workflow.nodes[node.id] = node
            kept.append(core)
        yield validate_node(workflow, node, errors)
    for node in workflow.nodes.values():
        if node is not start and node is not end:
            add_edges(workflow, node, errors, Direction.BOTH)
    validate_bindings(workflow, end, template.outputs, interface.outputs, errors, Direction.BOTH)
    if template.HasField("failure_node"):
        failure = Node(template.failure_node)
        yield validate_node(workflow, failure, errors)
        add_edges(workflow, failure, errors, Direction.UPSTREAM)
    _connect_start_and_end(workflow)
    _check_reachability(workflow, errors)
    _complete(workflow, kept)


def _connect_start_and_end(workflow: Workflow) -> None:
    """Connect nodes without upstream to the start node, and nodes without downstream to the end node."""
    for node_id in workflow.nodes:
        if node_id in {START_NODE, END_NODE}:
            continue
        if node_id not in workflow.upstream:
            workflow.add_edge(START_NODE, node_id)
        if node_id not in workflow.downstream:
            workflow.add_edge(node_id, END_NODE)


def _check_reachability(workflow: Workflow, errors: Errors) -> None:
    cycle = find_cycle(workflow.downstream, START_NODE)
    if cycle:
        errors.add(ErrorCode.CYCLE_DETECTED, START_NODE, f"nodes wait for each other: {' > '.join(cycle)}")
        return
    reached = reachable(workflow.downstream, START_NODE)
    if len(reached) != len(workflow.nodes):
        lost = workflow.nodes.keys() - reached - {END_NODE}
        if lost:
            message = f"the start leads to none of {', '.join(sorted(lost))}"
            errors.add(ErrorCode.UNREACHABLE_NODES, START_NODE, message)


def _complete(workflow: Workflow, kept: list[workflow_pb2.Node]) -> None:
    """Write nodes, outputs and connections into the message."""
    core = workflow.unit.core
    nodes = core.template.nodes
    if len(kept) + 2 < len(nodes):
        ends = nodes[:2]
        del nodes[:]
        nodes.extend([*ends, *kept])
    end = nodes[1]
    del end.inputs[:]
    end.inputs.extend(core.template.outputs)
    core.connections.Clear()
    core.connections.SetInParent()
    for edges, target in (
        (workflow.downstream, core.connections.downstream),
        (workflow.upstream, core.connections.upstream),
    ):
        for node_id, others in edges.items():
            target[node_id].ids.extend(sorted(others))
