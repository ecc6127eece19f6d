"""Check custom resources against their structural schema: pruning, defaults, validation.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema and kube-openapi's validator, messages included.

Caveats
    CEL rules (`x-kubernetes-validations`) are not evaluated; creating a definition that has some returns a warning.
"""

from __future__ import annotations

import copy
import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from propeller.clock import parse_rfc3339
from propeller.embedded.server._errors import (
    Cause,
    duplicate_value,
    invalid_value,
    required,
    too_long,
    unsupported_value,
    wrong_type,
)
from propeller.embedded.server.schema._schema import Schema, Shape

_TYPE_FIELDS = ("apiVersion", "kind", "metadata")


def prune(value: Any, schema: Schema, path: str, unknown: list[str]) -> None:
    """Drop fields that are not in the schema, in place, and add their paths to `unknown`."""
    if isinstance(value, list):
        if schema.shape is Shape.LIST:
            for index, item in enumerate(value):
                prune(item, schema.items, f"{path}[{index}]", unknown)
        return
    if not isinstance(value, dict):
        return
    if schema.shape is Shape.MAP:
        for key, member in value.items():
            prune(member, schema.items, f"{path}.{key}" if path else key, unknown)
    elif schema.shape is Shape.OBJECT or (schema.type == "object" and schema.raw.get("additionalProperties") is None):
        _prune_object(value, schema, path, unknown)


def _prune_object(value: dict[str, Any], schema: Schema, path: str, unknown: list[str]) -> None:
    known = schema.fields if schema.shape is Shape.OBJECT else {}
    for key in list(value):
        inner = f"{path}.{key}" if path else key
        if key in known:
            prune(value[key], known[key], inner, unknown)
        elif not schema.preserves_unknown and not (schema.embedded and key in _TYPE_FIELDS):
            unknown.append(inner)
            del value[key]


def fill_defaults(value: Any, schema: Schema) -> None:
    """Fill in the schema's defaults, in place; they also replace a null that is not allowed."""
    if isinstance(value, list):
        if schema.shape is Shape.LIST and _has_defaults(schema):
            for item in value:
                fill_defaults(item, schema.items)
        return
    if not isinstance(value, dict):
        return
    if schema.shape is Shape.MAP:
        for member in value.values():
            fill_defaults(member, schema.items)
    elif schema.shape is Shape.OBJECT:
        for name, field in schema.fields.items():
            if name in value and value[name] is None and not field.raw.get("nullable"):
                del value[name]
            if name not in value and "default" in field.raw and name != "metadata":
                value[name] = copy.deepcopy(field.raw["default"])
            if name in value and name != "metadata":
                fill_defaults(value[name], field)


def _has_defaults(schema: Schema) -> bool:
    return schema.items.shape is not Shape.SCALAR


def validate(value: Any, schema: Schema, path: str = "") -> Iterator[Cause]:
    """Validate a value against its schema."""
    if value is None and schema.raw.get("nullable"):
        return
    expected = _expected_types(schema)
    actual = _type_name(value)
    if expected and actual not in expected and not (actual == "integer" and "number" in expected):
        detail = f'{path} in body must be of type {",".join(expected)}: "{actual}"'
        yield wrong_type(path, actual, detail)
        return
    yield from _validate_value(value, schema.raw, path)
    match value:
        case dict():
            yield from _validate_members(value, schema, path)
        case list():
            yield from _validate_items(value, schema, path)
    yield from _validate_alternatives(value, schema, path)


def _expected_types(schema: Schema) -> tuple[str, ...]:
    if schema.raw.get("x-kubernetes-int-or-string"):
        return ("integer", "string")
    return (schema.type,) if schema.type else ()


def _type_name(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case list():
            return "array"
        case _:
            return "object"


def _validate_members(value: dict[str, Any], schema: Schema, path: str) -> Iterator[Cause]:
    for name in schema.raw.get("required") or ():
        if name not in value:
            yield required(f"{path}.{name}" if path else name)
    for name, member in value.items():
        if path or name != "metadata":
            inner = f"{path}.{name}" if path else name
            field = schema.fields.get(name) if schema.shape is Shape.OBJECT else None
            if schema.shape is Shape.MAP:
                field = schema.items
            if field is not None:
                yield from validate(member, field, inner)


def _validate_items(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    for index, item in enumerate(value):
        yield from validate(item, schema.items, f"{path}[{index}]")
    if schema.list_type == "atomic":
        return
    seen: list[Any] = []
    for index, item in enumerate(value):
        key = {name: item.get(name) for name in schema.list_keys} if isinstance(item, dict) else item
        if key in seen:
            yield duplicate_value(f"{path}[{index}]", key)
        seen.append(key)


def _validate_value(value: Any, raw: Mapping[str, Any], path: str) -> Iterator[Cause]:
    match value:
        case bool():
            pass
        case str():
            yield from _validate_text(value, raw, path)
        case int() | float():
            yield from _validate_number(value, raw, path)
        case list() | dict():
            yield from _validate_size(value, raw, path)
    if "enum" in raw and value not in raw["enum"]:
        yield unsupported_value(path, value, [str(one) for one in raw["enum"]])


def _validate_text(value: str, raw: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if "maxLength" in raw and len(value) > raw["maxLength"]:
        yield too_long(path, raw["maxLength"])
    if "minLength" in raw and len(value) < raw["minLength"]:
        yield invalid_value(path, value, f"{path} in body should be at least {raw['minLength']} chars long")
    if "pattern" in raw and not _pattern(raw["pattern"]).search(value):
        yield invalid_value(path, value, f"{path} in body should match '{raw['pattern']}'")
    if raw.get("format") == "date-time" and not _is_time(value):
        detail = f'{path} in body must be of type date-time: "{value}"'
        yield wrong_type(path, value, detail)


@functools.lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _is_time(value: str) -> bool:
    try:
        parse_rfc3339(value)
    except ValueError:
        return False
    return True


def _validate_number(value: float, raw: Mapping[str, Any], path: str) -> Iterator[Cause]:
    low, high, factor = raw.get("minimum"), raw.get("maximum"), raw.get("multipleOf")
    if low is not None and (value < low or (value == low and raw.get("exclusiveMinimum"))):
        bound = "greater than" if raw.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid_value(path, value, f"{path} in body should be {bound} {low:g}")
    if high is not None and (value > high or (value == high and raw.get("exclusiveMaximum"))):
        bound = "less than" if raw.get("exclusiveMaximum") else "less than or equal to"
        yield invalid_value(path, value, f"{path} in body should be {bound} {high:g}")
    if factor and not math.isclose(value / factor, round(value / factor), rel_tol=1e-12):
        yield invalid_value(path, value, f"{path} in body should be a multiple of {factor:g}")


def _validate_size(value: list[Any] | dict[str, Any], raw: Mapping[str, Any], path: str) -> Iterator[Cause]:
    what, unit = ("Properties", "properties") if isinstance(value, dict) else ("Items", "items")
    size, most, least = len(value), raw.get(f"max{what}"), raw.get(f"min{what}")
    if most is not None and size > most:
        message = f"Too many: {size}: must have at most {most} item{'' if most == 1 else 's'}"
        yield Cause("FieldValueTooMany", message, path)
    if least is not None and size < least:
        yield invalid_value(path, size, f"{path} in body should have at least {least} {unit}")


def _validate_alternatives(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    raw = schema.raw
    for one in raw.get("allOf") or ():
        yield from validate(value, Schema(one), path)
    if "anyOf" in raw and not any(_holds(value, one, path) for one in raw["anyOf"]):
        yield _alternative(f'"{path}" must validate at least one schema (anyOf)')
    if "oneOf" in raw:
        count = sum(_holds(value, one, path) for one in raw["oneOf"])
        if count != 1:
            found = "none valid" if count == 0 else f"{count} valid alternatives"
            yield _alternative(f'"{path}" must validate one and only one schema (oneOf). Found {found}')
    if "not" in raw and _holds(value, raw["not"], path):
        yield _alternative(f'"{path}" must not validate the schema (not)')


def _alternative(detail: str) -> Cause:
    return invalid_value("<nil>", "", detail)


def _holds(value: Any, raw: Mapping[str, Any], path: str) -> bool:
    return next(validate(value, Schema(raw), path), None) is None
