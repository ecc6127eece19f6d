"""Messages that a resource holds as JSON are read, or refused with the field that is wrong, in words of JSON."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from flyteidl.core import condition_pb2, literals_pb2, tasks_pb2
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.workflow import parse_message

SIMPLE = "task.interface.outputs.variables[o0].type.simple"


def _task(simple: Any) -> bytes:
    return orjson.dumps({"interface": {"outputs": {"variables": {"o0": {"type": {"simple": simple}}}}}})


@pytest.mark.parametrize("simple", ["INTEGER", 1, "1"])
def test_an_enum_is_a_name_or_a_number(simple: Any) -> None:
    found = parse_message(_task(simple), tasks_pb2.TaskTemplate(), "task")
    assert found.interface.outputs.variables["o0"].type.simple == 1


@pytest.mark.parametrize(
    ("simple", "kind"), [({"a": {}}, "an object"), ([1], "a list"), (True, "true or false"), ("x", "text")]
)
def test_an_enum_of_another_type_is_refused_by_its_path(simple: Any, kind: str) -> None:
    """An object raised TypeError from the parser's own dictionary."""
    with pytest.raises(
        Invalid, match=rf"^{SIMPLE.replace('[', '.').replace(']', '.')}: expected one of .* found {kind}$"
    ):
        parse_message(_task(simple), tasks_pb2.TaskTemplate(), "task")


@pytest.mark.parametrize("number", [2**63 - 1, str(2**63 - 1), -(2**63), 3.0])
def test_a_whole_number_may_be_text_and_has_64_bits(number: Any) -> None:
    found = parse_message(orjson.dumps({"integer": number}), literals_pb2.Primitive(), "value")
    assert found.integer == int(number)


@pytest.mark.parametrize("number", [2**63, str(2**63), "9" * 5_000, 1.5, "1e3", "", True, [1]])
def test_a_number_that_its_field_cannot_hold_is_refused_by_its_path(number: Any) -> None:
    with pytest.raises(Invalid, match=r"^value\.integer: expected a whole number"):
        parse_message(orjson.dumps({"integer": number}), literals_pb2.Primitive(), "value")
    with pytest.raises(Invalid, match=f"^{SIMPLE.replace('[', '.').replace(']', '.')}: expected one of"):
        parse_message(_task(2**31), tasks_pb2.TaskTemplate(), "task")


@pytest.mark.parametrize(("value", "kind"), [("text", "text"), ([1], "a list"), (5, "a number")])
def test_a_value_that_is_no_message_is_refused(value: Any, kind: str) -> None:
    """The parser takes a text or a list for an empty message."""
    with pytest.raises(Invalid, match=f"^task: expected an object, found {kind}$"):
        parse_message(orjson.dumps(value), tasks_pb2.TaskTemplate(), "task")
    with pytest.raises(Invalid, match=r"^inputs\.literals.x.: expected an object, found "):
        parse_message(orjson.dumps({"literals": {"x": value}}), literals_pb2.LiteralMap(), "inputs")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["literals", "scalar", "primitive", "integer", "collection", "x"]), inner)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_message_or_invalid(value: Any) -> None:
    json, found = orjson.dumps(value), literals_pb2.LiteralMap()
    with contextlib.suppress(Invalid):
        parse_message(json, found, "inputs")
        assert found == json_format.Parse(json, literals_pb2.LiteralMap(), ignore_unknown_fields=True)


@pytest.mark.parametrize("depth", [150, 201, 450, 3_000, 9_000, 100_000])
@pytest.mark.parametrize("level", [b'{"conjunction":{"leftExpression":', b'{"comparison":[', b"["])
def test_a_message_that_nests_without_end_is_refused_on_every_interpreter_alike(depth: int, level: bytes) -> None:
    closers = {b"{": b"}", b"[": b"]"}
    end = b"".join(closers[bytes([byte])] for byte in reversed(level) if bytes([byte]) in closers)
    with pytest.raises(Invalid, match=r"^the condition( is nested too deep to be read|.*: expected .*, found a list)"):
        parse_message(level * depth + b"1" + end * depth, condition_pb2.BooleanExpression(), "the condition")
