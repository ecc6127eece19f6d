"""Entries that this process has put or taken a short time ago, least recently used out first.

A hit on one of them is one round trip: its outputs are written while the database is asked whether they are current.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

MAX_BYTES = 16 * 1024 * 1024
"""Of all entries: thousands of the usual ones, of a kilobyte or two."""

ENTRY_OVERHEAD = 500
"""Bytes of memory of an entry besides what it holds: a stranger's entries may hold next to nothing."""

MAX_ENTRY_BYTES = 256 * 1024
"""Of one: of a larger one, what it costs to write it in vain would be more than a round trip."""


class Version(msgspec.Struct, frozen=True):
    """An entry as it was at one time."""

    version: str
    data: bytes


class Remembered:
    """See the module's text."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Version] = OrderedDict()
        self.size = 0

    def get(self, path: str) -> Version | None:
        found = self._entries.get(path)
        if found is not None:
            self._entries.move_to_end(path)
        return found

    def put(self, path: str, version: str, data: bytes) -> None:
        self.discard(path)
        if len(data) > MAX_ENTRY_BYTES:
            return
        self._entries[path] = Version(version, data)
        self.size += _size(path, data)
        while self.size > MAX_BYTES:
            dropped, entry = self._entries.popitem(last=False)
            self.size -= _size(dropped, entry.data)

    def discard(self, path: str) -> None:
        if (found := self._entries.pop(path, None)) is not None:
            self.size -= _size(path, found.data)


def _size(path: str, data: bytes) -> int:
    return ENTRY_OVERHEAD + len(path) + len(data)
