"""Waits for asynchronous effects of a controller."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

from propeller.errors import NotFound, PropellerError
from propeller.kube import Client, Resource

T = TypeVar("T")

DEADLINE = 60.0
"""Seconds, far longer than any test waits on any machine: a bound on hangs, not a goal."""


async def is_deleted(client: Client, resource: Resource[Any], name: str, namespace: str | None = None) -> bool:
    """Whether there is no such object, or no such resource type."""
    try:
        await client.get(resource, name, namespace)
    except NotFound:
        return True
    return False


@overload
async def eventually(
    check: Callable[[], Coroutine[Any, Any, T]], *, deadline: float = DEADLINE, interval: float = 0.05
) -> T: ...
@overload
async def eventually(check: Callable[[], T], *, deadline: float = DEADLINE, interval: float = 0.05) -> T: ...
async def eventually(check: Callable[[], Any], *, deadline: float = DEADLINE, interval: float = 0.05) -> Any:
    """Call `check`, a function or coroutine function, every `interval` seconds until it succeeds; returns its result.

    It succeeds when it returns anything but False or None; an AssertionError, or an error of ours such as NotFound, is
    a reason to try again. After `deadline` seconds the last such error is raised, or TimeoutError if there was none.
    All times are the loop's, which may be virtual.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline
    while True:
        late = loop.time() >= end
        try:
            result = check()
            found = await result if inspect.isawaitable(result) else result
        except (AssertionError, PropellerError):
            if late:
                raise
        else:
            if found is not None and found is not False:
                return found
            if late:
                raise TimeoutError(f"{getattr(check, '__qualname__', check)} was not true within {deadline:g} s")
        await asyncio.sleep(interval)
