"""Evaluate the conditions of a branch on its inputs (flytepropeller nodes/branch). Both sides of a conjunction are
evaluated.
"""

from __future__ import annotations

from typing import Any

from flyteidl.core import condition_pb2, literals_pb2
from google.protobuf import json_format

from propeller.errors import Invalid
from propeller.wire import ByName
from propeller.workflow import BranchEvaluated, EffectFailed, Failure, NodeView, parse_message

_OPERATORS = condition_pb2.ComparisonExpression.Operator


def choose(node: NodeView, inputs: ByName) -> BranchEvaluated | EffectFailed:
    """Return the first case whose condition holds, otherwise the else-case, otherwise the failure that the author wrote
    for it.
    """
    branch = node.spec.branch
    assert branch is not None
    try:
        for case in branch.cases:
            if evaluate(_expression(bytes(case.condition)), inputs):
                return BranchEvaluated(case.then)
    except Invalid as error:
        return _failed(node, "MalformedBranchUserError", str(error))
    if branch.else_:
        return BranchEvaluated(branch.else_)
    if branch.else_fail is not None:
        return _failed(node, "UserProvidedError", str(branch.else_fail.get("message", "")))
    return _failed(node, "MalformedBranchUserError", "no condition holds, and there is no else")


def _failed(node: NodeView, code: str, message: str) -> EffectFailed:
    return EffectFailed(0, Failure(code, message, node=node.execution.unique_id(node.number)))


def evaluate(expression: condition_pb2.BooleanExpression, inputs: ByName) -> bool:
    """Whether an expression holds. Raises Invalid if it is malformed or compares values that cannot be compared."""
    match expression.WhichOneof("expr"):
        case "comparison":
            return _compare(expression.comparison, inputs)
        case "conjunction":
            left = evaluate(expression.conjunction.left_expression, inputs)
            right = evaluate(expression.conjunction.right_expression, inputs)
            if expression.conjunction.operator == condition_pb2.ConjunctionExpression.OR:
                return left or right
            return left and right
        case _:
            raise Invalid("a branch's condition is neither a comparison nor a conjunction")


def _expression(raw: bytes) -> condition_pb2.BooleanExpression:
    """Parse strictly: if an unknown part were ignored, the condition would mean something else."""
    try:
        return json_format.Parse(raw, condition_pb2.BooleanExpression())
    except (json_format.ParseError, TypeError, AttributeError, ValueError) as error:
        parse_message(raw, condition_pb2.BooleanExpression(), "a branch's condition")  # names a field of another type
        raise Invalid(f"a branch's condition is malformed: {error}") from error


def _compare(comparison: condition_pb2.ComparisonExpression, inputs: ByName) -> bool:
    left_kind, left = _value(comparison.left_value, inputs)
    right_kind, right = _value(comparison.right_value, inputs)
    if left_kind != right_kind:
        raise Invalid(f"a branch compares a {left_kind} with a {right_kind}")
    operator = comparison.operator
    if operator not in _OPERATORS.values():
        raise Invalid(f"a branch's condition has operator {operator}; there are {', '.join(_OPERATORS.keys())}")
    if left_kind in {"boolean", "none_type"} and operator not in {_OPERATORS.Value("EQ"), _OPERATORS.Value("NEQ")}:
        raise Invalid(f"{_OPERATORS.Name(operator)} is not defined for {left_kind} values")
    match _OPERATORS.Name(operator):
        case "EQ":
            return bool(left == right)
        case "NEQ":
            return bool(left != right)
        case "GT":
            return bool(left > right)
        case "GTE":
            return bool(left >= right)
        case "LT":
            return bool(left < right)
        case _:
            return bool(left <= right)


def _value(operand: condition_pb2.Operand, inputs: ByName) -> tuple[str, Any]:
    """Return an operand's kind, and a Python value that compares as that kind does."""
    match operand.WhichOneof("val"):
        case "primitive":
            return _primitive(operand.primitive)
        case "scalar":
            return _scalar(operand.scalar, "a literal")
        case _:
            if operand.var not in inputs.literals:
                raise Invalid(f"a branch's condition names {operand.var!r}; its inputs are {sorted(inputs.literals)}")
            literal = inputs.literals[operand.var]
            while literal.scalar.HasField("union"):
                literal = literal.scalar.union.value
            if (kind := literal.WhichOneof("value")) != "scalar":
                raise Invalid(f"only primitive values can be compared; {operand.var!r} is {kind or 'empty'}")
            return _scalar(literal.scalar, repr(operand.var))


def _scalar(scalar: literals_pb2.Scalar, name: str) -> tuple[str, Any]:
    match scalar.WhichOneof("value"):
        case "primitive":
            return _primitive(scalar.primitive)
        case "none_type":
            return "none_type", None
        case kind:
            raise Invalid(f"only primitive values can be compared; {name} is {kind or 'empty'}")


def _primitive(primitive: literals_pb2.Primitive) -> tuple[str, Any]:
    kind = primitive.WhichOneof("value")
    if kind is None:
        return "none_type", None
    value = getattr(primitive, kind)
    if kind in {"datetime", "duration"}:
        return kind, (value.seconds, value.nanos)
    return kind, value
