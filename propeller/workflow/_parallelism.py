"""The slots of `max_parallelism`: how many tasks of one execution may run at the same time.

Guarantees
    A slot is in use for each node whose state holds one, for each attempt that is over until its pod is asked to stop,
    and for each node that had started before a restart until the execution reaches it again.
    Blocked nodes start in the order in which they became ready.
Caveats
    The limit holds back new starts only: an execution that was loaded may use more slots than the limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from propeller.workflow._states import State


class Slots:
    """The slots of one execution. `limit` is how many there are; 0 for no limit."""

    __slots__ = ("blocked", "limit", "reserved", "stopping", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        """Nodes whose state holds a slot."""
        self.blocked: deque[int] = deque()
        """Nodes that are ready and wait for a slot, the first one first."""
        self.reserved: set[str] = set()
        """Unique ids of nodes that had started before a restart, as their pods show, until they start again."""
        self.stopping: set[tuple[int, int]] = set()
        """Nodes and attempts that are over, until their pods are asked to stop."""

    @property
    def is_full(self) -> bool:
        """Whether no further task may start."""
        limit = self.limit
        return bool(limit) and self.used + len(self.reserved) + len(self.stopping) >= limit

    def move(self, before: State | None, after: State | None) -> None:
        """Take or give back a slot as a node's state changes; None if it has not started or has ended."""
        self.used += (after is not None and after.holds_slot) - (before is not None and before.holds_slot)

    def block(self, node: int) -> None:
        """Let a ready node wait for a slot."""
        self.blocked.append(node)

    def next_blocked(self) -> int | None:
        """Remove the first blocked node from the queue and return it if a slot is free."""
        return self.blocked.popleft() if self.blocked and not self.is_full else None

    def reserve(self, unique_ids: Iterable[str]) -> None:
        """Keep a slot for each of these nodes until it starts again."""
        self.reserved.update(unique_ids)

    def release_reserved(self) -> None:
        """Give up the reserved slots: the nodes cannot be reached before an upstream node has run again."""
        self.reserved.clear()
