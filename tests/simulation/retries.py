"""Clients that nothing is wrong with but that the server may be down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from propeller.errors import Denied, NotFound, Unavailable

T = TypeVar("T")


async def retry_until_ok(request: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Try until the server is up."""
    while True:
        try:
            return await request()
        except Unavailable:
            await asyncio.sleep(1.0)


TYPE_IS_GONE = 4 * 3600
"""Virtual seconds for which users wait until there is a resource type again."""


async def retry_until_served(request: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Try until the server is up and takes new objects of the type: it refuses them while that is being deleted."""
    for _ in range(TYPE_IS_GONE):
        try:
            return await retry_until_ok(request)
        except (NotFound, Denied):
            await asyncio.sleep(1.0)
    return await retry_until_ok(request)
