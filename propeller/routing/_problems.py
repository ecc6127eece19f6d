"""What is wrong with a routing table, with its place: all of it, as one error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from propeller.errors import Invalid
from propeller.text import bounded, one_line

Path = tuple[str | int, ...]
"""Of a field: ("rules", 3, "match", "projects", 0)."""

MAX_PROBLEMS = 100
"""That are looked for in a table, so that a file which is none costs no more than one with a hundred mistakes."""

MAX_SHOWN = 100
"""Characters of a field's name in a message."""

Positions = Mapping[Path, tuple[int, int]]
"""Line and column, both from 1, of values by their paths."""


class Problem(msgspec.Struct, frozen=True):
    """`line` and `column` are from 1; 0 if there is no text."""

    path: Path
    text: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}: " if self.line else ""
        field = shown_path(self.path)
        return f"{place}{field}: {self.text}" if field else f"{place}{self.text}"


class InvalidTable(Invalid):
    """A table that is not to be in force. `problems` are all that is wrong, in their order in the text."""

    def __init__(self, problems: Iterable[Problem], source: str = "") -> None:
        """`source` is the file or the resource."""
        self.problems = tuple(problems)
        self.source = source
        lines = [str(problem) for problem in self.problems]
        super().__init__("\n".join([f"{source}: {line}" for line in lines] if source else lines))

    def located(self, positions: Positions, source: str) -> InvalidTable:
        """The same with places in a text; a value that is missing is at the one around it."""
        found = [_located(problem, positions) for problem in self.problems]
        return InvalidTable(sorted(found, key=lambda one: (one.line, one.column)), source)


def _located(problem: Problem, positions: Positions) -> Problem:
    if problem.line:
        return problem
    path = problem.path
    while path and path not in positions:
        path = path[:-1]
    line, column = positions.get(path, (1, 1))
    return Problem(problem.path, problem.text, line, column)


def shown_path(path: Path) -> str:
    """As Kubernetes writes it: `rules[3].match.projects[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{one_line(bounded(part, MAX_SHOWN))}" for part in path)
    return text.removeprefix(".")
