"""JSON schemas of dataclasses: whether values of one are accepted by another."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.compiler._schemas import offers

STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}


def record(*required: str, closed: bool = False, **properties: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "properties": properties, "required": list(required)}
    return {**made, "additionalProperties": False} if closed else made


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (record(a=STRING, b=INTEGER), record(a=STRING)),
        (record("a", a=STRING), record(a=STRING)),
        (record(closed=True, a=STRING), record(closed=True, a=STRING)),
        (record(a=record(b=STRING, c=STRING)), record(a=record(b=STRING))),
        (record(a={"type": "array", "items": STRING}), record(a={"type": "array", "items": STRING})),
        (record(a={"anyOf": [STRING, INTEGER]}), record(a={"anyOf": [INTEGER, STRING]})),
        (record(a={**STRING, "minLength": 3}), record(a={**STRING, "minLength": 2})),
        ({"type": "object"}, {}),
        (
            {**record(a={"$ref": "#/definitions/X"}), "definitions": {"X": STRING}},
            record(a=STRING),
        ),
    ],
)
def test_more_than_is_expected_serves(source: dict[str, Any], target: dict[str, Any]) -> None:
    assert offers(source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (record(a=STRING), record(a=STRING, b=INTEGER)),
        (record(a=STRING), record("a", a=STRING)),
        (record(a=STRING), record(a=INTEGER)),
        (record(a={"type": "array", "items": STRING}), record(a={"type": "array", "items": INTEGER})),
        (record(a={"anyOf": [STRING]}), record(a=STRING)),
        (record(a={"anyOf": [record(closed=True)]}), record(a={"anyOf": [record(closed=True)]})),
        (record(a={**STRING, "format": "date"}), record(a=STRING)),
        (record(a={**NUMBER, "multipleOf": 3}), record(a={**NUMBER, "multipleOf": 2})),
        (record(a={**STRING, "pattern": "x"}), record(a={**STRING, "pattern": "y"})),
        (record(a={"const": 1}), record(a={"const": True})),
    ],
)
def test_less_than_is_expected_does_not_serve(source: dict[str, Any], target: dict[str, Any]) -> None:
    assert not offers(source, target)


@pytest.mark.parametrize(
    "malformed",
    [
        {"type": "text"},
        {"type": []},
        {"properties": []},
        {"required": ["a", "a"]},
        {"minLength": -1},
        {"allOf": []},
        {"$schema": "https://json-schema.org/draft/2020-12/schema"},
        {"properties": {"a": {"$ref": "#/nowhere"}}},
        {"properties": {"a": {"$ref": "https://elsewhere.example/schema"}}},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
    ],
)
def test_an_invalid_schema_is_castable_to_nothing(malformed: dict[str, Any]) -> None:
    assert not offers(malformed, malformed)


def test_a_schema_that_contains_itself_is_compared_to_the_end() -> None:
    tree = record(value=INTEGER, more=STRING, children={"type": "array", "items": {"$ref": "#"}})
    less = record(value=INTEGER, children={"type": "array", "items": {"$ref": "#"}})
    assert offers(tree, less)
    assert not offers(less, tree)


def test_depth_is_no_matter() -> None:
    deep: dict[str, Any] = STRING
    for _ in range(5_000):
        deep = {"type": "array", "items": deep}
    assert offers(deep, deep)
