"""Clients that nothing is wrong with but that the server may be down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from propeller.errors import Unavailable

T = TypeVar("T")


async def insist(request: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Try until the server is up."""
    while True:
        try:
            return await request()
        except Unavailable:
            await asyncio.sleep(1.0)
