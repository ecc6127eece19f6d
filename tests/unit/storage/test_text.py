"""Literals as text in commands."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from flyteidl.core import literals_pb2
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import CorruptBlob, Invalid
from propeller.storage import literal_to_text
from tests.unit.storage.values import binary, literal, msgpack, offloaded, struct, union

Literal = literals_pb2.Literal


def datetime(seconds: int, nanos: int = 0) -> Literal:
    found = Literal()
    found.scalar.primitive.datetime.seconds = seconds
    found.scalar.primitive.datetime.nanos = nanos
    return found


def duration(seconds: int, nanos: int = 0) -> Literal:
    found = Literal()
    found.scalar.primitive.duration.SetInParent()
    found.scalar.primitive.duration.seconds = seconds
    found.scalar.primitive.duration.nanos = nanos
    return found


def with_uri(kind: str) -> Literal:
    found = Literal()
    getattr(found.scalar, kind).uri = "s3://bucket/file"
    return found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (literal("text"), "text"),
        (literal(""), ""),
        (literal(-3), "-3"),
        (literal(True), "true"),
        (literal(False), "false"),
        (literal(None), ""),
        (datetime(0), "1970-01-01T00:00:00Z"),
        (datetime(1_700_000_000, 120_000_000), "2023-11-14T22:13:20.12Z"),
        (datetime(-1, 1), "1969-12-31T23:59:59.000000001Z"),
        (duration(3600), "seconds:3600"),
        (duration(1, 5), "seconds:1 nanos:5"),
        (with_uri("blob"), "s3://bucket/file"),
        (with_uri("schema"), "s3://bucket/file"),
        (with_uri("structured_dataset"), "s3://bucket/file"),
        (literal([1, "a", [True, 2.5]]), "[1,a,[true,2.5]]"),
        (literal([]), "[]"),
        (union(literal("x")), "x"),
        (union(union(literal(1))), "1"),
        (struct({"b": [1, None], "a": "x"}), '{"a":"x","b":[1,null]}'),
        (msgpack({"b": [1, None], "a": "x"}), '{"a":"x","b":[1,null]}'),
        (msgpack([1, "a"]), '[1,"a"]'),
        (msgpack("plain"), "plain"),
        (msgpack(True), "true"),
        (msgpack(7), "7"),
        (msgpack({"raw": b"\x00\xff"}), '{"raw":"AP8="}'),
    ],
)
def test_each_kind_of_value_has_its_text(value: Literal, text: str) -> None:
    assert literal_to_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (0.0, "0"),
        (-0.0, "-0"),
        (100000.0, "100000"),
        (1e6, "1e+06"),
        (1234567.0, "1.234567e+06"),
        (123456789.5, "1.234567895e+08"),
        (1e21, "1e+21"),
        (0.0001, "0.0001"),
        (1e-5, "1e-05"),
        (-2.25, "-2.25"),
        (5e-324, "5e-324"),
        (12345678901234567890.0, "1.2345678901234567e+19"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_floats_are_written_as_go_writes_them(value: float, text: str) -> None:
    """The expected texts were printed by Go's fmt with %v."""
    assert literal_to_text(literal(value)) == text


@given(value=st.floats(allow_nan=False))
def test_the_text_of_a_float_is_that_float(value: float) -> None:
    assert float(literal_to_text(literal(value))) == value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(value=st.dictionaries(st.text(max_size=3), json_values, max_size=3))
def test_the_text_of_a_struct_is_json_of_it(value: dict[str, Any]) -> None:
    assert orjson.loads(literal_to_text(struct(value))) == value
    assert orjson.loads(literal_to_text(msgpack(value))) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (literal({"a": 1}), "is a map, which has no text"),
        (Literal(), "literal without a value"),
        (literal([Literal()]), "literal without a value"),
        (offloaded("memory://x"), "too large to be text: it was offloaded"),
        (binary(b"", "protobuf"), "the format 'protobuf'"),
        (datetime(10**12), "no possible time"),
    ],
)
def test_a_literal_without_a_text_form_is_invalid(value: Literal, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        literal_to_text(value)


def test_a_scalar_or_primitive_without_value_is_invalid() -> None:
    empty = Literal()
    empty.scalar.SetInParent()
    with pytest.raises(Invalid, match="scalar without a value"):
        literal_to_text(empty)
    empty.scalar.primitive.SetInParent()
    with pytest.raises(Invalid, match="primitive without a value"):
        literal_to_text(empty)


def test_an_infinite_number_in_a_struct_is_invalid() -> None:
    value = Literal()
    value.scalar.generic.fields["x"].number_value = math.inf
    with pytest.raises(Invalid, match="holds inf, for which JSON has no number"):
        literal_to_text(value)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_lacks_is_invalid_in_msgpack_too(number: float) -> None:
    with pytest.raises(Invalid, match=f"holds {number}, for which JSON has no number"):
        literal_to_text(msgpack({"a": [1.5, {"b": number}]}))


def test_garbage_instead_of_msgpack_is_corrupt() -> None:
    with pytest.raises(CorruptBlob):
        literal_to_text(binary(b"\xc1"))


def test_a_list_that_nests_without_end_is_refused() -> None:
    value = Literal()
    inner = value
    for _ in range(150):
        inner = inner.collection.literals.add()
    with pytest.raises(Invalid, match="nests more than 100"):
        literal_to_text(value)
