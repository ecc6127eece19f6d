"""Keys that wait for a time: a heap under one timer of the loop, so a million delayed keys are no million tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Delays(Generic[K]):
    """Keys that wait for a time, in a heap under one timer of the loop; `ready` gets each when its time has come."""

    def __init__(self, ready: Callable[[K, int], None]) -> None:
        self._ready = ready
        self._entries: dict[K, tuple[float, int, int]] = {}  # time, number of the entry, priority
        self._heap: list[tuple[float, int, K]] = []
        self._numbers = count()
        self._timer: asyncio.Handle | None = None
        self._rings_at = 0.0  # loop time of the timer, seconds; uvloop's handles do not always know it

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def due(self) -> dict[K, float]:
        """Each key's time, in loop time, seconds."""
        return {key: entry[0] for key, entry in self._entries.items()}

    def add(self, key: K, seconds: float, priority: int) -> None:
        """Let `key` wait for `seconds`; if it waits already, the earlier time and the higher priority win."""
        when = asyncio.get_running_loop().time() + seconds
        entry = self._entries.get(key)
        if entry is not None:
            priority = max(priority, entry[2])
            if entry[0] <= when:
                self._entries[key] = (entry[0], entry[1], priority)
                return
        number = next(self._numbers)
        self._entries[key] = (when, number, priority)
        heappush(self._heap, (when, number, key))
        if len(self._heap) > 2 * len(self._entries) + 64:  # more entries are obsolete than live
            self._heap = [(live[0], live[1], key) for key, live in self._entries.items()]
            heapify(self._heap)
        self._arm()

    def discard(self, key: K, default: int) -> int:
        """Forget `key`; returns its priority, or `default` if it was not delayed."""
        entry = self._entries.pop(key, None)
        return default if entry is None else entry[2]

    def clear(self) -> None:
        """Forget all keys, and stop the timer."""
        self._entries.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        """Have the timer ring at the first entry's time."""
        if not self._heap:
            return
        when = self._heap[0][0]
        if self._timer is not None:
            if self._rings_at <= when:
                return
            self._timer.cancel()
        self._rings_at = when
        self._timer = asyncio.get_running_loop().call_at(when, self._ring, when)

    def _ring(self, when: float) -> None:
        self._timer = None
        now = max(when, asyncio.get_running_loop().time())  # a loop may ring within its clock's resolution, early
        while self._heap and self._heap[0][0] <= now:
            _, number, key = heappop(self._heap)
            entry = self._entries.get(key)
            if entry is not None and entry[1] == number:
                del self._entries[key]
                self._ready(key, entry[2])
        self._arm()
