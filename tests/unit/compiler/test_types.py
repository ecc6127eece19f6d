"""Which types may be bound to which."""

from __future__ import annotations

from typing import Any

import pytest
from flyteidl.core import types_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from propeller.compiler._types import Types

Kind = types_pb2.LiteralType
Column = types_pb2.SchemaType.SchemaColumn
INTEGER, STRING = Kind(simple=types_pb2.SimpleType.INTEGER), Kind(simple=types_pb2.SimpleType.STRING)
NONE, FLOAT = Kind(simple=types_pb2.SimpleType.NONE), Kind(simple=types_pb2.SimpleType.FLOAT)
ENUM = Kind(enum_type=types_pb2.EnumType(values=["a", "b"]))


def many(kind: Kind) -> Kind:
    return Kind(collection_type=kind)


def named(kind: Kind) -> Kind:
    return Kind(map_value_type=kind)


def union(*variants: Kind) -> Kind:
    return Kind(union_type=types_pb2.UnionType(variants=variants))


def blob(form: str) -> Kind:
    return Kind(blob=types_pb2.BlobType(format=form))


def schema(**columns: Any) -> Kind:
    made = types_pb2.SchemaType(columns=[Column(name=name, type=kind) for name, kind in columns.items()])
    return Kind(schema=made)


def table(form: str = "", **columns: Kind) -> Kind:
    made = types_pb2.StructuredDatasetType(format=form)
    for name, kind in columns.items():
        made.columns.add(name=name).literal_type.CopyFrom(kind)
    return Kind(structured_dataset_type=made)


def struct(**metadata: Any) -> Kind:
    made = Kind(simple=types_pb2.SimpleType.STRUCT)
    if metadata:
        made.metadata.update(metadata)
    return made


def tagged(kind: Kind, tag: str) -> Kind:
    made = Kind()
    made.CopyFrom(kind)
    made.structure.tag = tag
    return made


OBJECT = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]}
FEWER = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
INTS, TEXTS = Column.INTEGER, Column.STRING


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (INTEGER, INTEGER),
        (ENUM, STRING),
        (STRING, ENUM),
        (many(INTEGER), many(INTEGER)),
        (many(NONE), many(many(STRING))),
        (named(NONE), named(INTEGER)),
        (blob("txt"), blob("")),
        (blob(""), blob("txt")),
        (schema(a=INTS, b=TEXTS), schema(a=INTS)),
        (schema(), schema(a=INTS)),
        (table("parquet", a=INTEGER), schema(a=INTS)),
        (schema(a=INTS), table("PARQUET", a=INTEGER)),
        (table("csv", a=INTEGER, b=STRING), table(a=INTEGER)),
        (NONE, table()),
        (INTEGER, union(INTEGER, STRING)),
        (union(INTEGER), INTEGER),
        (union(INTEGER, STRING), union(STRING, INTEGER, FLOAT)),
        (struct(), struct(**OBJECT)),
        (struct(**OBJECT), struct(**FEWER)),
        (INTEGER, tagged(INTEGER, "int")),
    ],
    ids=str,
)
def test_it_fits(source: Kind, target: Kind) -> None:
    types = Types()
    assert types.castable(types.of(source), types.of(target))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (INTEGER, FLOAT),
        (ENUM, INTEGER),
        (Kind(enum_type=types_pb2.EnumType(values=["a"])), ENUM),
        (INTEGER, many(INTEGER)),
        (many(INTEGER), named(INTEGER)),
        (blob("txt"), blob("csv")),
        (schema(a=INTS), schema(a=TEXTS)),
        (schema(a=INTS), schema(a=INTS, b=INTS)),
        (table("csv", a=INTEGER), schema(a=INTS)),
        (INTEGER, union(STRING, FLOAT)),
        (INTEGER, union(INTEGER, INTEGER)),
        (union(INTEGER, STRING), INTEGER),
        (union(INTEGER, FLOAT), union(INTEGER, STRING)),
        (struct(**FEWER), struct(**OBJECT)),
        (tagged(INTEGER, "int"), INTEGER),
        (Kind(), INTEGER),
    ],
    ids=str,
)
def test_it_does_not_fit(source: Kind, target: Kind) -> None:
    types = Types()
    assert not types.castable(types.of(source), types.of(target))


def test_a_union_with_a_variant_that_is_not_simple_counts_as_optional() -> None:
    types = Types()
    assert types.of(union(INTEGER, NONE)).is_optional
    assert types.of(union(INTEGER, many(INTEGER))).is_optional  # Flyte reads an unset simple type as NONE
    assert not types.of(union(INTEGER, STRING)).is_optional


def test_unions_of_one_union_are_decided_at_once() -> None:
    deep, other = INTEGER, STRING
    for _ in range(45):
        deep, other = union(deep), union(other)
    types = Types()
    assert not types.castable(types.of(deep), types.of(other))


def test_a_type_that_is_missing_inside_another_fits_nothing() -> None:
    hollow = table(a=INTEGER)
    hollow.structured_dataset_type.columns[0].ClearField("literal_type")
    types = Types()
    assert not types.castable(types.of(hollow), types.of(table(a=INTEGER)))
    assert not types.castable(types.missing, types.of(INTEGER))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (many(named(INTEGER)), "list[dict[string, integer]]"),
        (union(INTEGER, many(STRING)), "(integer | list[string])"),
        (ENUM, "enum of a, b"),
        (blob("txt"), "blob of format 'txt'"),
        (table(a=INTEGER), "structured dataset with columns a"),
        (Kind(), "no type"),
    ],
    ids=str,
)
def test_a_type_is_described_in_words(kind: Kind, words: str) -> None:
    assert str(Types().of(kind)) == words


def test_a_very_long_description_is_cut() -> None:
    wide = union(*(Kind(enum_type=types_pb2.EnumType(values=[f"value{n}"])) for n in range(1000)))
    assert len(str(Types().of(wide))) < 300


simple = st.sampled_from([INTEGER, STRING, NONE, FLOAT, ENUM, blob("a"), struct(**OBJECT), table(a=INTEGER)])
kinds = st.recursive(
    simple, lambda inner: inner.map(many) | inner.map(named) | st.lists(inner, max_size=3).map(lambda v: union(*v))
)


@settings(deadline=None)
@given(kinds)
def test_every_type_without_a_doubtful_union_fits_itself(kind: Kind) -> None:
    types = Types()
    if "union_type" not in str(kind):
        assert types.castable(types.of(kind), types.of(kind))


@settings(deadline=None)
@given(kinds, kinds)
def test_castable_does_not_depend_on_earlier_calls(source: Kind, target: Kind) -> None:
    types, fresh = Types(), Types()
    types.castable(types.of(target), types.of(source))
    first = types.castable(types.of(source), types.of(target))
    assert first == types.castable(types.of(source), types.of(target))
    assert first == fresh.castable(fresh.of(source), fresh.of(target))
