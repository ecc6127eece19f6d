"""Weighted fair order at two levels: groups take turns, and within a group its tenants do.

Guarantees
    Those of `FairQueue`, at each level: a group with 50,000 tenants that have one key each goes first no more often
    than one that has a single key.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import Generic, TypeVar

from propeller.resourcemgr._fair_queue import FairQueue

K = TypeVar("K", bound=Hashable)


class FairGroups(Generic[K]):
    """Keys of tenants that belong to groups of equal weight; see the module's text."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, FairQueue[K]] = {}
        """Those that have keys."""
        self._turns: list[tuple[int, int, Hashable, FairQueue[K]]] = []
        """A heap of these groups, by virtual time and, within one, first come, first served: as `FairQueue` has it."""
        self._virtual_time = 0
        self._arrival = count()
        self._size = 0
        self._spare: FairQueue[K] | None = None
        """That of a group that has run empty, for the next one: most groups have a key or two at a time."""

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[K]:
        """Waiting keys, group by group."""
        for keys in self._groups.values():
            yield from keys

    def add(self, key: K, group: Hashable, tenant: Hashable, priority: int = 0) -> bool:
        """Let `key` wait, as `FairQueue.add` does. Its group must not change while it waits."""
        keys = self._groups.get(group)
        if keys is None:
            keys, self._spare = FairQueue() if self._spare is None else self._spare, None
            self._groups[group] = keys
            heappush(self._turns, (self._virtual_time + 1, next(self._arrival), group, keys))
        is_new = keys.add(key, tenant, priority)
        self._size += is_new
        return is_new

    def pop(self) -> K:
        """Take the key whose turn it is; raises IndexError when nothing waits."""
        tag, _, group, keys = self._turns[0]
        key = keys.pop()
        self._size -= 1
        self._virtual_time = tag
        if keys:
            heapreplace(self._turns, (tag + 1, next(self._arrival), group, keys))
        else:
            heappop(self._turns)
            del self._groups[group]
            self._spare = keys
        return key

    def clear(self) -> None:
        """Forget all keys."""
        self._groups.clear()
        self._turns.clear()
        self._size = 0
