"""Weighted fair order at two levels: groups take turns, and within a group its tenants do.

Guarantees
    Those of `FairQueue`, at each level: a group with 50,000 tenants that have one key each goes first no more often
    than one that has a single key.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import count
from typing import Generic, TypeVar

from propeller.resourcemgr._fair_queue import FairQueue

K = TypeVar("K", bound=Hashable)


class FairGroups(Generic[K]):
    """Keys of tenants that belong to groups; see the module's text."""

    def __init__(self) -> None:
        self._turns: FairQueue[tuple[Hashable, int]] = FairQueue()
        """A ticket of its group for each key. Tickets of one group are alike."""
        self._groups: dict[Hashable, FairQueue[K]] = {}
        """Those that have keys."""
        self._tickets = count()

    def __len__(self) -> int:
        return len(self._turns)

    def __iter__(self) -> Iterator[K]:
        """Waiting keys, group by group."""
        for keys in self._groups.values():
            yield from keys

    def add(self, key: K, group: Hashable, tenant: Hashable, priority: int = 0) -> bool:
        """Let `key` wait, as `FairQueue.add` does. Its group must not change while it waits."""
        keys = self._groups.get(group)
        if keys is None:
            keys = self._groups[group] = FairQueue()
        is_new = keys.add(key, tenant, priority)
        if is_new:
            self._turns.add((group, next(self._tickets)), group)
        return is_new

    def pop(self) -> K:
        """Take the key whose turn it is; raises IndexError when nothing waits."""
        group, _ = self._turns.pop()
        keys = self._groups[group]
        key = keys.pop()
        if not keys:
            del self._groups[group]
        return key

    def clear(self) -> None:
        """Forget all keys."""
        self._turns = FairQueue()
        self._groups.clear()
