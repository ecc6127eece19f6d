"""Validate one node: its interface, its aliases, and the nodes inside it.

Source: flytepropeller/pkg/compiler/validators/node.go.
"""

from __future__ import annotations

from flyteidl.core import workflow_pb2

from propeller.compiler._bindings import DROPPED_CALL, Direction, validate_bindings
from propeller.compiler._conditions import validate_condition
from propeller.compiler._errors import ErrorCode, Errors
from propeller.compiler._ids import END_NODE, START_NODE, identifier_text
from propeller.compiler._interfaces import cases_of, else_of, find_interface
from propeller.compiler._outputs import outputs_of
from propeller.compiler._scope import Node, Workflow
from propeller.compiler._trampoline import Trampoline


def validate_node(workflow: Workflow, node: Node, errors: Errors) -> Trampoline[bool]:
    """Check a node by itself; its own bindings are checked when all nodes are known (`add_edges`)."""
    before = errors.count
    if not node.id:
        errors.add(ErrorCode.VALUE_REQUIRED, "<node>", "a node has no id")
    if node.id in {START_NODE, END_NODE}:
        return True
    if (yield find_interface(workflow, node, errors)):
        outputs_of(node, errors)
    upstream = node.core.upstream_node_ids
    if len(upstream) > 1:
        upstream.sort()
    if node.target == "branch_node":
        cases = yield _validate_branch(workflow, node, errors)
        for case in cases:
            add_edges(workflow, case, errors, Direction.UPSTREAM)
            if node.id in workflow.upstream.get(case.id, ()):
                message = (
                    f"a case of branch {node.id!r} takes a value of that branch: it waits for itself; {DROPPED_CALL}"
                )
                errors.add(ErrorCode.CYCLE_DETECTED, case.id, message)
    elif node.target == "workflow_node" and node.core.workflow_node.HasField("sub_workflow_ref"):
        yield _validate_sub_workflow(workflow, node, errors)
    return errors.count == before


def add_edges(workflow: Workflow, node: Node, errors: Errors, direction: Direction) -> None:
    """The edges that the user wrote, and those that bindings are."""
    if node.interface is None:
        return
    if direction is Direction.BOTH:
        for upstream in node.core.upstream_node_ids:
            workflow.add_edge(upstream, node.id)
    validate_bindings(workflow, node, node.core.inputs, node.interface.inputs, errors, direction)


def _validate_branch(workflow: Workflow, node: Node, errors: Errors) -> Trampoline[list[Node]]:
    """Check conditions and cases; return the cases, or none if anything is wrong."""
    before = errors.count
    block: workflow_pb2.IfElseBlock = node.core.branch_node.if_else
    if not block.HasField("case"):
        errors.add(ErrorCode.BRANCH_NODE_HAS_NO_CONDITION, node.id, "the branch has no case")
    cases: list[Node] = []
    for case, then in cases_of(workflow, node):
        condition = case.condition if case.HasField("condition") else None
        validate_condition(workflow.compilation.types, node, condition, errors)
        if then is None:
            errors.add(ErrorCode.BRANCH_NODE_ID_NOT_FOUND, node.id, "a case of the branch has no node")
        else:
            cases.append(then)
    otherwise = else_of(workflow, node)
    if otherwise is not None:
        cases.append(otherwise)
    elif block.WhichOneof("default") is None:
        errors.add(ErrorCode.BRANCH_NODE_HAS_NO_DEFAULT, node.id, "the branch has neither an else nor an error")
    for then in cases:
        yield validate_node(workflow, then, errors)
    return cases if errors.count == before else []


def _validate_sub_workflow(workflow: Workflow, node: Node, errors: Errors) -> Trampoline[None]:
    key = identifier_text(node.core.workflow_node.sub_workflow_ref)
    if key in workflow.compiled:
        return
    unit = workflow.compilation.units.get(key)
    if unit is None:
        errors.add(ErrorCode.WORKFLOW_REFERENCE_NOT_FOUND, node.id, f"there is no sub-workflow {key}")
    elif (yield workflow.compilation.validate(unit)):
        workflow.compiled.add(key)
