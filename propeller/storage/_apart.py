"""Work on strangers' data that may take long, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

INLINE_BYTES = 32 * 1024
"""Up to so many are looked at on the loop: 16,000 fields at most, a few milliseconds."""


async def apart(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`work(...)`, whose argument has `size` bytes: in a thread if that is much."""
    if size <= INLINE_BYTES:
        return work(*args, **kwargs)
    await asyncio.sleep(0)  # who cannot wait turns back here, before a thread has begun
    return await asyncio.to_thread(work, *args, **kwargs)
