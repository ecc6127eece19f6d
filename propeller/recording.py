"""What recorders of Kubernetes Events have in common, with client-go's limits (tools/record: EventLogger and
EventSourceObjectSpamFilter).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

import msgspec

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

NORMAL, WARNING = "Normal", "Warning"

MESSAGE_CHARACTERS = 1_000
"""The API server takes 1,024 bytes of a new-style event's note; kubectl shows all of them in one line."""

REMEMBERED = 4_096
"""Events, and objects' limits, that later events are counted with. client-go's size of its caches."""

OBJECT_BURST, OBJECT_PAUSE = 25, 300.0
"""Requests for one object at once, and seconds for each one more: client-go's."""


class Recent(Generic[K, V]):
    """The last REMEMBERED entries that were used."""

    def __init__(self) -> None:
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if (value := self._entries.get(key)) is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> V:
        """Remember it; the least recently used entry is dropped."""
        self._entries[key] = value
        if len(self._entries) > REMEMBERED:
            self._entries.popitem(last=False)
        return value

    def forget(self, key: K) -> None:
        self._entries.pop(key, None)


class _Tokens(msgspec.Struct):
    """`left` as of the time `at`."""

    left: float
    at: float


class ObjectLimits(Generic[K]):
    """A token bucket for each object. Times are of any clock that does not go back, in seconds."""

    def __init__(self) -> None:
        self._buckets: Recent[K, _Tokens] = Recent()

    def spend(self, key: K, now: float) -> bool:
        """Take a token of the object's, if there is one."""
        bucket = self._buckets.get(key) or self._buckets.put(key, _Tokens(OBJECT_BURST, now))
        bucket.left = min(OBJECT_BURST, bucket.left + (now - bucket.at) / OBJECT_PAUSE)
        bucket.at = now
        if bucket.left < 1:
            return False
        bucket.left -= 1
        return True


def event_name(about: str, number: int, now: float) -> str:
    """Of the `number`th event of a recorder, about the object of that name; `now` in epoch seconds."""
    return f"{about[:200].rstrip('-.')}.{int(now * 1e6):x}{number:x}"
