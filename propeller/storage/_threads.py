"""Run work on untrusted data, which may take long, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

INLINE_BYTES = 32 * 1024
"""Bytes up to which the work runs on the event loop: 16,000 fields at most, a few milliseconds."""


async def in_thread_if_large(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return `work(...)`, whose argument has `size` bytes; run it in a thread if that is over `INLINE_BYTES`."""
    if size <= INLINE_BYTES:
        return work(*args, **kwargs)
    await asyncio.sleep(0)  # a caller that must not suspend stops here, before a thread starts
    return await asyncio.to_thread(work, *args, **kwargs)
