"""One change to a JSON document at a place drawn at random, and where that was."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

Path = tuple[str | int, ...]

RENAMED = "renamed from "


class Damage(msgspec.Struct, frozen=True):
    """`path` from the document's root, the value that stands there now (shortened), and what was done."""

    path: Path
    value: str
    how: str

    def __str__(self) -> str:
        return f"{self.how} {'.'.join(map(str, self.path))} = {self.value}"


def _nested(depth: int) -> Any:
    value: Any = "deep"
    for level in range(depth):
        value = {"a": value} if level % 2 else [value]
    return value


_VALUES: tuple[tuple[str, Any], ...] = (
    ("null", None),
    ("boolean", True),
    ("zero", 0),
    ("negative", -1),
    ("fraction", 1.5),
    ("large number", 2**63),
    ("huge number", 1e308),
    ("empty text", ""),
    ("text", "x"),
    ("other node", "n0"),
    ("start node", "start-node"),
    ("path", "../../etc/passwd"),
    ("escape", "a\x1b]0;title\x07\n2026 \u202eFORGED"),
    ("template", "{{.inputs.x}} $(PATH) $$"),
    ("words of secrets", "password" * 12_000),
    ("long text", "x" * 300_000),
    ("list", []),
    ("object", {}),
    ("list of lists", [[]]),
    ("object of objects", {"a": {}}),
    ("digits", "9" * 5_000),
    ("duration", "1e308h"),
)
_DEPTHS = (60, 101, 600, 3_000)


def damage(random: Random, document: Any, beginning: Path = ()) -> Damage:
    """Change one member somewhere in `document`, in place. `beginning` is the path that leads to the document."""
    holders = [found for found in _holders(document, beginning) if found[1]]
    path, holder = random.choice(holders)
    key = random.choice(list(holder)) if isinstance(holder, dict) else random.randrange(len(holder))
    place = (*path, key)
    match random.randrange(10):
        case 0:
            del holder[key]
            return Damage(place, "", "removed")
        case 1 if isinstance(holder, dict):
            other = random.choice(["", "x", "n0", "start-node", "../x", "A", "a" * 300, "\u202e"])
            holder[other] = holder.pop(key)
            return Damage((*path, other), repr(other)[:40], f"{RENAMED}{str(key)[:40]}")
        case 2:
            depth = random.choice(_DEPTHS)
            holder[key] = _nested(depth)
            return Damage(place, f"{depth} levels", "nested")
        case 3 if isinstance(holder, list):
            holder.append(holder[key])
            return Damage(place, "", "doubled")
        case _:
            how, value = random.choice(_VALUES)
            holder[key] = value
            return Damage(place, repr(value)[:60], how)


def _holders(document: Any, beginning: Path) -> list[tuple[Path, Any]]:
    """Every object and list in the document, with its path."""
    found: list[tuple[Path, Any]] = []
    rest = [(beginning, document)]
    while rest:
        path, part = rest.pop()
        if isinstance(part, dict):
            found.append((path, part))
            rest.extend(((*path, key), value) for key, value in part.items())
        elif isinstance(part, list):
            found.append((path, part))
            rest.extend(((*path, key), value) for key, value in enumerate(part))
    return found
