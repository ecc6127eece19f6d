"""From plain data (of YAML or JSON) to a declaration, and everything in it that is of no use.

Guarantees
    Every problem has its own path. A field that cannot be read has its default in what is returned, so that the rest
    can be checked as well.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from propeller.routing._declared import Access, Cluster, Declaration, Pool, Rule
from propeller.routing._problems import MAX_PROBLEMS, Path, Problem
from propeller.text import bounded, one_line

S = TypeVar("S", bound=msgspec.Struct)

_KINDS: Mapping[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
    list: "a list",
    dict: "an object",
}

_MAX_SHOWN = 60


def read(document: Any) -> tuple[Declaration, list[Problem]]:
    """A declaration, and what is wrong with the document's names and types."""
    return read_as(Declaration, document)


def read_as(type_: type[S], document: Any) -> tuple[S, list[Problem]]:
    """As `read`, for any struct; an object in it that cannot be read is of no use if there are problems."""
    reader = _Reader()
    return reader.struct(type_, document, (), type_), reader.problems


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def struct(self, type_: type[S], value: Any, path: Path, default: Callable[[], S]) -> S:
        """`default` makes what stands for it if it is no object."""
        if not isinstance(value, dict):
            self._wrong(value, "an object", path)
            return default()
        hints = _hints(type_)
        found: dict[str, Any] = {}
        fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}
        for name, inner in value.items():
            if name not in fields:
                self._add((*path, str(name)), _unknown(str(name), fields))
            elif inner is not None or type(None) in get_args(hints[fields[name].name]):
                read = self._value(hints[fields[name].name], inner, (*path, name))
                if read is not msgspec.UNSET:
                    found[fields[name].name] = read
        for name, field in fields.items():
            if field.required and field.name not in found:
                if value.get(name) is None:
                    self._add(path, f"{name} is missing")
                found[field.name] = _PLACEHOLDERS.get(hints[field.name], "")
        return type_(**found)

    def _value(self, type_: Any, value: Any, path: Path) -> Any:
        """UNSET if it cannot be read."""
        origin, arguments = get_origin(type_), get_args(type_)
        if origin is UnionType and type(None) in arguments:
            if value is None:
                return None
            (type_,) = (one for one in arguments if one is not type(None))
            return self._value(type_, value, path)
        if origin is tuple:
            return self._list(arguments[0], value, path)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return self._map(arguments[1], value, path)
        if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            return self.struct(type_, value, path, lambda: _PLACEHOLDERS.get(type_, msgspec.UNSET))
        return self._leaf(type_, value, path)

    def _list(self, type_: Any, value: Any, path: Path) -> Any:
        if not isinstance(value, list):
            self._wrong(value, "a list", path)
            return msgspec.UNSET
        items = (self._value(type_, item, (*path, place)) for place, item in enumerate(value))
        return tuple(item for item in items if item is not msgspec.UNSET)

    def _map(self, type_: Any, value: Any, path: Path) -> Any:
        if not isinstance(value, dict):
            self._wrong(value, "an object", path)
            return msgspec.UNSET
        items = ((str(key), self._value(type_, item, (*path, str(key)))) for key, item in value.items())
        return {key: item for key, item in items if item is not msgspec.UNSET}

    def _leaf(self, type_: Any, value: Any, path: Path) -> Any:
        try:
            return msgspec.convert(value, type_)
        except (msgspec.ValidationError, OverflowError):
            self._wrong(value, _wanted(type_), path)
            return msgspec.UNSET

    def _wrong(self, value: Any, wanted: str, path: Path) -> None:
        found = _KINDS.get(type(value), "something else")
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            found = f"{one_line(bounded(repr(value), _MAX_SHOWN))}"
        self._add(path, f"has to be {wanted}, and is {found}")

    def _add(self, path: Path, text: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(path, text))


_NO_ACCESS = Access()
_PLACEHOLDERS: dict[Any, Any] = {
    Access: _NO_ACCESS,
    Cluster: Cluster(name="", connection=_NO_ACCESS),
    Pool: Pool(name=""),
    Rule: Rule(name="", pool=""),
}
"""What stands for an object that cannot be read, so that the places of those after it stay right."""


def _hints(type_: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(type_)


def _wanted(type_: Any) -> str:
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return _one_of([str(one.value) for one in type_])
    return _one_of([_KINDS[one] for one in get_args(type_) or (type_,)])


def _one_of(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _unknown(name: str, fields: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, fields, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(fields)}"
    return f"there is no field {one_line(bounded(name, _MAX_SHOWN))!r}; {hint}"
