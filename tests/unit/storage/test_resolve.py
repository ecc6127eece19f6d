"""Bindings to literals, and attribute paths through every form of value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from flyteidl.core import literals_pb2, types_pb2
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import CorruptBlob, Invalid
from propeller.storage import Storage, promised_nodes, resolve
from tests.unit.storage.values import (
    attribute,
    binary,
    bound,
    literal,
    msgpack,
    offloaded,
    parsed,
    promise,
    python,
    struct,
    trees,
    trees_with_paths,
    union,
    wired,
)


async def resolved(binding: literals_pb2.BindingData, **outputs: literals_pb2.Literal) -> literals_pb2.Literal:
    """Resolve against the outputs of one node."""
    async with Storage() as storage:
        return parsed(await resolve(binding, lambda node, variable: wired(outputs[variable]), storage))


async def at(value: literals_pb2.Literal, *path: str | int) -> Any:
    """Resolve a promise with this path, as a Python value."""
    return python(await resolved(promise("n0", "o0", *path), o0=value))


@given(tree=trees)
async def test_a_binding_of_constants_is_the_literal_of_their_value(tree: Any) -> None:
    assert await resolved(bound(tree)) == literal(tree)


async def test_promises_may_stand_anywhere_within_lists_and_maps() -> None:
    binding = bound({"a": [1, promise("n0", "o0"), [promise("n1", "o1", "k")]], "b": {}})
    found = await resolved(binding, o0=literal("x"), o1=literal({"k": 2.5}))
    assert python(found) == {"a": [1, "x", [2.5]], "b": {}}


async def test_empty_lists_and_maps_stay_unchanged() -> None:
    assert (await resolved(bound([]))).WhichOneof("value") == "collection"
    assert (await resolved(bound({}))).WhichOneof("value") == "map"


async def test_a_promise_keeps_hash_and_metadata_of_its_literal() -> None:
    value = literal(1)
    value.hash = "h"
    value.metadata["format"] = "csv"
    assert await resolved(promise("n0", "o0"), o0=value) == value


async def test_an_offloaded_literal_stays_offloaded_if_no_path_leads_into_it() -> None:
    value = offloaded("memory://nowhere")
    assert await resolved(promise("n0", "o0"), o0=value) == value
    binding = literals_pb2.BindingData(offloaded_metadata=value.offloaded_metadata)
    assert (await resolved(binding)).offloaded_metadata == value.offloaded_metadata


async def test_a_binding_that_nests_without_end_is_refused() -> None:
    binding = literals_pb2.BindingData()
    inner = binding
    for _ in range(150):
        inner = inner.collection.bindings.add()
    with pytest.raises(Invalid, match="nests more than 100"):
        await resolved(binding)


def test_promised_nodes_are_those_of_every_promise_within() -> None:
    binding = bound({"a": [1, promise("n0", "o0")], "b": promise("n1", "o0"), "c": [[promise("n0", "o1")]]})
    assert sorted(promised_nodes(binding)) == ["n0", "n0", "n1"]
    assert not list(promised_nodes(bound([1, {"a": "b"}])))


def test_promised_nodes_of_a_binding_that_nests_without_end_are_found() -> None:
    binding = literals_pb2.BindingData()
    inner = binding
    for _ in range(5000):
        inner = inner.collection.bindings.add()
    inner.CopyFrom(promise("n0", "o0"))
    assert list(promised_nodes(binding)) == ["n0"]


def as_floats(value: Any) -> Any:
    """Numbers as a protobuf struct converts them."""
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case list():
            return [as_floats(item) for item in value]
        case dict():
            return {key: as_floats(item) for key, item in value.items()}
    return value


FORMS: dict[str, tuple[Callable[[Any], literals_pb2.Literal], Callable[[Any], Any]]] = {
    "map": (literal, lambda value: value),
    "msgpack": (msgpack, lambda value: value),
    "struct": (struct, as_floats),
    "union": (lambda value: union(literal(value)), lambda value: value),
    "union of msgpack": (lambda value: union(msgpack(value)), lambda value: value),
}


@pytest.mark.parametrize("form", FORMS)
@given(case=trees_with_paths())
async def test_a_path_resolves_as_in_python(form: str, case: tuple[Any, list[str | int], Any]) -> None:
    tree, path, there = case
    make, expect = FORMS[form]
    assert await at(make(tree), *path) == expect(there)


@pytest.mark.parametrize("form", FORMS)
@given(
    tree=st.dictionaries(st.text(max_size=3), trees, max_size=3),
    path=st.lists(st.text(max_size=3) | st.integers(-3, 3), min_size=1, max_size=5),
)
async def test_a_path_that_leads_nowhere_is_invalid_and_names_the_promise(
    form: str, tree: Any, path: list[str | int]
) -> None:
    value = tree
    try:
        for step in path:
            if isinstance(value, list) is not isinstance(step, int) or (isinstance(step, int) and step < 0):
                raise TypeError
            value = value[step]
    except (TypeError, KeyError, IndexError):
        with pytest.raises(Invalid, match=r"n0\.o0"):
            await at(FORMS[form][0](tree), *path)
    else:
        assert await at(FORMS[form][0](tree), *path) == FORMS[form][1](value)


async def test_a_path_goes_through_lists_maps_and_structs_of_all_kinds() -> None:
    value = literal({"foo": literal([struct({"bar": "car"})])})
    assert await at(value, "foo", 0, "bar") == "car"
    value = literal([literal({"model": union(msgpack({"weights": [[1, 2], [3]]}))})])
    assert await at(value, 0, "model", "weights", 1, 0) == 3


async def test_a_path_goes_through_offloaded_literals() -> None:
    async with Storage() as storage:
        for name, value in (("list", literal([1, offloaded("memory://map")])), ("map", literal({"k": "v"}))):
            await storage.write(f"memory://{name}", value.SerializeToString())
        found = await resolve(
            promise("n0", "o0", 1, "k"), lambda node, variable: wired(offloaded("memory://list")), storage
        )
        assert python(found) == "v"
        found = await resolve(promise("n0", "o0", 1), lambda node, variable: wired(offloaded("memory://list")), storage)
        assert parsed(found) == offloaded("memory://map")


async def test_a_list_in_msgpack_becomes_a_collection_that_a_map_task_can_run_over() -> None:
    found = await resolved(promise("n0", "o0", "xs"), o0=msgpack({"xs": [1, {"a": 2}, None]}))
    assert [item.scalar.binary.tag for item in found.collection.literals] == ["msgpack"] * 3
    assert python(found) == [1, {"a": 2}, None]


async def test_a_list_in_a_struct_becomes_a_collection_of_collections() -> None:
    found = await resolved(promise("n0", "o0", "foo"), o0=struct({"foo": [["a", "b"], [{"c": 1.5}]]}))
    assert found.collection.literals[0].collection.literals[1].scalar.primitive.string_value == "b"
    assert found.collection.literals[1].collection.literals[0].scalar.generic.fields["c"].number_value == 1.5


async def test_a_dataclass_within_a_list_keeps_its_form() -> None:
    value = literal([msgpack({"a": 1})])
    assert await resolved(promise("n0", "o0", 0), o0=value) == msgpack({"a": 1})


async def test_values_in_msgpack_keep_their_bytes() -> None:
    """A number in four bytes stays one in four bytes: nothing is encoded again."""
    inner = b"\x81\xa1x\xd2\x00\x00\x00\x01"
    found = await resolved(promise("n0", "o0", "inner"), o0=binary(b"\x81\xa5inner" + inner))
    assert found.scalar.binary.value == inner


async def test_a_map_in_msgpack_may_have_numbers_as_keys() -> None:
    assert await at(msgpack({1: {"a": True}}), 1, "a") is True


@pytest.mark.parametrize("value", [2**63, 2**64 - 1])
async def test_an_integer_that_does_not_fit_is_refused(value: int) -> None:
    with pytest.raises(Invalid, match=r"n0\.o0\['x'\] is \d+, which does not fit"):
        await at(msgpack({"x": value}), "x")


async def test_bytes_and_none_in_msgpack_stay_msgpack() -> None:
    for value in (b"raw", None):
        assert await resolved(promise("n0", "o0", "x"), o0=msgpack({"x": value})) == msgpack(value)


@given(data=st.binary(max_size=40), path=st.lists(st.text(max_size=2) | st.integers(-1, 2), min_size=1, max_size=3))
async def test_garbage_instead_of_msgpack_is_a_propeller_error(data: bytes, path: list[str | int]) -> None:
    try:
        found = await resolved(promise("n0", "o0", *path), o0=binary(data))
    except (Invalid, CorruptBlob) as error:
        assert "n0.o0" in str(error)  # noqa: PT017 - it may be valid msgpack as well
    else:
        assert found.WhichOneof("value")


async def test_msgpack_that_nests_without_end_is_refused() -> None:
    deep = b"\x91" * 100_000 + b"\x01"
    with pytest.raises(CorruptBlob, match="nests deeper than it may"):
        await at(binary(deep), 0)


async def test_a_path_as_long_as_the_value_is_deep_is_followed() -> None:
    value: Any = "end"
    for _ in range(80):
        value = [value]
    assert await at(msgpack(value), *[0] * 80) == "end"


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        (literal({"a": 1}), ("b",), r"n0\.o0\['b'\] does not exist: the keys are 'a'"),
        (literal({str(number): 1 for number in range(30)}), ("b",), "and 10 more"),
        (literal([1, 2]), (2,), r"n0\.o0\[2\] does not exist: the list has 2 items"),
        (literal([1, 2]), (-1,), r"n0\.o0\[-1\] does not exist"),
        (literal([1, 2]), ("x",), "takes attribute 'x' of a list"),
        (literal({"a": 1}), (0,), "takes item 0 of a map"),
        (literal(1), ("x",), "leads into a primitive, which has no attributes"),
        (literal(None), ("x",), "leads into a none_type, which has no attributes"),
        (literals_pb2.Literal(), ("x",), "leads into an empty value"),
        (struct({"a": 1}), ("a", "b"), "leads into a number_value"),
        (msgpack({"a": 1}), ("a", "b"), "leads into a single value"),
        (binary(b"", "protobuf"), ("a",), "of format 'protobuf'; only msgpack is known"),
        (binary(b""), ("a",), "leads into"),
    ],
)
async def test_the_message_of_a_bad_path_names_position_and_value(
    value: literals_pb2.Literal, path: tuple[str | int, ...], message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        await at(value, *path)


def test_the_form_of_a_path_in_messages_is_pythons() -> None:
    from propeller.storage._attributes import text_of

    assert text_of([attribute("a"), attribute(2)]) == "['a'][2]"
    assert text_of([types_pb2.PromiseAttribute()]) == "['']"


async def test_msgpack_with_bytes_after_its_end_is_corrupt() -> None:
    with pytest.raises(CorruptBlob):
        await at(binary(msgspec.msgpack.encode({"a": 1}) + b"\x00"), "a")
