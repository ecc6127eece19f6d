"""Values against the JSON schemas that flytekit writes for dataclasses and models."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import json
import time
import typing
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from flyteidl.core import types_pb2
from google.protobuf import json_format

from propeller.errors import Invalid
from propeller.wire import literal_of

INNER = {"type": "object", "title": "Inner", "additionalProperties": False, "required": ["rows"]}
INNER |= {"properties": {"rows": {"type": "integer"}, "name": {"type": "string", "default": "x"}}}
OPTIONAL_INNER = {"anyOf": [INNER, {"type": "null"}]}
MARSHMALLOW = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "definitions": {
        "Outer": {
            "type": "object",
            "additionalProperties": False,
            "required": ["inner"],
            "properties": {
                "inner": {"type": "object", "$ref": "#/definitions/Inner"},
                "took": {"type": "string"},
                "mode": {"type": ["string", "null"], "enum": ["LOW", "HIGH"]},
            },
        },
        "Inner": INNER,
    },
    "$ref": "#/definitions/Outer",
}
PYDANTIC = {
    "$defs": {
        "Kind": {"enum": ["a", "b"], "title": "Kind", "type": "string"},
        "Leaf": {"type": "object", "properties": {"n": {"type": "integer", "exclusiveMinimum": 0}}, "required": ["n"]},
    },
    "type": "object",
    "properties": {
        "kind": {"$ref": "#/$defs/Kind"},
        "leaf": {"anyOf": [{"$ref": "#/$defs/Leaf"}, {"type": "null"}], "default": None},
        "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "maxItems": 2},
        "word": {"type": "string", "minLength": 2, "pattern": "^(a+)+$"},
    },
    "required": ["kind"],
}


def struct(schema: Any) -> types_pb2.LiteralType:
    return json_format.ParseDict({"simple": "STRUCT", "metadata": schema}, types_pb2.LiteralType())


def refusal(schema: Any, value: Any) -> str:
    """Why the value is refused; "" if it is taken."""
    try:
        literal_of(json.dumps(value), struct(schema))
    except Invalid as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize(
    ("schema", "value", "says"),
    [
        (INNER, {"rows": 3}, ""),
        (INNER, {"rows": 3.0, "name": "y"}, ""),
        (INNER, {"rows": "many"}, "field 'rows': expected a whole number, found 'many'"),
        (INNER, {"rows": True}, "field 'rows': expected a whole number, found true"),
        (INNER, {"rows": 3, "name": None}, "field 'name': expected text, found null"),
        (INNER, {"name": "y"}, "field 'rows' is missing: expected a whole number"),
        (INNER, {"rwos": 3}, "there is no field 'rwos': expected name, rows, found 3 for it"),
        (INNER, [], "expected a JSON object, found a JSON list"),
        (OPTIONAL_INNER, {"rows": "x"}, "field 'rows': expected a whole number, found 'x'"),
        ({"properties": {"o": OPTIONAL_INNER}}, {"o": None}, ""),
        ({"properties": {"o": OPTIONAL_INNER}}, {"o": 3}, "field 'o': expected a JSON object or null, found 3"),
        ({"properties": {"o": OPTIONAL_INNER}}, {"o": {}}, "field 'o.rows' is missing: expected a whole number"),
        ({"properties": {"l": {"items": INNER}}}, {"l": [{"rows": 1}, {"rows": "x"}]}, "field 'l[1].rows': expected"),
        ({"additionalProperties": {"type": "number"}}, {"a": 1, "b": "x"}, "field 'b': expected a number, found 'x'"),
        ({"type": ["object", "null"], "additionalProperties": True}, {"a": 1}, ""),
        ({"properties": {"c": {"const": "one"}}}, {"c": "two"}, "field 'c': expected one, found 'two'"),
        ({"properties": {"c": {"enum": [1, 2]}}}, {"c": 3}, "field 'c': expected one of 1, 2, found 3"),
        ({"properties": {"c": {"enum": [1, 2]}}}, {"c": 2}, ""),
        ({"properties": {"c": {"enum": [1, None]}}}, {"c": True}, "field 'c': expected one of 1, null, found true"),
        ({"properties": {"n": {"minimum": 0, "maximum": 1}}}, {"n": 2}, "expected a number of at most 1, found 2"),
        ({"properties": {"n": {"multipleOf": 5}}}, {"n": 12}, "expected a multiple of 5, found 12"),
        ({"properties": {"l": {"minItems": 1}}}, {"l": []}, "field 'l': expected a JSON list of at least 1 items"),
        (MARSHMALLOW, {"inner": {"rows": 1}}, ""),
        (MARSHMALLOW, {"inner": {"rows": 1}, "took": 1.5, "mode": "low"}, ""),
        (MARSHMALLOW, {"inner": {"rows": "x"}}, "field 'inner.rows': expected a whole number, found 'x'"),
        (MARSHMALLOW, {"took": []}, "field 'took': expected text, found a JSON list"),
        (PYDANTIC, {"kind": "a", "unknown": 1, "leaf": {"n": 1}, "pair": [1, "x"], "word": "bb"}, ""),
        (PYDANTIC, {"kind": "c"}, "field 'kind': expected one of a, b, found 'c'"),
        (PYDANTIC, {"kind": "a", "leaf": {"n": 0}}, "field 'leaf.n': expected a number above 0, found 0"),
        (PYDANTIC, {"kind": "a", "pair": ["x", 1]}, r"field 'pair[0]': expected a whole number, found 'x'"),
        (PYDANTIC, {"kind": "a", "word": "b"}, "field 'word': expected text of at least 2 characters, found 'b'"),
    ],
)
def test_the_first_part_that_does_not_fit_is_named(schema: Any, value: Any, says: str) -> None:
    found = refusal(schema, value)
    assert says in found if says else not found


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "whatever"},
        {"type": 3},
        {"type": [["object"], 3]},
        {"properties": 3},
        {"properties": {"a": True}},
        {"properties": [1]},
        {"required": "a"},
        {"required": [3, None]},
        {"additionalProperties": "no"},
        {"additionalProperties": False, "patternProperties": {"^a": {}}, "properties": {}},
        {"anyOf": []},
        {"anyOf": [True, {"type": "string"}]},
        {"oneOf": "all"},
        {"allOf": [False]},
        {"not": {}},
        {"if": {}, "then": False},
        {"$ref": 3},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "#"},
        {"$ref": "#" + "/a" * 5000},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"properties": {"a": {"enum": []}}},
        {"properties": {"a": {"enum": [{"a": 1}]}}},
        {"properties": {"a": {"const": [1]}}},
        {"properties": {"a": {"multipleOf": 0}}},
        {"properties": {"a": {"multipleOf": 0.1}}},
        {"properties": {"a": {"minimum": "0"}}},
        {"properties": {"a": {"format": "email", "pattern": "^$"}}},
    ],
)
def test_what_is_not_known_of_schemas_is_not_checked(schema: Any) -> None:
    assert refusal(schema, {"a": 3, "b": [{}]}) == ""


@pytest.mark.parametrize("length", [200, 3000])
def test_a_schema_made_to_explode_takes_a_bounded_number_of_steps(length: int) -> None:
    wide: Any = {"anyOf": [{"$ref": "#"}] * length, "required": ["r"] * length, "properties": {}}
    wide["properties"]["a"] = {"enum": [str(number) for number in range(length)], "anyOf": [{"$ref": "#"}] * length}
    type_, small = struct(wide), struct({"type": "object"})
    times = []
    for of in (small, type_):
        began = time.process_time()
        for _ in range(5):
            with suppress(Invalid):
                literal_of('{"a": {"a": {"a": {}}}, "r": 1}', of)
        times.append(time.process_time() - began)
    assert times[1] < 1_000 * max(times[0], 1e-4)


def test_names_of_a_stranger_are_shown_shortened_and_without_control_characters() -> None:
    names = ["\x1b[2J" * 1000, *(f"\u202e{number}" for number in range(100))]
    hostile = {"properties": {name: {} for name in names}, "additionalProperties": False}
    found = refusal(hostile, {"\x1b" * 5000: "\x1b" * 5000})
    assert found.isprintable()
    assert len(found) < 1500


class Mode(enum.Enum):
    LOW = "low"
    HIGH = "high"


@dataclasses.dataclass
class Leaf:
    n: int = 3
    words: typing.List[str] = dataclasses.field(default_factory=lambda: ["a", "b"])  # noqa: UP006 - authors write it


@dataclasses.dataclass
class Rich:
    leaf: Leaf
    leaves: list[Leaf]
    by_name: dict[str, Leaf]
    mode: Mode
    when: datetime.datetime
    day: datetime.date
    took: datetime.timedelta
    pair: tuple[int, str]
    either: int | str | None
    maybe: Leaf | None
    ratio: float
    flag: bool
    anything: Any
    numbers: dict[int, float] = dataclasses.field(default_factory=lambda: {1: 0.5})


def _written(value: Any) -> tuple[types_pb2.LiteralType, Any]:
    """The type that flytekit gives the value's class, and the value as it writes it."""
    flytekit = pytest.importorskip("flytekit")
    engine = pytest.importorskip("flytekit.core.type_engine").TypeEngine
    context, of = flytekit.FlyteContextManager.current_context(), type(value)
    type_ = engine.to_literal_type(of)
    binary = engine.to_literal(context, value, of, type_).scalar.binary
    return type_.to_flyte_idl(), msgspec.msgpack.decode(binary.value, strict=False)


def _rich() -> Rich:
    moment = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)
    took = datetime.timedelta(seconds=1.5)
    leaf = Leaf()
    return Rich(
        leaf, [leaf], {"a": leaf}, Mode.LOW, moment, moment.date(), took, (1, "x"), "text", None, 1, True, {"a": [1]}
    )


def test_what_flytekit_writes_fits_the_schema_that_it_writes() -> None:
    type_, value = _written(_rich())
    literal_of(msgspec.json.encode(value).decode(), type_)


@pytest.mark.parametrize(
    ("path", "wrong", "says"),
    [
        (("leaf", "n"), "x", "field 'leaf.n': expected a whole number, found 'x'"),
        (("leaves", 0, "words", 1), 2, "field 'leaves[0].words[1]': expected text, found 2"),
        (("by_name", "a", "n"), None, "field 'by_name.a.n': expected a whole number, found null"),
        (("mode",), "medium", "field 'mode': expected one of low, high, found 'medium'"),
        (("pair", 0), "x", "field 'pair[0]': expected a whole number, found 'x'"),
        (("either",), [1], "field 'either': expected a whole number or text or null, found a JSON list"),
        (("maybe",), {"n": "x"}, "field 'maybe.n': expected a whole number, found 'x'"),
        (("flag",), 1, "field 'flag': expected true or false, found 1"),
    ],
)
def test_a_wrong_field_of_a_dataclass_of_flytekits_is_named(path: tuple[Any, ...], wrong: Any, says: str) -> None:
    type_, value = _written(_rich())
    functools.reduce(lambda inner, key: inner[key], path[:-1], value)[path[-1]] = wrong
    with pytest.raises(Invalid) as refused:
        literal_of(msgspec.json.encode(value).decode(), type_)
    assert says in str(refused.value)
