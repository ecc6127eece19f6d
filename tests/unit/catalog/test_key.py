"""What identifies a computation, and what does not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from flyteidl.core import literals_pb2, tasks_pb2
from google.protobuf import json_format

from propeller.catalog import Key, differences, key_of, task_path
from propeller.errors import CorruptBlob
from propeller.wire import Literals, whole
from propeller.workflow import Caching
from tests.unit.controller.cached import template

MAX_MESSAGES = 10_000


def literal(value: Any, hash_: str = "") -> literals_pb2.Literal:
    """A literal of a number, a list, a dict, or (in a tuple) an optional value."""
    made = literals_pb2.Literal(hash=hash_)
    match value:
        case literals_pb2.Literal():
            made.CopyFrom(value)
        case int():
            made.scalar.primitive.integer = value
        case list():
            made.collection.literals.extend(map(literal, value))
        case dict():
            for key, inner in value.items():
                made.map.literals[key].CopyFrom(literal(inner))
        case tuple():
            made.scalar.union.value.CopyFrom(literal(value[0]))
    return made


async def key(task: Any = None, version: str = "1", ignored: tuple[str, ...] = (), **inputs: Any) -> Key:
    message = json_format.ParseDict(task or template(), tasks_pb2.TaskTemplate())
    raw = {name: whole(literal(value).SerializeToString()) for name, value in inputs.items()}
    return await key_of(message, Caching(version, ignored=ignored), Literals(raw), MAX_MESSAGES)


async def test_the_same_task_and_inputs_are_the_same_computation() -> None:
    assert await key(x=3) == await key(x=3)
    assert (await key(x=3)).path == (await key(x=3)).path


async def test_the_order_in_which_a_map_was_written_does_not_matter() -> None:
    entries = [literals_pb2.LiteralMap(literals={name: literal(3)}).SerializeToString() for name in "ab"]

    def written(order: list[bytes]) -> Literals:
        body = b"".join(order)
        return Literals({"x": whole(b"\x1a" + bytes((len(body),)) + body)})

    message = json_format.ParseDict(template(), tasks_pb2.TaskTemplate())
    found = [await key_of(message, Caching("1"), written(order), MAX_MESSAGES) for order in (entries, entries[::-1])]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "other",
    [{"x": 4}, {"x": 3, "y": 1}, {"version": "2", "x": 3}, {"x": [3]}, {"task": template("u"), "x": 3}],
    ids=["value", "another input", "version", "type", "name"],
)
async def test_what_differs_is_another_computation(other: dict[str, Any]) -> None:
    assert (await key(x=3)).path != (await key(**other)).path


async def test_an_ignored_input_and_the_version_of_the_code_do_not_matter() -> None:
    later = template()
    later["id"] = later["id"] | {"version": "v2"}
    assert (await key(x=3)).path == (await key(later, x=3)).path
    assert (await key(x=3, ignored=("x",))).path == (await key(x=4, ignored=("x",))).path


async def test_descriptions_do_not_matter_and_types_do() -> None:
    described, typed = copy.deepcopy(template()), copy.deepcopy(template())
    described["interface"]["inputs"]["variables"]["x"]["description"] = "a number"
    typed["interface"]["outputs"]["variables"]["o0"]["type"] = {"simple": "STRING"}
    assert (await key(described, x=3)).path == (await key(x=3)).path != (await key(typed, x=3)).path


@pytest.mark.parametrize("wrap", [lambda of: of, lambda of: [of, 1], lambda of: {"a": of}, lambda of: (of,)])
async def test_a_literal_with_a_hash_counts_by_it_alone_wherever_it_is(wrap: Any) -> None:
    assert await key(x=wrap(literal(3, "h"))) == await key(x=wrap(literal(4, "h")))
    assert await key(x=wrap(literal(3, "h"))) != await key(x=wrap(literal(3, "other")))


async def test_inputs_that_are_no_literals_have_no_key() -> None:
    message = json_format.ParseDict(template(), tasks_pb2.TaskTemplate())
    with pytest.raises(CorruptBlob):
        await key_of(message, Caching("1"), Literals({"x": whole(b"\x0a\xff")}), MAX_MESSAGES)


@pytest.mark.parametrize("name", ["a/b", "..", ".", "", "a" * 500, "ü\n%"])
def test_a_name_cannot_choose_a_path(name: str) -> None:
    parts = task_path("p", "d", name).split("/")
    assert parts[:2] == ["p", "d"]
    assert len(parts) == 3
    assert parts[2] not in {"", ".", ".."}
    assert len(parts[2].encode()) <= 100
    assert parts[2].isprintable()


async def test_what_differs_between_two_keys_is_named() -> None:
    here, there = await key(x=3, y=1), await key(version="2", x=4, z=1)
    assert [one.part for one in differences(here, there)] == ["cache version", "input x", "input y", "input z"]
