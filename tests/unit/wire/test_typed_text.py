"""Literals from text, by a type: what people and strangers answer to gates."""

from __future__ import annotations

import datetime
import random
import string
import time
from typing import Any

import msgspec
import pytest
from flyteidl.core import literals_pb2, types_pb2
from google.protobuf import json_format

from propeller.cli._values import value_of
from propeller.errors import Invalid
from propeller.wire import literal_of, type_name

INT, FLOAT, STRING, BOOLEAN = ({"simple": name} for name in ("INTEGER", "FLOAT", "STRING", "BOOLEAN"))
DATETIME, DURATION, STRUCT, NONE = ({"simple": name} for name in ("DATETIME", "DURATION", "STRUCT", "NONE"))
ENUM = {"enumType": {"values": ["low", "high"]}}
FILE = {"blob": {"format": "csv"}}
OPTIONAL = {"unionType": {"variants": [INT | {"structure": {"tag": "int"}}, NONE]}}
TEXT_OR_INT = {"unionType": {"variants": [STRING, INT]}}


def of(type_: dict[str, Any]) -> types_pb2.LiteralType:
    return json_format.ParseDict(type_, types_pb2.LiteralType())


def lists(type_: dict[str, Any]) -> dict[str, Any]:
    return {"collectionType": type_}


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (INT, "42", 42),
        (INT, "-9223372036854775808", -(2**63)),
        (FLOAT, "0.5", 0.5),
        (FLOAT, "3", 3.0),
        (FLOAT, "1e3", 1000.0),
        (FLOAT, "NaN", "NaN"),
        (FLOAT, "-Infinity", "-Infinity"),
        (STRING, "", ""),
        (STRING, "  a title, as it is ", "  a title, as it is "),
        (STRING, '{"a": 1}', '{"a": 1}'),
        (STRING, "ünï", "ünï"),
        (BOOLEAN, "true", True),
        (BOOLEAN, "False", False),
        (DATETIME, "2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        (DATETIME, "2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00Z"),
        (DATETIME, "2026-01-31", "2026-01-31T00:00:00Z"),
        (DURATION, "1h30m", 5400.0),
        (DURATION, "-1.5s", -1.5),
        (DURATION, "90", 90.0),
        (ENUM, "low", "low"),
        (FILE, "s3://bucket/key.csv", "s3://bucket/key.csv"),
        (lists(INT), "[1, 2]", [1, 2]),
        (lists(lists(STRING)), '[["a"], []]', [["a"], []]),
        ({"mapValueType": FLOAT}, '{"a": 1}', {"a": 1.0}),
        (STRUCT, '{"a": {"b": [1, null, 2.5]}}', {"a": {"b": [1, None, 2.5]}}),
        (OPTIONAL, "5", 5),
        (OPTIONAL, "null", None),
        (lists(OPTIONAL), "[1, null]", [1, None]),
        (TEXT_OR_INT, "5", 5),
        (TEXT_OR_INT, "five", "five"),
        (NONE, "null", None),
    ],
)
def test_text_becomes_the_value_of_the_type(type_: dict[str, Any], text: str, value: Any) -> None:
    assert value_of(literal_of(text, of(type_))) == value


def test_what_flytekit_reads_by_type_has_it() -> None:
    union = literal_of("5", of(OPTIONAL)).scalar.union
    assert union.type.structure.tag == "int"
    assert union.value.scalar.primitive.integer == 5
    assert literal_of("s3://b/k", of(FILE)).scalar.blob.metadata.type.format == "csv"
    binary = literal_of('{"n": 3}', of(STRUCT)).scalar.binary
    assert (binary.tag, msgspec.msgpack.decode(binary.value)) == ("msgpack", {"n": 3})
    moment = literal_of("1969-12-31T23:59:59.5Z", of(DATETIME)).scalar.primitive.datetime
    assert moment.ToDatetime() == datetime.datetime(1969, 12, 31, 23, 59, 59, 500_000)


@pytest.mark.parametrize(
    ("type_", "text", "says"),
    [
        (INT, "1.5", "expected a whole number of 64 bits, found '1.5'"),
        (INT, "9223372036854775808", "a whole number of 64 bits"),
        (INT, "\u0661", "a whole number of 64 bits"),
        (INT, "1_000", "a whole number of 64 bits"),
        (INT, " 1", "a whole number of 64 bits"),
        (FLOAT, "one", "expected a number, found 'one'"),
        (BOOLEAN, "yes", "expected true or false, found 'yes'"),
        (DATETIME, "noon", "expected a time like"),
        (DATETIME, "9999-99-99", "expected a time like"),
        (DATETIME, "9999-12-31T23:59:59-23:59", "expected a time like"),
        (DATETIME, "0001-01-01T00:00:00+23:00", "expected a time like"),
        (DURATION, "soon", "expected a duration like"),
        (DURATION, "1" * 15 + "d", "a duration of less than 10,000 years"),
        (DURATION, "1e300", "a duration like"),
        (DURATION, "NaN", "a duration like"),
        (ENUM, "medium", "expected one of low, high, found 'medium'"),
        (FILE, "/etc/passwd", "the URI of a file"),
        (FILE, "s3://a b", "the URI of a file"),
        (lists(INT), "1, 2", "expected JSON, as the type is list of integer"),
        (lists(INT), "[1, true]", "expected a whole number of 64 bits, found true"),
        (lists(INT), '["1"]', "expected a whole number of 64 bits, found '1'"),
        (lists(INT), '{"a": 1}', "expected a JSON list, found a JSON object"),
        ({"mapValueType": INT}, "[1]", "expected a JSON object, found a JSON list"),
        (STRUCT, "[1]", "expected a JSON object, found a JSON list"),
        (OPTIONAL, "x", "expected integer or null, found 'x'"),
        (lists(INT), "[" * 100 + "]" * 100, "nested in more than 30 levels"),
        (lists(INT), "[" + "1," * 2500 + "1]", "holds more than 2000 values"),
        (STRING, "x" * 8193, "has 8193 bytes, and may have 8192"),
        (STRING, "é" * 4097, "has 8194 bytes, and may have 8192"),
        (STRING, "\ud800", "not text in UTF-8"),
        ({"simple": "BINARY"}, "x", "a value of type binary cannot be given as text"),
        ({}, "x", "a value of type unknown cannot be given as text"),
        ({"simple": 99}, "x", "a value of type number 99 cannot be given as text"),
        ({"enumType": {}}, "x", "expected one of no values, found 'x'"),
        ({"unionType": {}}, "x", "expected no type, found 'x'"),
    ],
)
def test_other_text_is_refused_with_what_was_expected(type_: dict[str, Any], text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says.replace("(", "\\(")):
        literal_of(text, of(type_))


def test_a_message_shows_only_the_begin_of_what_was_given() -> None:
    with pytest.raises(Invalid) as found:
        literal_of("secret" * 1000, of(INT))
    assert len(str(found.value)) < 150


def test_types_have_names_of_a_bounded_length_in_one_line() -> None:
    assert type_name(of(lists({"mapValueType": ENUM}))) == "list of map of one of low, high"
    assert type_name(of(OPTIONAL)) == "integer or null"
    assert type_name(of(lists({"simple": 99}))) == "list of number 99"
    assert type_name(of({"blob": {"dimensionality": "MULTIPART"}})) == "directory"
    hostile = {"enumType": {"values": ["a\n\u202e" * 1000] * 100}}
    assert len(type_name(of(hostile))) <= 80
    assert type_name(of(hostile)).isprintable()


def _wide(levels: int) -> dict[str, Any]:
    """A union whose variants are unions, and so on: trying each takes 3 ** levels."""
    if not levels:
        return INT
    inner = lists(_wide(levels - 1))
    return {"unionType": {"variants": [inner, inner, inner]}}


def test_a_type_made_to_explode_is_given_up_in_a_bounded_number_of_steps() -> None:
    text = "[" * 7 + '"x"' + "]" * 7
    began = time.process_time()
    literal_of("1", of(INT))
    once = max(time.process_time() - began, 1e-5)
    wide = of(_wide(7))
    began = time.process_time()
    with pytest.raises(Invalid, match="more than 2000 values"):
        literal_of(text, wide)
    assert time.process_time() - began < 100_000 * once


def test_a_literal_does_not_outgrow_its_limit_by_its_type() -> None:
    tagged = {"unionType": {"variants": [INT | {"structure": {"tag": "t" * 5000}}, NONE]}}
    with pytest.raises(Invalid, match="more than 65536 bytes"):
        literal_of("[" + ",".join("1" * 20) + "]", of(lists(tagged)))


@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_stranger_writes_is_a_literal_or_is_refused(seed: int) -> None:
    rng = random.Random(seed)
    types: list[dict[str, Any]] = [
        INT,
        FLOAT,
        STRING,
        BOOLEAN,
        DATETIME,
        DURATION,
        STRUCT,
        NONE,
        ENUM,
        FILE,
        OPTIONAL,
        TEXT_OR_INT,
    ]
    pieces = [
        *string.printable,
        "null",
        "true",
        "1e999",
        "[",
        "]",
        "{",
        "}",
        '"',
        "\x00",
        "\u202e",
        "2026-01-01",
        "s3://",
    ]
    for _ in range(200):
        type_ = of(rng.choice([*types, lists(rng.choice(types)), {"mapValueType": rng.choice(types)}]))
        text = "".join(rng.choices(pieces, k=rng.randrange(12)))
        found, refusal = _tried(text, type_)
        assert len(refusal) < 400
        assert literals_pb2.Literal.FromString(found.SerializeToString()) == found


def _tried(text: str, type_: types_pb2.LiteralType) -> tuple[literals_pb2.Literal, str]:
    try:
        return literal_of(text, type_), ""
    except Invalid as refused:
        return literals_pb2.Literal(), str(refused)
