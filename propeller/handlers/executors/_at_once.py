"""Coroutines that may have nothing to wait for."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def at_once(doing: Coroutine[Any, Any, T]) -> T | None:
    """What a coroutine returns that waits for nothing; None, and it is ended, where it would. Raises as it does."""
    try:
        doing.send(None)
    except StopIteration as done:
        found: T = done.value
        return found
    doing.close()
    return None
