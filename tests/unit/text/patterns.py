"""The package's regular expressions, and texts that are made to cost each of them as much as can be.

A pattern's own parts say what to repeat: a text that nearly matches, over and over, and then does not.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from re import _constants as c  # type: ignore[attr-defined] # the parser of the standard library, which has no types
from re import _parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

import propeller

ROOT = Path(propeller.__file__).parent
_METHODS = {"match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}
_OUTSIDE = {"propeller.cli.__main__", "propeller.cli.flytekit_bridge._worker"}
"""Not to be imported: they run."""

_PIECES = 4
"""Parts of a pattern that are repeated together, at most."""


class Found(NamedTuple):
    """A compiled pattern, where it is, and how it is used."""

    place: str
    pattern: re.Pattern[Any]
    methods: frozenset[str]


def patterns() -> list[Found]:
    """Every pattern that a module of the package holds, with the methods that it calls on that name."""
    found = []
    for module in pkgutil.walk_packages(propeller.__path__, "propeller."):
        if module.name in _OUTSIDE:
            continue
        loaded = importlib.import_module(module.name)
        uses = _uses(Path(loaded.__file__ or ""))
        for name, value in vars(loaded).items():
            method = getattr(value, "__name__", "")
            owner = getattr(value, "__self__", None)
            if isinstance(value, re.Pattern):
                found.append(Found(f"{module.name}.{name}", value, frozenset(uses.get(name, ()))))
            elif isinstance(owner, re.Pattern):
                found.append(Found(f"{module.name}.{name}", owner, frozenset({method})))
    return found


def calls_of_re() -> Iterator[tuple[Path, int, str]]:
    """Calls of the module `re` that stand in a function: no module holds their patterns."""
    for path in sorted(ROOT.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
                    yield path.relative_to(ROOT), node.lineno, ast.unparse(node.args[0])


def hostile_texts(pattern: re.Pattern[Any], size: int) -> Iterator[Any]:
    """Texts of about `size` characters."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    flags = pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    seen = set()
    for choice in range(3):
        for pieces in _samples(_parser.parse(source, flags), choice):
            for begin, end in itertools.combinations(range(len(pieces) + 1), 2):
                pump = "".join(pieces[begin:end])
                if end - begin > _PIECES or not pump or (pump, begin) in seen:
                    continue
                seen.add((pump, begin))
                text = "".join(pieces[:begin]) + pump * (size // len(pump))
                for whole in (text, text + "\0"):
                    yield whole.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else whole


def _samples(parsed: Any, choice: int) -> list[list[str]]:
    """Lists of pieces, each of which a part of the pattern matches; one for each way through the first branches."""
    found: list[list[str]] = [[]]
    after_literal = False
    for op, argument in parsed:
        if op is c.LITERAL and after_literal:
            found = [[*pieces[:-1], pieces[-1] + chr(argument)] for pieces in found]
        else:
            found = [before + option for before in found for option in _of(op, argument, choice)][:16]
        after_literal = op is c.LITERAL
    return found


def _of(op: Any, argument: Any, choice: int) -> list[list[str]]:
    match op:
        case c.LITERAL:
            return [[chr(argument)]]
        case c.NOT_LITERAL:
            return [["a" if argument != ord("a") else "b"]]
        case c.ANY:
            return [["x"]]
        case c.IN:
            return [[_member(argument, choice)]]
        case c.MAX_REPEAT | c.MIN_REPEAT | c.POSSESSIVE_REPEAT:
            least, most, inner = argument
            times = max(least, 1) if choice != 2 else min(max(least, 2), most)
            return [sample * times for sample in _samples(inner, choice)]
        case c.SUBPATTERN:
            return [["".join(sample)] if choice == 1 else sample for sample in _samples(argument[-1], choice)]
        case c.ATOMIC_GROUP:
            return _samples(argument, choice)
        case c.BRANCH:
            return [sample for branch in argument[1] for sample in _samples(branch, choice)]
        case _:
            return [[]]


def _member(members: Any, choice: int) -> str:
    """A character of a class: each choice another one, where there are more."""
    if members[0][0] is c.NEGATE:
        excluded = re.compile(_class(members[1:]))
        return [character for character in "a1-/: {(\\'\"" if not excluded.fullmatch(character)][choice]
    characters = []
    for op, argument in members:
        if op is c.LITERAL:
            characters.append(chr(argument))
        elif op is c.RANGE:
            characters.append(chr(argument[0]))
        elif op is c.CATEGORY:
            characters.append({c.CATEGORY_DIGIT: "1", c.CATEGORY_SPACE: " ", c.CATEGORY_WORD: "a"}.get(argument, "-"))
    return characters[-choice % len(characters)]


def _class(members: Any) -> str:
    inside = ""
    for op, argument in members:
        if op is c.LITERAL:
            inside += re.escape(chr(argument))
        elif op is c.RANGE:
            inside += f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}"
        elif op is c.CATEGORY:
            inside += {c.CATEGORY_DIGIT: r"\d", c.CATEGORY_SPACE: r"\s", c.CATEGORY_NOT_SPACE: r"\S"}.get(
                argument, r"\w"
            )
    return f"[{inside}]"


def _uses(path: Path) -> dict[str, set[str]]:
    uses: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in _METHODS and isinstance(node.value, ast.Name):
            uses.setdefault(node.value.id, set()).add(node.attr)
    return uses
