"""Check a pod spec: every known field has a value that Kubernetes' Go types accept (unknown fields are ignored, as
there).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from propeller.compiler._pod_fields import STRUCTS
from propeller.quantity import is_quantity


def find_pod_fault(spec: dict[str, Any]) -> str:
    """Return the path of the first field with an invalid value, and the value; "" if all are valid."""
    stack: list[tuple[str, Any, str]] = [("PodSpec", spec, "")]
    while stack:
        kind, value, path = stack.pop()
        if value is None:
            continue  # null leaves a field as it is
        if kind in _SCALARS:
            if not _SCALARS[kind](value):
                return f"{path} is {value!r}"
        elif kind.startswith("["):
            if not isinstance(value, list):
                return f"{path} is {value!r}, and no list"
            stack.extend((kind[1:-1], item, f"{path}[{index}]") for index, item in enumerate(value))
        elif not isinstance(value, dict):
            return f"{path or 'it'} is {value!r}, and no object"
        elif kind.startswith("{"):
            stack.extend((kind[1:-1], item, f"{path}.{name}") for name, item in value.items())
        else:
            fields = STRUCTS[kind]
            for name, item in value.items():
                known = name if name in fields else _FOLDED[kind].get(name.casefold())
                if known is not None:
                    stack.append((fields[known], item, f"{path}.{name}" if path else name))
    return ""


def _is_integer(bits: int) -> Callable[[Any], bool]:
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def check(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return value == int(value) and least <= int(value) <= most

    return check


def _is_quantity(value: Any) -> bool:
    if isinstance(value, str):
        return is_quantity(value.strip())
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_time(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return datetime.datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


_is_int32 = _is_integer(32)

_SCALARS: Mapping[str, Callable[[Any], bool]] = {
    "s": lambda value: isinstance(value, str),
    "b": lambda value: isinstance(value, bool),
    "i": _is_int32,
    "l": _is_integer(64),
    "q": _is_quantity,
    "is": lambda value: isinstance(value, str) or _is_int32(value),
    "t": _is_time,
    "any": lambda value: True,
}

_FOLDED = {kind: {name.casefold(): name for name in fields} for kind, fields in STRUCTS.items()}
"""Fields by case-folded name: Go matches names case-insensitively if none is equal."""
