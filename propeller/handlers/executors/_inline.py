"""Run coroutines that may not need to wait."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_without_suspending(doing: Coroutine[Any, Any, T]) -> T | None:
    """Run a coroutine that never suspends and return its result. If it suspends, close it and return None. Raises as
    the coroutine does.
    """
    try:
        doing.send(None)
    except StopIteration as done:
        found: T = done.value
        return found
    doing.close()
    return None
