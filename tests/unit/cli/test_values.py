"""Literals as JSON."""

from __future__ import annotations

import datetime

import msgspec
import orjson
import pytest
from flyteidl.core import literals_pb2
from google.protobuf import json_format, struct_pb2

from propeller.cli._values import to_json, value_of
from propeller.errors import CorruptBlob


def literal(text: str) -> literals_pb2.Literal:
    return json_format.Parse(text, literals_pb2.Literal())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"scalar": {"primitive": {"integer": "-3"}}}', -3),
        ('{"scalar": {"primitive": {"floatValue": 0.5}}}', 0.5),
        ('{"scalar": {"primitive": {"boolean": false}}}', False),
        ('{"scalar": {"primitive": {"stringValue": "ü"}}}', "ü"),
        ('{"scalar": {"primitive": {"datetime": "2026-01-02T03:04:05Z"}}}', "2026-01-02T03:04:05Z"),
        ('{"scalar": {"primitive": {"duration": "90.5s"}}}', 90.5),
        ('{"scalar": {"noneType": {}}}', None),
        ('{"scalar": {"blob": {"uri": "s3://b/k"}}}', "s3://b/k"),
        ('{"scalar": {"structuredDataset": {"uri": "s3://b/d"}}}', "s3://b/d"),
        ('{"scalar": {"union": {"value": {"scalar": {"primitive": {"integer": "4"}}}}}}', 4),
        ('{"scalar": {"error": {"message": "m", "failedNodeId": "n0"}}}', {"message": "m", "failedNodeId": "n0"}),
        ('{"collection": {"literals": [{"scalar": {"primitive": {"integer": "1"}}}, {"collection": {}}]}}', [1, []]),
        ('{"map": {"literals": {"a": {"scalar": {"primitive": {"boolean": true}}}}}}', {"a": True}),
        ("{}", None),
    ],
)
def test_a_literal_is_its_value(text: str, value: object) -> None:
    assert value_of(literal(text)) == value


def test_a_struct_keeps_whole_numbers_whole() -> None:
    found = literals_pb2.Literal()
    found.scalar.generic.update({"a": 1, "b": [1.5, None, {"c": "d"}], "e": True})
    assert value_of(found) == {"a": 1, "b": [1.5, None, {"c": "d"}], "e": True}
    assert isinstance(struct_pb2.Struct, type)


def test_a_dataclass_is_read_from_msgpack() -> None:
    found = literals_pb2.Literal()
    found.scalar.binary.tag = "msgpack"
    found.scalar.binary.value = msgspec.msgpack.encode({"rate": 0.1, "steps": [1, 2]})
    assert value_of(found) == {"rate": 0.1, "steps": [1, 2]}
    found.scalar.binary.value = b"\xc1"
    with pytest.raises(CorruptBlob):
        value_of(found)


@pytest.mark.parametrize(
    ("number", "text"), [(float("nan"), "NaN"), (float("inf"), "Infinity"), (float("-inf"), "-Infinity")]
)
def test_a_number_that_json_lacks_is_a_text_wherever_it_stands(number: float, text: str) -> None:
    """A diverged loss was printed as null, which is None."""
    primitive, struct, packed = (literals_pb2.Literal() for _ in range(3))
    primitive.scalar.primitive.float_value = number
    struct.scalar.generic.update({"a": [number, {"b": number}]})
    packed.scalar.binary.tag = "msgpack"
    packed.scalar.binary.value = msgspec.msgpack.encode({"loss": [number, 1.5]})
    assert value_of(primitive) == text
    assert value_of(struct) == {"a": [text, {"b": text}]}
    assert value_of(packed) == {"loss": [text, 1.5]}


def test_msgpack_values_beyond_json_are_shown() -> None:
    found = literals_pb2.Literal()
    found.scalar.binary.tag = "msgpack"
    found.scalar.binary.value = msgspec.msgpack.encode({1: b"ab", 2.5: msgspec.msgpack.Ext(7, b"xyz"), None: True})
    shown = value_of(found)
    assert shown == {"1": "YWI=", "2.5": "<3 bytes of extension 7>", "None": True}
    assert orjson.dumps(shown)


def test_an_output_that_nests_without_end_is_refused() -> None:
    found = literals_pb2.Literal()
    found.scalar.binary.tag = "msgpack"
    for depth in (300, 100_000):
        found.scalar.binary.value = b"\x91" * depth + b"\x00"
        with pytest.raises(CorruptBlob):
            value_of(found)


def test_outputs_are_in_the_authors_order() -> None:
    literals = literals_pb2.LiteralMap()
    for name in ("o10", "model", "o2"):
        literals.literals[name].scalar.primitive.integer = 1
    assert list(to_json(literals)) == ["o2", "o10", "model"]


def test_times_are_in_utc() -> None:
    found = literals_pb2.Literal()
    zone = datetime.timezone(datetime.timedelta(hours=2))
    found.scalar.primitive.datetime.FromDatetime(datetime.datetime(2026, 5, 1, 2, 0, tzinfo=zone))
    assert value_of(found) == "2026-05-01T00:00:00Z"


def test_a_whole_number_that_no_integer_of_json_holds_is_a_number_with_an_exponent() -> None:
    found = literals_pb2.Literal()
    found.scalar.generic.update({"x": 1e300})
    assert orjson.loads(orjson.dumps(value_of(found))) == {"x": 1e300}


def test_a_time_that_no_calendar_has_is_named() -> None:
    found = literals_pb2.Literal()
    found.scalar.primitive.datetime.seconds = 10**14
    with pytest.raises(CorruptBlob, match="which no calendar has"):
        value_of(found)
