"""Checks of functions that an informer calls between two events: they cannot be awaited."""

from __future__ import annotations

import functools
import inspect

from propeller.errors import Invalid


def refuse_coroutines(function: object, what: str) -> None:
    """Raise Invalid for a function, or a callable object, whose result would have to be awaited."""
    while isinstance(function, functools.partial):
        function = function.func
    if any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in _called(function)):
        raise Invalid(
            f"{what} is called between two events and cannot be `async def`: add a key to a queue, or read `changes()`"
        )


def _called(function: object) -> tuple[object, ...]:
    return function, getattr(type(function), "__call__", None)  # noqa: B004 - the method itself is needed
