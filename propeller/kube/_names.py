"""Names of fields: Kubernetes' are camelCase, Python's are not, and a struct without `rename="camel"` reads nothing."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any, get_args

import msgspec


class FieldNameWarning(UserWarning):
    """A field of a typed object has a snake_case name, which Kubernetes never sends: it stays at its default."""


def warn_of_snake_case(type_: Any) -> None:
    """Warn of each such field by its path, once for a type."""
    for path, name in _snake_case_fields(type_):
        warnings.warn(
            f"{path} is read from a field named {name!r}, but Kubernetes' fields are camelCase: declare the struct "
            f'with rename="camel". If the kind really has this name, say so: {name}_ = msgspec.field(name={name!r})',
            FieldNameWarning,
            stacklevel=4,
        )


def _snake_case_fields(type_: Any) -> tuple[tuple[str, str], ...]:
    return _of_struct(type_) if isinstance(type_, type) and issubclass(type_, msgspec.Struct) else ()


@functools.cache
def _of_struct(type_: type[msgspec.Struct]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    seen: set[Any] = set()

    def look(struct: type[msgspec.Struct], path: str) -> None:
        seen.add(struct)
        for field in _fields(struct):
            where = f"{path}.{field.name}"
            if field.encode_name == field.name and "_" in field.name.strip("_"):  # else it was named on purpose
                found.append((where, field.encode_name))
            for inner in _structs_in(field.type):
                if inner not in seen:
                    look(inner, where)

    look(type_, type_.__name__)
    return tuple(found)


def _structs_in(type_: Any) -> Iterator[type[msgspec.Struct]]:
    """The structs that a field's type names, however deep in lists, maps and unions."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        yield type_
    for argument in get_args(type_):
        yield from _structs_in(argument)


def _fields(struct: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    try:
        return msgspec.structs.fields(struct)
    except NameError:  # an annotation that cannot be resolved yet: decoding will say so if it never can be
        return ()
