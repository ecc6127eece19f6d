"""Recursion without the interpreter's stack: a function that needs another's result yields the call.

Workflows nest as deep as their authors like (sub-workflows that call sub-workflows, branches in branches, lists of
lists); Python's stack is limited.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")

Trampoline = Generator[Any, Any, T]
"""A recursive function for `run`: `result = yield other(...)`."""


def run(call: Trampoline[T]) -> T:
    """Run a trampoline to its end and return its result. Its exceptions are raised here."""
    stack: list[Trampoline[Any]] = [call]
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
