"""The work queue with a thousand tenants: keys added, taken and done in a second, and how that grows with the keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from loadtest._line import Line
from propeller.reconcile import WorkQueue

TENANTS = 1_000
KEYS = (10_000, 200_000)


def measure() -> Iterator[Line]:
    few, many = (asyncio.run(_seconds(keys)) for keys in KEYS)
    yield Line(name="add, get and done of a key, 1,000 tenants", value=few * 1e6, unit="us", budget=1e6 / 300_000)
    yield Line(name="the same with 200,000 keys to that with 10,000", value=many / few, unit="x", budget=2)


async def _seconds(keys: int) -> float:
    """For one key, the best of three."""
    names = [(f"tenant-{number % TENANTS}", f"key-{number}") for number in range(keys)]
    best = float("inf")
    for _ in range(3):
        queue: WorkQueue[tuple[str, str]] = WorkQueue(tenant=lambda key: key[0])
        began = time.perf_counter()
        for name in names:
            queue.add(name)
        while (key := queue.try_get()) is not None:
            queue.done(key)
        best = min(best, (time.perf_counter() - began) / keys)
    return best
