"""Recursion without the interpreter's stack: a step that needs another's result yields it.

Workflows nest as deep as their authors like (sub-workflows that call sub-workflows, branches in branches, lists of
lists), and Python's stack does not.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")

Trampoline = Generator[Any, Any, T]
"""A function that is to be run by `run`: `result = yield other_trampoline(...)`."""


def run(walk: Trampoline[T]) -> T:
    """Run a walk to its end and return its result. What it raises is raised here."""
    stack: list[Trampoline[Any]] = [walk]
    value: Any = None
    while True:
        try:
            inner = stack[-1].send(value)
        except StopIteration as end:
            stack.pop()
            value = end.value
            if not stack:
                return value  # type: ignore[no-any-return]
        else:
            stack.append(inner)
            value = None
