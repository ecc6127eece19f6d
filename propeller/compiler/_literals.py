"""Infer the types of literals from their values alone, as Flyte does (compiler/validators/utils.go)."""

from __future__ import annotations

from collections.abc import Iterable

from flyteidl.core import literals_pb2, types_pb2

from propeller.compiler._trampoline import Trampoline, run
from propeller.compiler._types import Type, Types

MESSAGEPACK = "msgpack"
"""The tag of a binary scalar that holds a struct (flyteidl's coreutils.MESSAGEPACK)."""

_PRIMITIVES = {
    "integer": types_pb2.SimpleType.INTEGER,
    "float_value": types_pb2.SimpleType.FLOAT,
    "string_value": types_pb2.SimpleType.STRING,
    "boolean": types_pb2.SimpleType.BOOLEAN,
    "datetime": types_pb2.SimpleType.DATETIME,
    "duration": types_pb2.SimpleType.DURATION,
}


def type_of_primitive(types: Types, primitive: literals_pb2.Primitive) -> Type:
    """A primitive that is not set counts as none."""
    return types.simple(_PRIMITIVES.get(primitive.WhichOneof("value"), types_pb2.SimpleType.NONE))


def type_of_scalar(types: Types, scalar: literals_pb2.Scalar) -> Type | None:
    """Return the scalar's type; None if its kind is unknown, `types.missing` if the kind is known but the value does
    not say which type it has.
    """
    match scalar.WhichOneof("value"):
        case "primitive":
            return type_of_primitive(types, scalar.primitive)
        case "blob":
            if not scalar.blob.HasField("metadata"):
                return None
            if not scalar.blob.metadata.HasField("type"):
                return types.missing
            return types.of(types_pb2.LiteralType(blob=scalar.blob.metadata.type))
        case "binary":
            packed = scalar.binary.tag == MESSAGEPACK
            return types.simple(types_pb2.SimpleType.STRUCT if packed else types_pb2.SimpleType.BINARY)
        case "schema":
            if not scalar.schema.HasField("type"):
                return types.missing
            return types.of(types_pb2.LiteralType(schema=scalar.schema.type))
        case "structured_dataset":
            metadata = scalar.structured_dataset.metadata
            if not metadata.HasField("structured_dataset_type"):
                return types.missing
            return types.of(types_pb2.LiteralType(structured_dataset_type=metadata.structured_dataset_type))
        case "none_type":
            return types.none
        case "error":
            return types.simple(types_pb2.SimpleType.ERROR)
        case "generic":
            return types.simple(types_pb2.SimpleType.STRUCT)
        case "union":
            if not scalar.union.HasField("type"):
                return types.missing
            return types.of(types_pb2.LiteralType(union_type=types_pb2.UnionType(variants=[scalar.union.type])))
        case _:
            return None


def type_of_literal(types: Types, literal: literals_pb2.Literal) -> Type | None:
    """Return the literal's type; None if its content is unknown. A list of several types is a list of their union, an
    empty list one of none; an unknown item makes the list's type unknown too.
    """
    return run(_type_of(types, literal))


def _type_of(types: Types, literal: literals_pb2.Literal) -> Trampoline[Type | None]:
    match literal.WhichOneof("value"):
        case "scalar":
            return type_of_scalar(types, literal.scalar)
        case "collection":
            inner = yield _type_of_items(types, literal.collection.literals)
            return types.holder("collection_type", inner or types.missing)
        case "map":
            literals = literal.map.literals
            inner = yield _type_of_items(types, [literals[key] for key in literals])
            return types.holder("map_value_type", inner or types.missing)
        case "offloaded_metadata":
            metadata = literal.offloaded_metadata
            return types.of(metadata.inferred_type) if metadata.HasField("inferred_type") else None
        case _:
            return None


def _type_of_items(types: Types, literals: Iterable[literals_pb2.Literal]) -> Trampoline[Type | None]:
    found: dict[Type | None, None] = {}
    empty: Type | None = None
    for literal in literals:
        kind = literal.WhichOneof("value")
        if kind == "scalar":
            item = type_of_scalar(types, literal.scalar)
        else:
            item = yield _type_of(types, literal)
        if kind == "collection" and not literal.collection.literals:
            empty = item
        else:
            found[item] = None
    if not found:
        return types.none if empty is None else empty
    if len(found) == 1:
        return next(iter(found))
    return _union(types, found)


def _union(types: Types, found: Iterable[Type | None]) -> Type:
    """Lists of unions are joined to one list of all their variants, as Flyte does."""
    ordered = sorted((item or types.missing for item in found), key=lambda item: item.key)
    variants: list[Type] = []
    nested = False
    for item in ordered:
        inner = item.inner if item.kind == "collection_type" else None
        if inner is not None and inner.kind == "union_type":
            nested = True
            variants.extend(inner.variants)
        else:
            variants.append(item)
    if any(variant.missing for variant in variants):
        return types.missing
    union = types.of(
        types_pb2.LiteralType(union_type=types_pb2.UnionType(variants=[variant.message for variant in variants]))
    )
    return types.holder("collection_type", union) if nested else union


def literal_fits(literal: literals_pb2.Literal, expected: types_pb2.LiteralType) -> bool:
    """Return whether a value may be that of a variable of this type, by Flyte's rules for bindings."""
    types = Types()
    given = type_of_literal(types, literal)
    return given is not None and types.castable(given, types.of(expected))
