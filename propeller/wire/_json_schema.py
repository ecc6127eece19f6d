"""Check a JSON value against the JSON schema of a dataclass or model, which flytekit writes into the type's metadata.

flytekit has three writers: mashumaro for dataclasses (draft 2020-12), pydantic for models (2020-12 with `$defs`), and
marshmallow-jsonschema in older versions (draft 7 with `definitions`).

Guarantees
    Keywords that are not known here, and forms of known ones that are not, are skipped: the value fits as far as it was
    checked. So do values at `MAX_DEPTH`, and all once `MAX_STEPS` schemas, names and values were looked at: neither a
    schema that refers to itself nor one of a megabyte takes more than some milliseconds.
    A schema is read where a value needs it, and never converted as a whole.
    Patterns are skipped: a stranger's regular expression could take for ever.
Caveats
    In draft 7, enums have the names of their members, and times are texts, while flytekit's decoder of that age takes
    enums by value and times as numbers: there, enums are skipped, and a number fits where the schema says text.
Source
    JSON Schema, draft 2020-12, core (8.2, 10.2, 10.3) and validation (6); RFC 6901 for the pointers of `$ref`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeAlias

import msgspec
from google.protobuf import struct_pb2

from propeller.text import bounded

MAX_STEPS = 2_000
MAX_DEPTH = 100
"""Of schemas inside schemas, as they are followed; values are nested less deeply."""

MAX_NAMED = 10
"""Fields and choices that a message names."""
MAX_NAME_CHARACTERS = 60
MAX_PATH_CHARACTERS = 120
_MAX_POINTER_PARTS = 10

Fields: TypeAlias = Any
"""The fields of a schema: protobuf's map of names to `Value`s."""


class Fault(enum.Enum):
    """What is wrong with a value's part."""

    VALUE = "value"
    MISSING = "missing"
    UNKNOWN = "unknown"


class Misfit(msgspec.Struct, frozen=True):
    """The first part of a value that does not fit: where it is, what was `expected` there, and the value `found`."""

    path: str
    expected: str
    found: Any
    fault: Fault = Fault.VALUE


def misfit(value: Any, schema: struct_pb2.Struct) -> Misfit | None:
    """What of a value of JSON does not fit the schema; None if all fits, as far as it was checked."""
    return _Checker(schema).check(value, schema.fields, "", 0)


class _Checker:
    """One check, and what is left of its steps."""

    def __init__(self, root: struct_pb2.Struct) -> None:
        self._root = root
        self._steps = MAX_STEPS
        uri = root.fields["$schema"].string_value if "$schema" in root.fields else ""
        self._is_draft_7 = "draft-07" in uri

    def check(self, value: Any, schema: Fields, path: str, depth: int) -> Misfit | None:
        if depth > MAX_DEPTH or not self._step():
            return None
        for rule in (self._type, self._choice, self._bounds):
            if (found := rule(value, schema, path)) is not None:
                return found
        for inner in self._applied(schema):
            if (found := self.check(value, inner, path, depth + 1)) is not None:
                return found
        for keyword in ("anyOf", "oneOf"):
            if (found := self._any_of(value, self._schemas(schema, keyword), path, depth)) is not None:
                return found
        if isinstance(value, dict):
            return self._object(value, schema, path, depth)
        return self._list(value, schema, path, depth) if isinstance(value, list) else None

    def _step(self) -> bool:
        self._steps -= 1
        return self._steps >= 0

    def _within_steps(self, items: Any) -> Iterator[Any]:
        return (item for item in islice(items, MAX_STEPS) if self._step())

    def _type(self, value: Any, schema: Fields, path: str) -> Misfit | None:
        wanted = _types(schema)
        if not wanted or any(name not in _TYPES or _TYPES[name].fits(value) for name in wanted):
            return None
        if self._is_draft_7 and "string" in wanted and _is_number(value):
            return None
        return Misfit(path, " or ".join(_TYPES[name].words for name in wanted[:MAX_NAMED]), value)

    def _choice(self, value: Any, schema: Fields, path: str) -> Misfit | None:
        if "const" in schema:
            choices = [schema["const"]]
        elif "enum" in schema and not self._is_draft_7:
            choices = list(self._within_steps(schema["enum"].list_value.values))
        else:
            return None
        if not choices or any(not _is_plain(choice) or _is_same(value, _plain(choice)) for choice in choices):
            return None
        if self._steps < 0:
            return None
        shown = ", ".join(bounded(str(_shown(choice)), MAX_NAME_CHARACTERS) for choice in choices[:MAX_NAMED])
        more = ", ..." if len(choices) > MAX_NAMED else ""
        return Misfit(path, f"one of {shown}{more}" if len(choices) > 1 else shown, value)

    def _bounds(self, value: Any, schema: Fields, path: str) -> Misfit | None:
        for keyword, measure, fits, words in _BOUNDS:
            if keyword not in schema or schema[keyword].WhichOneof("kind") != "number_value":
                continue
            bound, size = schema[keyword].number_value, measure(value)
            if size is not None and not fits(size, bound):
                return Misfit(path, words.format(f"{bound:g}"), value)
        return None

    def _applied(self, schema: Fields) -> Iterator[Fields]:
        """Schemas that hold beside this one: what it refers to, and all of `allOf`."""
        if "$ref" in schema and (target := self._target(schema["$ref"].string_value)) is not None:
            yield target
        yield from self._schemas(schema, "allOf")

    def _target(self, reference: str) -> Fields | None:
        """The fields of the schema that a reference within the document names; None if there is none."""
        whole, hash_sign, pointer = reference.partition("#")
        parts = pointer.split("/", _MAX_POINTER_PARTS)
        if whole or not hash_sign or parts[0] or len(parts) > _MAX_POINTER_PARTS:
            return None
        fields = self._root.fields
        for part in parts[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if name not in fields or fields[name].WhichOneof("kind") != "struct_value":
                return None
            fields = fields[name].struct_value.fields
        return fields

    def _schemas(self, schema: Fields, keyword: str) -> list[Fields]:
        """The schemas in the keyword's list; none if one of them is no object."""
        if keyword not in schema:
            return []
        values = list(self._within_steps(schema[keyword].list_value.values))
        found = [value.struct_value.fields for value in values if value.WhichOneof("kind") == "struct_value"]
        return found if len(found) == len(values) else []

    def _any_of(self, value: Any, schemas: list[Fields], path: str, depth: int) -> Misfit | None:
        """One of them has to fit, also of `oneOf`: what fits several is the decoder's choice."""
        misfits: list[Misfit] = []
        for schema in schemas:
            found = self.check(value, schema, path, depth + 1)
            if found is None:
                return None
            misfits.append(found)
        if not misfits:
            return None
        deeper = next((one for one in misfits if one.path != path), None)
        if deeper is not None:  # the others are of another type: null, say
            return deeper
        expected = list(dict.fromkeys(one.expected for one in misfits))
        return Misfit(path, " or ".join(expected[:MAX_NAMED]), value)

    def _object(self, value: dict[str, Any], schema: Fields, path: str, depth: int) -> Misfit | None:
        known = schema["properties"].struct_value.fields if "properties" in schema else {}
        others, is_closed = _others(schema)
        for name, item in value.items():
            inner = known.get(name, others)
            if inner is None:
                if is_closed:
                    return _unknown_field(path, name, item, known)
            elif inner.WhichOneof("kind") == "struct_value":
                at = _joined(path, name)
                if (found := self.check(item, inner.struct_value.fields, at, depth + 1)) is not None:
                    return found
        required = schema["required"].list_value.values if "required" in schema else ()
        for one in self._within_steps(required):
            if (name := one.string_value) and name not in value:
                return Misfit(_joined(path, name), _words_of(known, name), None, Fault.MISSING)
        return None

    def _list(self, value: list[Any], schema: Fields, path: str, depth: int) -> Misfit | None:
        first = self._schemas(schema, "prefixItems") or self._schemas(schema, "items")  # the latter in draft 7
        rest = _struct(schema, "items")
        for index, item in enumerate(value):
            inner = first[index] if index < len(first) else rest
            if inner is None:
                continue
            if (found := self.check(item, inner, f"{path}[{index}]", depth + 1)) is not None:
                return found
        return None


def _types(schema: Fields) -> list[str]:
    """The names of types of which a value has one; empty if the schema names none, or none in a known form."""
    if "type" not in schema:
        return []
    match schema["type"].WhichOneof("kind"):
        case "string_value":
            return [schema["type"].string_value]
        case "list_value":
            names = [one.string_value for one in islice(schema["type"].list_value.values, MAX_NAMED)]
            return names if all(names) else []
    return []


def _struct(schema: Fields, keyword: str) -> Fields | None:
    if keyword not in schema or schema[keyword].WhichOneof("kind") != "struct_value":
        return None
    return schema[keyword].struct_value.fields


def _others(schema: Fields) -> tuple[struct_pb2.Value | None, bool]:
    """The schema of fields that have none of their own, if any; and whether there may be no such field."""
    if "additionalProperties" not in schema or "patternProperties" in schema:
        return None, False
    others = schema["additionalProperties"]
    if others.WhichOneof("kind") == "bool_value":
        return None, not others.bool_value
    return others, False


def _unknown_field(path: str, name: str, value: Any, known: Fields) -> Misfit:
    names = sorted(islice(iter(known), MAX_STEPS))
    named = [bounded(one, MAX_NAME_CHARACTERS) for one in names[:MAX_NAMED]]
    shown = ", ".join([*named, "..."] if len(names) > MAX_NAMED else named)
    return Misfit(_joined(path, name), shown or "no field", value, Fault.UNKNOWN)


def _words_of(known: Fields, name: str) -> str:
    """What a field's own schema says of its type."""
    schema = known[name].struct_value.fields if name in known else {}
    words = [_TYPES[one].words for one in _types(schema) if one in _TYPES]
    return " or ".join(words) or "a value"


def _joined(path: str, name: str) -> str:
    return _cut(f"{path}.{bounded(name, MAX_NAME_CHARACTERS)}" if path else bounded(name, MAX_NAME_CHARACTERS))


def _cut(path: str) -> str:
    return path if len(path) <= MAX_PATH_CHARACTERS else "..." + path[-MAX_PATH_CHARACTERS:]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


class _Type(msgspec.Struct, frozen=True):
    words: str
    fits: Callable[[Any], bool]


_TYPES = {
    "null": _Type("null", lambda value: value is None),
    "boolean": _Type("true or false", lambda value: isinstance(value, bool)),
    "integer": _Type("a whole number", _is_whole),
    "number": _Type("a number", _is_number),
    "string": _Type("text", lambda value: isinstance(value, str)),
    "array": _Type("a JSON list", lambda value: isinstance(value, list)),
    "object": _Type("a JSON object", lambda value: isinstance(value, dict)),
}


def _number(value: Any) -> float | None:
    return value if _is_number(value) else None


def _characters(value: Any) -> int | None:
    return len(value) if isinstance(value, str) else None


def _items(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None


def _entries(value: Any) -> int | None:
    return len(value) if isinstance(value, dict) else None


def _is_multiple(number: float, of: float) -> bool:
    """Of fractions, which binary numbers do not have exactly, none is refused."""
    whole = all(isinstance(one, int) or one.is_integer() for one in (number, of))
    return not whole or of <= 0 or not math.isfinite(of) or int(number) % int(of) == 0


def _at_least(size: float, bound: float) -> bool:
    return size >= bound


def _at_most(size: float, bound: float) -> bool:
    return size <= bound


_BOUNDS: tuple[tuple[str, Callable[[Any], float | None], Callable[[float, float], bool], str], ...] = (
    ("minimum", _number, _at_least, "a number of at least {}"),
    ("maximum", _number, _at_most, "a number of at most {}"),
    ("exclusiveMinimum", _number, lambda size, bound: size > bound, "a number above {}"),
    ("exclusiveMaximum", _number, lambda size, bound: size < bound, "a number below {}"),
    ("multipleOf", _number, _is_multiple, "a multiple of {}"),
    ("minLength", _characters, _at_least, "text of at least {} characters"),
    ("maxLength", _characters, _at_most, "text of at most {} characters"),
    ("minItems", _items, _at_least, "a JSON list of at least {} items"),
    ("maxItems", _items, _at_most, "a JSON list of at most {} items"),
    ("minProperties", _entries, _at_least, "a JSON object of at least {} fields"),
    ("maxProperties", _entries, _at_most, "a JSON object of at most {} fields"),
)


def _is_plain(choice: struct_pb2.Value) -> bool:
    return choice.WhichOneof("kind") in {"null_value", "bool_value", "number_value", "string_value"}


def _plain(choice: struct_pb2.Value) -> Any:
    kind = choice.WhichOneof("kind")
    return None if kind in {None, "null_value"} else getattr(choice, kind)


def _shown(choice: struct_pb2.Value) -> Any:
    value = _plain(choice)
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case _:
            return value


def _is_same(value: Any, choice: Any) -> bool:
    """Equal as JSON has it: `true` is not 1."""
    return value == choice and isinstance(value, bool) == isinstance(choice, bool)
