"""Decide whether a dataclass's JSON schema offers everything that another one requires.

Flyte compares the schemas in two types' metadata with a library for draft-07 schemas: a producer may have more fields
than a consumer knows. This follows that library (json-schema-compare over jsonschema 1.x), but decides the cases in
which it crashes (a schema that contains itself, a pattern on one side only).

Assumptions
    Schemas are JSON: dicts, lists, strings, numbers, booleans, None.
"""

from __future__ import annotations

import enum
from typing import Any

from propeller.compiler._trampoline import Trampoline, run

Schema = dict[str, Any] | bool

_DRAFTS = {
    "http://json-schema.org/schema#",
    "http://json-schema.org/draft-07/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-04/schema#",
}
_TYPES = {"array", "boolean", "integer", "null", "number", "object", "string"}
_COUNTS = ("minProperties", "maxProperties", "minItems", "maxItems", "minLength", "maxLength")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_LISTS = ("allOf", "anyOf", "oneOf")
_ONES = ("not", "if", "then", "else", "propertyNames", "contains", "additionalItems")
_MAPS = ("properties", "patternProperties", "definitions")


class _Verdict(enum.IntEnum):
    FITS = 0
    UNCHECKED = 1
    """Something that the comparison does not look at (additionalProperties, not): good at the top, a difference inside
    allOf and its like."""
    DIFFERS = 2


class _Malformed(Exception):
    """Not a draft-07 schema: what it allows is unknown."""


def offers(source: dict[str, Any], target: dict[str, Any]) -> bool:
    """Return whether values of schema `source` are accepted by `target`."""
    try:
        for schema in (source, target):
            if schema.get("$schema", "http://json-schema.org/schema#") not in _DRAFTS:
                return False
            _check(schema)
        comparison = _Comparison(source, target)
        return run(comparison.compare(target, source)) is not _Verdict.DIFFERS
    except _Malformed:
        return False


def _check(schema: Any) -> None:
    """Refuse schemas that the draft-07 meta-schema refuses, in the keywords that are compared."""
    stack = [schema]
    while stack:
        part = stack.pop()
        if isinstance(part, bool):
            continue
        if not isinstance(part, dict):
            raise _Malformed
        _check_keywords(part)
        stack.extend(part[name] for name in _ONES if name in part)
        for name in _LISTS:
            if name in part:
                stack.extend(_list_of(part[name]))
        for name in _MAPS:
            if name in part:
                stack.extend(_object(part[name]).values())
        if "additionalProperties" in part:
            stack.append(part["additionalProperties"])
        if "items" in part:
            items = part["items"]
            stack.extend(items if isinstance(items, list) else [items])


def _check_keywords(part: dict[str, Any]) -> None:
    types = part.get("type", [])
    names = types if isinstance(types, list) else [types]
    if "type" in part and (not names or len(set(map(str, names))) != len(names)):
        raise _Malformed
    if any(not isinstance(name, str) or name not in _TYPES for name in names):
        raise _Malformed
    for name in _COUNTS:
        if name in part and (not _is_number(part[name]) or part[name] != int(part[name]) or part[name] < 0):
            raise _Malformed
    for name in _NUMBERS:
        if name in part and not _is_number(part[name]):
            raise _Malformed
    if part.get("multipleOf", 1) <= 0:
        raise _Malformed
    required = part.get("required", [])
    if not isinstance(required, list) or any(not isinstance(name, str) for name in required):
        raise _Malformed
    if len(set(required)) != len(required):
        raise _Malformed
    if not isinstance(part.get("enum", []), list) or not isinstance(part.get("uniqueItems", False), bool):
        raise _Malformed
    if any(not isinstance(part.get(name, ""), str) for name in ("$ref", "format", "pattern", "title", "description")):
        raise _Malformed


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _list_of(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _Malformed
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Malformed
    return value


class _Comparison:
    """Comparison of a narrower schema (the expected one) with a wider one (the offered one)."""

    def __init__(self, wide: dict[str, Any], narrow: dict[str, Any]) -> None:
        self._roots = {"wide": wide, "narrow": narrow}
        self._known: dict[tuple[int, int], _Verdict] = {}

    def compare(self, narrow: Schema, wide: Schema) -> Trampoline[_Verdict]:
        narrow, wide = self._resolve(narrow, "narrow"), self._resolve(wide, "wide")
        pair = (id(narrow), id(wide))
        verdict = self._known.get(pair)
        if verdict is None:
            self._known[pair] = _Verdict.FITS  # until it is known: a schema may contain itself
            verdict = self._known[pair] = yield self._decide(narrow, wide)
        return verdict

    def _decide(self, narrow: Schema, wide: Schema) -> Trampoline[_Verdict]:
        low: dict[str, Any] = {} if isinstance(narrow, bool) else narrow
        high: dict[str, Any] = {} if isinstance(wide, bool) else wide
        types, wide_types = _type_names(low), _type_names(high)
        if types != wide_types and not (not types and wide_types == {"object"}):
            return _Verdict.DIFFERS
        verdicts = [_compare_constants(low, high)]
        if "string" in types:
            verdicts.append(_compare_strings(low, high))
        if "number" in types:
            verdicts.append(_compare_numbers(low, high))
        if "array" in types:
            verdicts.append((yield self._compare_arrays(low, high)))
        if "object" in types or not types:
            verdicts.append((yield self._compare_objects(low, high)))
        verdict = max(verdicts)
        for name in _LISTS:
            verdict = max(verdict, (yield self._compare_lists(name, low, high)))
        return verdict

    def _resolve(self, schema: Any, side: str) -> Schema:
        seen: set[int] = set()
        while isinstance(schema, dict) and "$ref" in schema:
            if id(schema) in seen:
                raise _Malformed
            seen.add(id(schema))
            schema = self._follow(schema["$ref"], side)
        if not isinstance(schema, dict | bool):
            raise _Malformed
        return schema

    def _follow(self, reference: str, side: str) -> Any:
        part: Any = self._roots[side]
        if reference in {"", "#", "#/"}:
            return part
        if not reference.startswith("#/"):
            raise _Malformed  # another document: there is none
        for step in reference[2:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(part, dict) and name in part:
                part = part[name]
            elif isinstance(part, list) and name.isdecimal() and int(name) < len(part):
                part = part[int(name)]
            else:
                raise _Malformed
        return part

    def _compare_lists(self, name: str, low: dict[str, Any], high: dict[str, Any]) -> Trampoline[_Verdict]:
        narrow, wide = low.get(name, []), high.get(name, [])
        if bool(narrow) != bool(wide):
            return _Verdict.DIFFERS
        for candidate in wide:
            for part in narrow:
                if (yield self._equal(part, candidate)):
                    break
            else:
                return _Verdict.DIFFERS
        return _Verdict.FITS

    def _equal(self, narrow: Schema, wide: Schema) -> Trampoline[bool]:
        low, high = self._resolve(narrow, "narrow"), self._resolve(wide, "wide")
        if isinstance(low, bool) or isinstance(high, bool):
            return low is high
        return (yield self.compare(low, high)) is _Verdict.FITS

    def _compare_objects(self, low: dict[str, Any], high: dict[str, Any]) -> Trampoline[_Verdict]:
        verdict = _Verdict.FITS
        if any(part.get("additionalProperties", True) is not True for part in (low, high)):
            verdict = _Verdict.UNCHECKED
        if any(part.get(name) for part in (low, high) for name in ("dependencies", "patternProperties")):
            verdict = _Verdict.UNCHECKED
        if any("not" in part for part in (low, high)):
            verdict = _Verdict.UNCHECKED
        if not set(low.get("required", [])) <= set(high.get("required", [])):
            return _Verdict.DIFFERS
        if _bounds_differ(low, high, "minProperties", "maxProperties"):
            return _Verdict.DIFFERS
        for name in ("if", "then", "else"):
            narrow, wide = _conditional(low, name), _conditional(high, name)
            if (narrow is None) != (wide is None):
                return _Verdict.DIFFERS
            if narrow is not None and wide is not None and not (yield self._equal(narrow, wide)):
                return _Verdict.DIFFERS
        wide_properties = high.get("properties", {})
        for name, part in low.get("properties", {}).items():
            if name not in wide_properties:
                return _Verdict.DIFFERS
            verdict = max(verdict, (yield self.compare(part, wide_properties[name])))
            if verdict is _Verdict.DIFFERS:
                break
        return verdict

    def _compare_arrays(self, low: dict[str, Any], high: dict[str, Any]) -> Trampoline[_Verdict]:
        if _bounds_differ(low, high, "minItems", "maxItems"):
            return _Verdict.DIFFERS
        if low.get("uniqueItems", False) and not high.get("uniqueItems", False):
            return _Verdict.DIFFERS
        verdict = _Verdict.FITS
        if any(isinstance(part.get("items"), list) for part in (low, high)):
            verdict = _Verdict.UNCHECKED
        if "items" not in low:
            return verdict
        if "items" not in high:
            return _Verdict.DIFFERS
        narrow, wide = low["items"], high["items"]
        if isinstance(narrow, list) != isinstance(wide, list):
            return _Verdict.DIFFERS
        pairs = zip(narrow, wide, strict=False) if isinstance(narrow, list) else [(narrow, wide)]
        if isinstance(narrow, list) and len(narrow) != len(wide):
            return _Verdict.DIFFERS
        for one, other in pairs:
            verdict = max(verdict, (yield self.compare(one, other)))
        return verdict


def _type_names(schema: dict[str, Any]) -> set[str]:
    types = schema.get("type", [])
    return set(types if isinstance(types, list) else [types])


def _conditional(schema: dict[str, Any], name: str) -> Schema | None:
    """`if` counts only together with `then` or `else`."""
    if schema.get("if") is None or (schema.get("then") is None and schema.get("else") is None):
        return None
    return schema.get(name)


def _bounds_differ(low: dict[str, Any], high: dict[str, Any], least: str, most: str) -> bool:
    """Whether a bound that is expected is not kept."""
    if least in low and (least not in high or high[least] < low[least]):
        return True
    return most in low and (most not in high or high[most] > low[most])


def _compare_strings(low: dict[str, Any], high: dict[str, Any]) -> _Verdict:
    if low.get("format", "") != high.get("format", ""):
        return _Verdict.DIFFERS
    if "enum" in low:
        values, wide_values = low["enum"], high.get("enum", [])
        if any(not isinstance(value, str) for value in (*values, *wide_values)):
            return _Verdict.DIFFERS
        if not set(wide_values) <= {*values, ""}:
            return _Verdict.DIFFERS
    if "pattern" in low and low["pattern"] != high.get("pattern"):
        return _Verdict.DIFFERS
    return _Verdict.DIFFERS if _bounds_differ(low, high, "minLength", "maxLength") else _Verdict.FITS


def _compare_numbers(low: dict[str, Any], high: dict[str, Any]) -> _Verdict:
    if _bounds_differ(low, high, "minimum", "maximum"):
        return _Verdict.DIFFERS
    if "multipleOf" in low or "multipleOf" in high:
        narrow, wide = low.get("multipleOf", 0), high.get("multipleOf", 0)
        if not narrow or not wide or narrow % 1 or wide % 1 or wide % narrow:
            return _Verdict.DIFFERS
    exclusive = any(name in part for part in (low, high) for name in ("exclusiveMinimum", "exclusiveMaximum"))
    return _Verdict.UNCHECKED if exclusive else _Verdict.FITS


def _compare_constants(low: dict[str, Any], high: dict[str, Any]) -> _Verdict:
    if "const" not in low:
        return _Verdict.FITS
    if "const" not in high:
        return _Verdict.DIFFERS
    narrow, wide = low["const"], high["const"]
    return _Verdict.FITS if type(narrow) is type(wide) and narrow == wide else _Verdict.DIFFERS
