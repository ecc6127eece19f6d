"""Which case of a branch is chosen."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
from flyteidl.core import condition_pb2, literals_pb2
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.handlers.executors._branch import choose, evaluate
from propeller.workflow import BranchEvaluated, EffectFailed, Failure
from tests.unit.handlers.build import World, graph, literals, task
from tests.unit.storage.values import literal, msgpack, offloaded, struct, union

Expression = condition_pb2.BooleanExpression
Comparison = condition_pb2.ComparisonExpression
Conjunction = condition_pb2.ConjunctionExpression

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "EQ": operator.eq,
    "NEQ": operator.ne,
    "GT": operator.gt,
    "GTE": operator.ge,
    "LT": operator.lt,
    "LTE": operator.le,
}


def operand(value: Any, *, as_scalar: bool = False) -> condition_pb2.Operand:
    """A constant, or with `Var` an input."""
    if isinstance(value, Var):
        return condition_pb2.Operand(var=value)
    scalar = literal(value).scalar
    if as_scalar or not scalar.HasField("primitive"):
        return condition_pb2.Operand(scalar=scalar)
    return condition_pb2.Operand(primitive=scalar.primitive)


class Var(str):
    """The name of an input."""

    __slots__ = ()


def compare(left: Any, name: str, right: Any) -> Expression:
    return Expression(
        comparison=Comparison(operator=name, left_value=operand(left), right_value=operand(right))  # type: ignore[arg-type, unused-ignore]
    )


def join(left: Expression, name: str, right: Expression) -> Expression:
    return Expression(conjunction=Conjunction(operator=name, left_expression=left, right_expression=right))  # type: ignore[arg-type, unused-ignore]


def holds(expression: Expression, **inputs: Any) -> bool:
    return evaluate(expression, literals(**inputs))


def moment(seconds: int, nanos: int = 0, kind: str = "datetime") -> literals_pb2.Literal:
    found = literals_pb2.Literal()
    value = getattr(found.scalar.primitive, kind)
    value.SetInParent()
    value.seconds, value.nanos = seconds, nanos
    return found


same_kind = st.one_of(
    st.tuples(st.integers(-5, 5), st.integers(-5, 5)),
    st.tuples(st.floats(allow_nan=True), st.floats(allow_nan=True)),
    st.tuples(st.text(max_size=2), st.text(max_size=2)),
)


@given(values=same_kind, name=st.sampled_from(sorted(OPERATORS)), left_is_input=st.booleans(), wrap=st.booleans())
def test_comparisons_are_pythons(values: tuple[Any, Any], name: str, left_is_input: bool, wrap: bool) -> None:
    left, right = values
    given_left = union(literal(left)) if wrap else literal(left)
    expression = compare(Var("x") if left_is_input else left, name, right)
    assert holds(expression, x=given_left) is OPERATORS[name](left, right)


@given(
    values=st.tuples(*[st.tuples(st.integers(-3, 3), st.integers(0, 2))] * 2), name=st.sampled_from(sorted(OPERATORS))
)
@pytest.mark.parametrize("kind", ["datetime", "duration"])
def test_times_compare_to_the_nanosecond(kind: str, values: tuple[Any, Any], name: str) -> None:
    left, right = values
    expression = compare(Var("x"), name, Var("y"))
    x, y = (moment(seconds, nanos, kind) for seconds, nanos in values)
    assert holds(expression, x=x, y=y) is OPERATORS[name](left, right)


comparisons = st.tuples(st.integers(0, 2), st.sampled_from(sorted(OPERATORS)), st.integers(0, 2)).map(
    lambda case: (compare(*case), OPERATORS[case[1]](case[0], case[2]))
)
"""Expressions over constants, each with what Python says of it."""


def joined(parts: tuple[tuple[Expression, bool], str, tuple[Expression, bool]]) -> tuple[Expression, bool]:
    (left, left_holds), name, (right, right_holds) = parts
    return join(left, name, right), left_holds and right_holds if name == "AND" else left_holds or right_holds


expressions = st.recursive(
    comparisons, lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(joined), max_leaves=8
)


@given(case=expressions)
def test_conjunctions_are_pythons(case: tuple[Expression, bool]) -> None:
    expression, expected = case
    assert holds(expression) is expected


@pytest.mark.parametrize(("name", "expected"), [("EQ", True), ("NEQ", False)])
def test_none_is_equal_to_none(name: str, expected: bool) -> None:
    assert holds(compare(Var("x"), name, None), x=union(literal(None))) is expected


@pytest.mark.parametrize(
    ("expression", "inputs", "message"),
    [
        (Expression(), {}, "neither a comparison nor a conjunction"),
        (compare(Var("x"), "EQ", 1), {"y": 1}, r"names 'x'; its inputs are \['y'\]"),
        (compare(Var("x"), "EQ", 1), {"x": "1"}, "compares a string_value with a integer"),
        (compare(Var("x"), "EQ", 1), {"x": None}, "compares a none_type with a integer"),
        (compare(Var("x"), "EQ", 1), {"x": True}, "compares a boolean with a integer"),
        (compare(True, "GT", False), {}, "GT is not defined for boolean values"),
        (compare(None, "LTE", None), {}, "LTE is not defined for none_type values"),
        (compare(Var("x"), "EQ", 1), {"x": [1]}, "'x' is collection"),
        (compare(Var("x"), "EQ", 1), {"x": struct({"a": 1})}, "'x' is generic"),
        (compare(Var("x"), "EQ", 1), {"x": msgpack({"a": 1})}, "'x' is binary"),
        (compare(Var("x"), "EQ", 1), {"x": offloaded("memory://x")}, "'x' is offloaded_metadata"),
        (compare(Var("x"), "EQ", 1), {"x": literals_pb2.Literal()}, "'x' is empty"),
    ],
)
def test_what_cannot_be_compared_is_invalid(expression: Expression, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        holds(expression, **inputs)


def case(then: str, expression: Expression | None = None) -> dict[str, Any]:
    condition = json_format.MessageToDict(expression) if expression is not None else {}
    return {"condition": condition, "then": then}


def chosen(branch: dict[str, Any], **inputs: Any) -> BranchEvaluated | EffectFailed:
    nodes = [task(f"n0-n{number}") for number in range(4)]
    world = World(graph({"id": "n0", "kind": "branch", "branch": branch}, *nodes))
    return choose(world.node("n0"), literals(**inputs))


def is_above(limit: int) -> Expression:
    return compare(Var("x"), "GT", limit)


THREE = {
    "if": case("n0-n0", is_above(30)),
    "elseIf": [case("n0-n1", is_above(20)), case("n0-n2", is_above(10))],
}


@pytest.mark.parametrize(("x", "then"), [(31, "n0-n0"), (21, "n0-n1"), (11, "n0-n2"), (1, "n0-n3")])
def test_the_first_case_that_holds_is_chosen_else_the_else(x: int, then: str) -> None:
    assert chosen({**THREE, "else": "n0-n3"}, x=x) == BranchEvaluated(then)


def test_later_cases_are_not_looked_at() -> None:
    branch = {"if": case("n0-n0", is_above(0)), "elseIf": [case("n0-n1", compare(Var("none"), "EQ", 1))]}
    assert chosen(branch, x=1) == BranchEvaluated("n0-n0")


def test_a_branch_fails_as_its_author_wrote() -> None:
    found = chosen({**THREE, "elseFail": {"message": "x is too small", "failed_node_id": "n0"}}, x=0)
    assert found == EffectFailed(0, Failure("UserProvidedError", "x is too small", node="n0"))


def test_a_branch_in_which_nothing_holds_is_malformed() -> None:
    found = chosen(THREE, x=0)
    assert isinstance(found, EffectFailed)
    assert found.failure.code == "MalformedBranchUserError"


@pytest.mark.parametrize("inputs", [{}, {"x": "text"}, {"x": [1]}])
def test_a_condition_that_cannot_be_evaluated_is_malformed_in_flytes_words(inputs: dict[str, Any]) -> None:
    found = chosen(THREE, **inputs)
    assert isinstance(found, EffectFailed)
    assert (found.failure.code, found.failure.node, found.failure.recoverable) == (
        "MalformedBranchUserError",
        "n0",
        False,
    )


@pytest.mark.parametrize(
    "condition", [{"comparison": {"operator": "NO_SUCH"}}, {"comparison": 3}, {"disjunction": {}}, []]
)
def test_a_condition_that_is_no_expression_is_malformed(condition: Any) -> None:
    found = chosen({"if": {"condition": condition, "then": "n0-n0"}}, x=1)
    assert isinstance(found, EffectFailed)
    assert found.failure.message.startswith("a branch's condition")


def test_a_condition_that_nests_without_end_is_malformed() -> None:
    condition: dict[str, Any] = {}
    for _ in range(150):
        condition = {"conjunction": {"leftExpression": condition}}
    found = chosen({"if": {"condition": condition, "then": "n0-n0"}}, x=1)
    assert isinstance(found, EffectFailed)
    assert "nested too deep" in found.failure.message


@pytest.mark.parametrize("operator", [-1, 99])
def test_an_operator_that_there_is_not_is_malformed(operator: int) -> None:
    condition = {"comparison": {"operator": operator, "leftValue": {"var": "x"}, "rightValue": {"var": "x"}}}
    found = chosen({"if": {"condition": condition, "then": "n0-n0"}}, x=1)
    assert isinstance(found, EffectFailed)
    assert found.failure.code == "MalformedBranchUserError"
    assert f"operator {operator}; there are EQ" in found.failure.message
