"""Validate the conditions of a branch: the operands exist, and have one type.

Source: flytepropeller/pkg/compiler/validators/condition.go.
"""

from __future__ import annotations

from flyteidl.core import condition_pb2

from propeller.compiler._errors import ErrorCode, Errors
from propeller.compiler._literals import type_of_primitive
from propeller.compiler._scope import Node
from propeller.compiler._types import Type, Types


def validate_condition(
    types: Types, node: Node, condition: condition_pb2.BooleanExpression | None, errors: Errors
) -> None:
    """Check one condition of branch `node`, whose interface defines the variables that it may compare."""
    stack = [condition]
    while stack:
        expression = stack.pop()
        kind = expression.WhichOneof("expr") if expression is not None else None
        if expression is None:
            errors.add(
                ErrorCode.BRANCH_NODE_HAS_NO_CONDITION, node.id, "a case, or half of a conjunction, has no condition"
            )
        elif kind == "comparison":
            _validate_comparison(types, node, expression.comparison, errors)
        elif kind == "conjunction":
            conjunction = expression.conjunction
            stack.append(conjunction.left_expression if conjunction.HasField("left_expression") else None)
            stack.append(conjunction.right_expression if conjunction.HasField("right_expression") else None)
        else:
            errors.add(ErrorCode.VALUE_REQUIRED, node.id, "a condition is empty")


def _validate_comparison(
    types: Types, node: Node, comparison: condition_pb2.ComparisonExpression, errors: Errors
) -> None:
    before = errors.count
    found = [
        _type_of(types, node, side, getattr(comparison, side) if comparison.HasField(side) else None, errors)
        for side in ("right_value", "left_value")
    ]
    right, left = found
    if errors.count == before and right is not None and left is not None and right is not left:
        errors.add(ErrorCode.MISMATCHING_TYPES, node.id, f"a condition compares {left} with {right}")


def _type_of(types: Types, node: Node, side: str, operand: condition_pb2.Operand | None, errors: Errors) -> Type | None:
    """Return the operand's type; None if it is wrong or unknown."""
    if operand is None:
        errors.add(ErrorCode.VALUE_REQUIRED, node.id, f"a condition has no {side}")
        return None
    if operand.HasField("primitive"):
        return type_of_primitive(types, operand.primitive)
    variable = operand.var
    if not variable:
        errors.add(ErrorCode.VALUE_REQUIRED, node.id, f"the {side} of a condition is empty")
        return None
    if node.interface is None:
        errors.add(ErrorCode.VALUE_REQUIRED, node.id, f"a condition uses {variable!r}, whose type is not known")
        return None
    found = node.interface.inputs.get(variable)
    if found is None and all(binding.var != variable for binding in node.core.inputs):
        errors.add(ErrorCode.VARIABLE_NAME_NOT_FOUND, node.id, f"a condition uses {variable!r}, which is no input")
    return found
