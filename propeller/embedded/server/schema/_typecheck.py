"""Decode objects of built-in kinds as kube-apiserver does: drop unknown fields, refuse wrong types.

Guarantees
    A valid object costs one pass in C (a msgspec struct generated from the schema) and is returned unchanged. Any other
    object is cleaned: nulls, empty lists and maps, and unknown fields are dropped, and the latter reported; a field of
    the wrong type is a `TypeMismatch`, worded as by Go's decoder. So writing an empty list over a missing one changes
    nothing, as with Go's `omitempty`.
    Definitions are always cleaned: the type of the schemas in them contains itself, and cannot be a struct.
"""

from __future__ import annotations

import datetime
import functools
import re
from typing import Annotated, Any

import msgspec

from propeller.embedded.server.schema._schema import DEFINITION, JSON_SCHEMA, OBJECT_META, Schema, Shape, builtin

_NAME = re.compile(r"\W")
_Time = Annotated[datetime.datetime, msgspec.Meta(tz=True)]


class TypeMismatch(Exception):
    """A value of the wrong type; the text names both and the field."""


class TypeCheck:
    """The check of one type."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    @functools.cached_property
    def _struct(self) -> Any:
        return _type_of(self._schema)

    def __call__(self, obj: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the object with known fields only, and the paths of the others. Raises TypeMismatch."""
        try:
            msgspec.convert(obj, self._struct)
        except msgspec.ValidationError:
            return self._cleaned(obj)
        return self._cleaned(obj) if self._schema.name == DEFINITION else (obj, ())

    def _cleaned(self, obj: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        unknown: list[str] = []
        cleaned = _clean(obj, self._schema, "", self._schema.name, unknown)
        assert isinstance(cleaned, dict)
        try:
            msgspec.convert(cleaned, self._struct)
        except msgspec.ValidationError as error:
            raise TypeMismatch(str(error)) from error
        return cleaned, tuple(unknown)


@functools.cache
def check_of(type_name: str) -> TypeCheck:
    return TypeCheck(builtin(type_name))


def check_metadata(metadata: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The same for the metadata of a custom resource; paths begin with `metadata`."""
    if not isinstance(metadata, dict):
        raise TypeMismatch(_mismatch(metadata, builtin(OBJECT_META), "metadata", ""))
    cleaned, unknown = check_of(OBJECT_META)(metadata)
    return cleaned, tuple(f"metadata.{path}" for path in unknown)


def _clean(value: Any, schema: Schema, path: str, owner: str, unknown: list[str]) -> Any:
    match schema.shape:
        case Shape.ANY:
            return _clean_schemas(value, path, owner, unknown) if _may_be_schema(schema) else value
        case Shape.SCALAR:
            if not _is_scalar(value, schema):
                raise TypeMismatch(_mismatch(value, schema, path, owner))
            return value
        case Shape.LIST:
            if not isinstance(value, list):
                raise TypeMismatch(_mismatch(value, schema, path, owner))
            items = schema.items
            return [_clean(one, items, f"{path}[{index}]", owner, unknown) for index, one in enumerate(value)]
    if not isinstance(value, dict):
        raise TypeMismatch(_mismatch(value, schema, path, owner))
    cleaned = {}
    for key, member in value.items():
        inner = f"{path}.{key}" if path else key
        if schema.shape is Shape.OBJECT and key not in schema.fields:
            unknown.append(inner)
        elif member is not None:
            value = _clean(member, schema.child(key), inner, schema.name or owner, unknown)
            if value or not _is_omitted_when_empty(schema, key):
                cleaned[key] = value
    return cleaned


def _may_be_schema(schema: Schema) -> bool:
    """Whether it stands for a JSON schema or something simpler: a flag, a list."""
    return schema.name.startswith(f"{JSON_SCHEMA}Or")


def _clean_schemas(value: Any, path: str, owner: str, unknown: list[str]) -> Any:
    """Such a value: the schemas in it cleaned, the rest as it is."""
    if isinstance(value, list):
        return [_clean_schemas(one, f"{path}[{index}]", owner, unknown) for index, one in enumerate(value)]
    return _clean(value, builtin(JSON_SCHEMA), path, owner, unknown) if isinstance(value, dict) else value


def _is_omitted_when_empty(schema: Schema, field: str) -> bool:
    """Whether a field of a type is the same empty as not at all: a list or a map that is not required."""
    return (
        schema.shape is Shape.OBJECT
        and schema.child(field).shape in (Shape.LIST, Shape.MAP)
        and field not in schema.raw.get("required", ())
        and not _contains_itself(schema.name)
    )


def _is_scalar(value: Any, schema: Schema) -> bool:
    match schema.type:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return isinstance(value, str | int | float) and not isinstance(value, bool)


def _mismatch(value: Any, schema: Schema, path: str, owner: str) -> str:
    field = f"{_short(owner)}.{path}" if owner else path
    return f"json: cannot unmarshal {json_type(value)} into Go struct field {field} of type {_go_type(schema)}"


def json_type(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case None:
            return "null"
        case _:
            return "object"


def _go_type(schema: Schema) -> str:
    if schema.shape is Shape.LIST:
        return f"[]{_go_type(schema.items)}"
    if schema.shape is Shape.MAP:
        return f"map[string]{_go_type(schema.items)}"
    if schema.name:
        return f"v1.{_short(schema.name)}"
    return {"integer": schema.format or "int64", "boolean": "bool"}.get(schema.type, schema.type)


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _type_of(schema: Schema) -> Any:
    """Return the msgspec type that accepts exactly what the schema does."""
    match schema.shape:
        case Shape.OBJECT:
            return _struct_of(schema.name) if schema.name else _new_struct(schema)
        case Shape.LIST:
            return list[_type_of(schema.items)]  # type: ignore[misc] # a type made at run time
        case Shape.MAP:
            return dict[str, _type_of(schema.items)]  # type: ignore[misc]
        case Shape.SCALAR if schema.format == "date-time":
            return _Time
        case Shape.SCALAR:
            return {"string": str, "boolean": bool, "integer": int, "number": float}.get(schema.type, str | int | float)
        case Shape.ANY:
            return Any


@functools.cache
def _struct_of(type_name: str) -> Any:
    schema = builtin(type_name)
    return Any if _contains_itself(type_name) else _new_struct(schema)


def _contains_itself(type_name: str) -> bool:
    return type_name == JSON_SCHEMA


def _new_struct(schema: Schema) -> Any:
    """All fields optional, none unknown, none null. The names of fields are made valid in Python; JSON's are kept."""
    fields = []
    for name, child in schema.fields.items():
        type_ = _type_of(child)
        if _is_omitted_when_empty(schema, name):
            type_ = Annotated[type_, msgspec.Meta(min_length=1)]
        if type_ is not Any:
            type_ |= msgspec.UnsetType
        fields.append((f"{_NAME.sub('_', name)}_", type_, msgspec.field(default=msgspec.UNSET, name=name)))
    return msgspec.defstruct(_short(schema.name) or "Object", fields, forbid_unknown_fields=True, gc=False)
