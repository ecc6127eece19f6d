"""Types of variables, and which may be bound to which.

A `Types` table interns flyteidl.core.LiteralType messages for one compilation: equal messages are one `Type`, so a
question about a pair of types is answered once, however many nodes ask it.

Guarantees
    `castable` is Flyte's AreTypesCastable (compiler/validators/typing.go), in time that grows with the product of the
    types' sizes; Flyte's is exponential for unions of one union.
Caveats
    If Flyte crashes on a type that lacks its inner type (a column without a type, a union value without one), the types
    are not castable.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from flyteidl.core import types_pb2

from propeller.compiler._json import Unrepresentable, struct_to_json
from propeller.compiler._schemas import offers
from propeller.compiler._trampoline import Trampoline, run

_STRING = types_pb2.SimpleType.STRING
_STRUCT = types_pb2.SimpleType.STRUCT
_NONE = types_pb2.SimpleType.NONE
_COLUMN_TYPES = {
    types_pb2.SchemaType.SchemaColumn.INTEGER: types_pb2.SimpleType.INTEGER,
    types_pb2.SchemaType.SchemaColumn.FLOAT: types_pb2.SimpleType.FLOAT,
    types_pb2.SchemaType.SchemaColumn.STRING: types_pb2.SimpleType.STRING,
    types_pb2.SchemaType.SchemaColumn.BOOLEAN: types_pb2.SimpleType.BOOLEAN,
    types_pb2.SchemaType.SchemaColumn.DATETIME: types_pb2.SimpleType.DATETIME,
    types_pb2.SchemaType.SchemaColumn.DURATION: types_pb2.SimpleType.DURATION,
}
_MAX_TYPE_CHARACTERS = 200


class Type:
    """One type. `key` is its message serialized, `kind` the name of the field that is set in it, "" if none is;
    `missing` stands for an absent type.
    """

    def __init__(
        self, message: types_pb2.LiteralType, table: Types, key: bytes = b"", *, missing: bool = False
    ) -> None:
        self.message = message
        self.key = key
        self.missing = missing
        self.kind: str = message.WhichOneof("type") or ""
        self.simple: int | None = message.simple if self.kind == "simple" else None
        self._table = table

    @property
    def is_none(self) -> bool:
        return self.simple == _NONE

    @cached_property
    def inner(self) -> Type | None:
        """The element type of a collection or a map; None for other types."""
        if self.kind not in {"collection_type", "map_value_type"}:
            return None
        return self._table.of(getattr(self.message, self.kind))

    @cached_property
    def variants(self) -> tuple[Type, ...]:
        return tuple(self._table.of(variant) for variant in self.message.union_type.variants)

    @cached_property
    def is_optional(self) -> bool:
        """Whether a parameter of this type may stay unbound. Flyte reads an unset simple type as NONE, so a union with
        any variant that is not simple counts.
        """
        return any(variant.message.simple == _NONE for variant in self.variants)

    @cached_property
    def tag(self) -> str:
        return self.message.structure.tag

    @cached_property
    def fields(self) -> dict[str, Type]:
        """The fields of a dataclass."""
        fields = self.message.structure.dataclass_type
        return {name: self._table.of(fields[name]) for name in fields}

    @cached_property
    def columns(self) -> list[tuple[str, Type]]:
        """The columns of a structured dataset."""
        return [
            (
                column.name,
                self._table.of(column.literal_type) if column.HasField("literal_type") else self._table.missing,
            )
            for column in self.message.structured_dataset_type.columns
        ]

    @cached_property
    def bare(self) -> bytes:
        """The type without metadata, annotation and structure: decides if nothing else is known."""
        copy = types_pb2.LiteralType()
        copy.CopyFrom(self.message)
        for field in ("metadata", "annotation", "structure"):
            copy.ClearField(field)
        return copy.SerializeToString(deterministic=True)

    @cached_property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema in the metadata; None if it cannot be represented as JSON."""
        try:
            return struct_to_json(self.message.metadata)
        except Unrepresentable:
            return None

    def __str__(self) -> str:
        return _describe(self)


class Types:
    """The table of one compilation."""

    def __init__(self) -> None:
        self._types: dict[bytes, Type] = {}
        self._castable: dict[tuple[Type, Type, bool], bool] = {}
        self.missing = Type(types_pb2.LiteralType(), self, missing=True)
        self._simple = {
            number: self.of(types_pb2.LiteralType(simple=name)) for name, number in types_pb2.SimpleType.items()
        }
        self.none = self._simple[_NONE]

    def of(self, message: types_pb2.LiteralType) -> Type:
        key = message.SerializeToString(deterministic=True)
        found = self._types.get(key)
        if found is None:
            found = self._types[key] = Type(message, self, key)
        return found

    def simple(self, number: int) -> Type:
        return self._simple[number]

    def holder(self, kind: str, inner: Type) -> Type:
        """Return the list ("collection_type") or map ("map_value_type") of a type; missing if the type is missing."""
        if inner.missing:
            return self.missing
        message = types_pb2.LiteralType()
        getattr(message, kind).CopyFrom(inner.message)
        return self.of(message)

    def optional(self, inner: Type) -> Type:
        """Return the union of a type with none; a union that has none among its variants as it is."""
        if inner.missing or inner.is_none or any(variant.is_none for variant in inner.variants):
            return inner
        message = types_pb2.LiteralType()
        variants = inner.message.union_type.variants if inner.kind == "union_type" else (inner.message,)
        message.union_type.variants.extend([*variants, self.none.message])
        return self.of(message)

    def castable(self, source: Type, target: Type) -> bool:
        """Whether a value of type `source` may be bound to a variable of type `target`."""
        found = self._castable.get((source, target, True))
        return run(self._fits(source, target)) if found is None else found

    def _fits(self, source: Type, target: Type) -> Trampoline[bool]:
        """As `_casts`; a union of one variant is also castable if that variant is."""
        key = (source, target, True)
        found = self._castable.get(key)
        if found is None:
            found = len(source.variants) == 1 and bool((yield self._casts(source.variants[0], target)))
            found = found or bool((yield self._casts(source, target)))
            self._castable[key] = found
        return found

    def _casts(self, source: Type, target: Type) -> Trampoline[bool]:
        key = (source, target, False)
        found = self._castable.get(key)
        if found is None:
            found = self._castable[key] = bool((yield self._decide(source, target)))
        return found

    def _decide(self, source: Type, target: Type) -> Trampoline[bool]:
        if source.missing or target.missing:
            return False
        match target.kind:
            case "collection_type" | "map_value_type":
                if source.kind != target.kind or source.inner is None or target.inner is None:
                    return False
                return source.inner.is_none or bool((yield self._casts(source.inner, target.inner)))
            case "blob":
                ours, theirs = target.message.blob.format, source.message.blob.format
                return source.kind == "blob" and (not ours or not theirs or ours == theirs)
            case "schema":
                return _schema_casts(source, target)
            case "structured_dataset_type":
                return bool((yield self._dataset_casts(source, target)))
            case "union_type":
                return bool((yield self._union_casts(source, target)))
            case _:
                return source.is_none if target.is_none else _same(source, target)

    def _union_casts(self, source: Type, target: Type) -> Trampoline[bool]:
        """Every variant of a union must be castable; of any other type, exactly one variant of the target must accept
        it.
        """
        if source.kind == "union_type":
            for variant in source.variants:
                for place in target.variants:
                    if (yield self._fits(variant, place)):
                        break
                else:
                    return False
            return True
        places = 0
        for place in target.variants:
            if (yield self._fits(source, place)):
                places += 1
        return places == 1

    def _dataset_casts(self, source: Type, target: Type) -> Trampoline[bool]:
        if source.is_none:
            return True
        wanted = target.message.structured_dataset_type
        if source.kind == "schema":
            if wanted.format and wanted.format.lower() != "parquet":
                return False
            given = {column.name: column.type for column in source.message.schema.columns}
            if not given or not target.columns:
                return True
            return all(
                name in given and _COLUMN_TYPES.get(given[name]) == kind.message.simple for name, kind in target.columns
            )
        if source.kind != "structured_dataset_type":
            return False
        theirs, ours = source.message.structured_dataset_type.format, wanted.format
        if theirs and ours and theirs.lower() != ours.lower():
            return False
        if not source.columns or not target.columns:
            return True
        columns = dict(source.columns)
        for name, kind in target.columns:
            if name not in columns or not (yield self._casts(columns[name], kind)):
                return False
        return True


def _schema_casts(source: Type, target: Type) -> bool:
    wanted = target.message.schema.columns
    if source.kind == "schema":
        given = {column.name: column.type for column in source.message.schema.columns}
        if not given or not wanted:
            return True
        return all(column.name in given and given[column.name] == column.type for column in wanted)
    if source.kind != "structured_dataset_type":
        return False
    dataset = source.message.structured_dataset_type
    if dataset.format and dataset.format.lower() != "parquet":
        return False
    types = {column.name: column.literal_type.simple for column in dataset.columns}
    if not types or not wanted:
        return True
    return all(column.name in types and _COLUMN_TYPES.get(column.type) == types[column.name] for column in wanted)


def _same(source: Type, target: Type) -> bool:
    """Types that have no rule of their own are equal or do not fit. Enums are strings of a kind, both ways."""
    if source.kind == "enum_type" and target.simple == _STRING:
        return True
    if target.kind == "enum_type" and source.simple == _STRING:
        return True
    if source.tag and source.tag != target.tag:
        return False
    if source.simple == _STRUCT and target.simple == _STRUCT:
        if not source.message.HasField("metadata") or not target.message.HasField("metadata"):
            return True
        if source.schema is None or target.schema is None:
            return False
        ours, theirs = (kind.message.metadata.SerializeToString(deterministic=True) for kind in (target, source))
        return ours == theirs or offers(source.schema, target.schema)
    return source.bare == target.bare


def _describe(kind: Type) -> str:
    """Return a readable form, such as `list[integer]`, cut if it is very long."""
    parts: list[str] = []
    stack: list[Type | str] = [kind]
    length = 0
    while stack and length < _MAX_TYPE_CHARACTERS:
        top = stack.pop()
        if isinstance(top, str):
            parts.append(top)
            length += len(top)
            continue
        inner = top.inner
        if top.missing or not top.kind:
            stack.append("no type")
        elif inner is not None:
            stack += ["]", inner, "list[" if top.kind == "collection_type" else "dict[string, "]
        elif top.variants:
            stack.append(")")
            for variant in reversed(top.variants):
                stack += [variant, " | "]
            stack[-1] = "("
        else:
            stack.append(_name(top))
    return "".join(parts) + ("..." if stack else "")


def _name(kind: Type) -> str:
    if kind.simple is not None:
        names = {value.number: value.name for value in types_pb2.SimpleType.DESCRIPTOR.values}
        return names.get(kind.simple, str(kind.simple)).lower()
    match kind.kind:
        case "enum_type":
            return f"enum of {', '.join(kind.message.enum_type.values)}"
        case "blob":
            return f"blob of format {kind.message.blob.format!r}"
        case "schema":
            return f"schema with columns {', '.join(column.name for column in kind.message.schema.columns) or 'any'}"
        case "structured_dataset_type":
            return f"structured dataset with columns {', '.join(name for name, _ in kind.columns) or 'any'}"
        case _:
            return kind.kind
