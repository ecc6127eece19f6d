"""Blobs that were read or written a short time ago, by URI, least recently used out first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

TTL_SECONDS = 60.0
"""Seconds for which a cached blob is assumed to equal the stored one. Blobs do not change within an execution. Another
execution of the same name, run by another process, may write the same URIs again, but not within a minute.
"""

OVERHEAD_BYTES = 200
"""Cost of an entry besides its URI and its bytes."""

MAX_SHARE = 4
"""A blob over this fraction of the cache is not kept: it would drive everything else out."""


class Cache:
    """At most `capacity` bytes, keys and overhead included. Times are the running loop's."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self.size = 0

    def get(self, uri: str) -> bytes | None:
        entry = self._entries.get(uri)
        if entry is None:
            return None
        data, until = entry
        if asyncio.get_running_loop().time() >= until:
            self.discard(uri)
            return None
        self._entries.move_to_end(uri)
        return data

    def put(self, uri: str, data: bytes) -> None:
        self.discard(uri)
        cost = _cost(uri, data)
        if cost * MAX_SHARE > self._capacity:
            return
        self._entries[uri] = data, asyncio.get_running_loop().time() + TTL_SECONDS
        self.size += cost
        while self.size > self._capacity:
            oldest, (dropped, _) = self._entries.popitem(last=False)
            self.size -= _cost(oldest, dropped)

    def discard(self, uri: str) -> None:
        entry = self._entries.pop(uri, None)
        if entry is not None:
            self.size -= _cost(uri, entry[0])


def _cost(uri: str, data: bytes) -> int:
    return len(uri) + len(data) + OVERHEAD_BYTES
