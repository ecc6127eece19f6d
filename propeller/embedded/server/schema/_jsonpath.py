"""The part of JSONPath that definitions use for columns and selectable fields: members, indexes, slices, `[*]`
and filters.

Such as `.spec.size`, `.items[0]`, `.items[-1:]`, `.a[*].b`, `.metadata.annotations['a\\.b/c']`,
`.status.conditions[?(@.type=="Ready")].status`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any

_STEP = re.compile(
    r"""
      \.?(?P<member>(?:[^.\[\\'"]|\\.)+)
    | \.?\[\s*+(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\s*\]
    | \[\s*+(?P<index>-?\d{1,9}+|\*)\s*+\]
    | \[\s*+(?P<slice>(?:-?\d{1,9}+)?:(?:-?\d{1,9}+)?(?::(?:\d{1,9}+)?)?)\s*+\]
    | \[\?\(\s*+@(?P<path>[^=!<>]*+)(?P<operator>==|!=)\s*+(?P<value>(?:'[^']*'|"[^"]*")\s*+|[^)]*+)\)\]
    """,
    re.VERBOSE,
)

_ESCAPED = re.compile(r"\\(.)")

MAX_STEPS = 100
"""Steps of a path: as deep as objects may be nested."""

_Step = tuple[str, str, str, str]
"""Operation and operands: member name, index, parts of a slice, or the path, operator and value of a filter."""


class BadPath(ValueError):
    """Text that is no path of this part of the language."""


def first(obj: Any, path: str) -> Any:
    """Return the first value at a path; None if there is none."""
    return next(find(obj, path), None)


def find(obj: Any, path: str) -> Iterator[Any]:
    """All values at a path, in order. Raises BadPath before the first."""
    found: Iterable[Any] = (obj,)
    for step in _steps(path):
        found = _take(found, step)
    return iter(found)


@functools.lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[_Step, ...]:
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    steps: list[_Step] = []
    position = 0
    while position < len(text):
        if len(steps) == MAX_STEPS:
            raise BadPath(f"a JSON path that columns may use has {MAX_STEPS} steps at most")
        match = _STEP.match(text, position)
        if match is None:
            raise BadPath(f"{path!r} is no JSON path that columns may use; it goes wrong at {text[position:]!r}")
        position = match.end()
        if match["member"] is not None:
            steps.append(("member", _ESCAPED.sub(r"\1", match["member"]), "", ""))
        elif match["quote"]:
            steps.append(("member", match["quoted"].replace("\\", ""), "", ""))
        elif match["index"]:
            steps.append(("index", match["index"], "", ""))
        elif match["slice"]:
            begin, end, stride = [*match["slice"].split(":"), ""][:3]
            if stride and not int(stride):
                raise BadPath(f"{path!r} has a slice that takes no steps: {match['slice']!r}")
            steps.append(("slice", begin, end, stride))
        else:
            steps.append(("filter", match["path"].rstrip(), match["operator"], match["value"].rstrip().strip("'\"")))
    return tuple(steps)


def _take(values: Iterable[Any], step: _Step) -> Iterator[Any]:
    match step:
        case ("member", name, _, _):
            return (value[name] for value in values if isinstance(value, dict) and name in value)
        case ("index", "*", _, _):
            return (item for value in values if isinstance(value, list) for item in value)
        case ("index", index, _, _):
            at = int(index)
            return (value[at] for value in values if isinstance(value, list) and -len(value) <= at < len(value))
        case ("slice", begin, end, stride):
            part = slice(*(int(number) if number else None for number in (begin, end, stride)))
            return (item for value in values if isinstance(value, list) for item in value[part])
        case (_, path, operator, wanted):
            return (
                item
                for value in values
                if isinstance(value, list)
                for item in value
                if (str(first(item, path)) == wanted) is (operator == "==")
            )
