"""The backlog of a controller within the server: keys, each once, in order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_BATCH = 50
"""Keys that are handled before other tasks get a turn."""


class Backlog(Generic[K]):
    """Filled by listeners of the storage, emptied by `work`."""

    def __init__(self) -> None:
        self._keys: dict[K, None] = {}
        self._arrived = asyncio.Event()

    def add(self, key: K) -> None:
        self._keys[key] = None
        self._arrived.set()

    def __len__(self) -> int:
        return len(self._keys)

    def settle(self, handle: Callable[[K], None]) -> None:
        """Handle the keys that are queued now."""
        for key in list(self._keys):
            del self._keys[key]
            handle(key)

    async def work(self, handle: Callable[[K], None]) -> None:
        """Handle keys as they come, until cancelled."""
        count = 0
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._keys:
                key = next(iter(self._keys))
                del self._keys[key]
                handle(key)
                count += 1
                if count % _BATCH == 0:
                    await asyncio.sleep(0)
