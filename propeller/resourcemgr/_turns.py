"""The order in which claims that wait for one pool are served: tenants by share at every level, then first come first
served.

Guarantees
    `first` is the claim of the tenant with the smallest share, at each level of the tree; among equal shares, turns go
    round by weight (start-time fair queueing); within a tenant the higher priority first, and within a priority the
    earlier claim.
    `add`, `first` and `served` cost O(depth * log n). A tenant's usage may change at any time: `usage_fell` has to be
    called when it has fallen; when it has grown nothing need be done.
    A tenant whose first claim does not fit may be set aside: it costs nothing until there is room for it.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import TYPE_CHECKING

from propeller.resourcemgr._lane import Lane

if TYPE_CHECKING:
    from propeller.resourcemgr._pools import PoolState
    from propeller.resourcemgr._tenants import Node
    from propeller.resourcemgr._waiter import Waiter

_numbers = count()

_Entry = tuple[float, float, int, int, "Turn"]
"""Share, tag, number, version and turn of a child: the smallest is next."""


class Turn:
    """A tenant's place in a pool's order. A leaf has claims, any other has the turns of the tenants below it."""

    __slots__ = ("aside", "heap", "is_queued", "lane", "limit", "node", "number", "tag", "time", "up", "version")

    def __init__(self, node: Node, up: Turn | None, *, is_leaf: bool) -> None:
        self.node = node
        self.up = up
        self.lane: Lane | None = Lane() if is_leaf else None
        self.heap: list[_Entry] = []
        self.limit = 64  # entries of the heap at which void ones are dropped
        self.number = next(_numbers)
        self.version = 0  # entries of earlier versions are void
        self.is_queued = False  # whether there is an entry in the heap above
        self.tag = 0.0
        self.time = 0.0  # the tag of the child that was served last
        self.aside: Waiter | None = None  # a claim that is first here and did not fit

    @property
    def head(self) -> Waiter:
        """The first claim of a leaf that `Order.first` has returned."""
        assert self.lane is not None
        return self.lane.first

    def ahead_of(self, waiter: Waiter) -> int:
        """Claims of a leaf that go before this one."""
        return self.lane.ahead_of(waiter) if self.lane else 0

    def queue(self) -> None:
        """Make an entry in the heap above, which voids those before."""
        up = self.up
        assert up is not None
        if self.tag < up.time:
            self.tag = up.time
        self.version += 1
        self.is_queued = True
        heap = up.heap
        if len(heap) >= up.limit:
            heap[:] = [entry for entry in heap if entry[4].is_queued and entry[3] == entry[4].version]
            heapify(heap)
            up.limit = 64 + 2 * len(heap)
        heappush(heap, (self.node.share(), self.tag, self.number, self.version, self))

    def activate(self) -> None:
        """Make an entry here and above, as far as there is none."""
        turn = self
        while turn.up is not None and not turn.is_queued:
            turn.queue()
            turn = turn.up


class Order:
    """The claims that wait for one pool."""

    def __init__(self) -> None:
        self.size = 0
        self._root: Turn | None = None
        self._asides: list[tuple[int, int, Waiter]] = []  # by amount
        self._overtaken: deque[Waiter] = deque()  # in the order in which they were set aside first

    def add(self, waiter: Waiter, pool: PoolState) -> None:
        """Let a claim wait."""
        turn = self._turn(waiter.need.leaf, pool)
        lane = turn.lane
        assert lane is not None
        lane.add(waiter)
        waiter.pool = pool
        self.size += 1
        if turn.aside is not None and lane.first is not turn.aside:
            turn.aside = None  # an urgent one came: it may fit
        if turn.aside is None:
            turn.activate()

    def _turn(self, node: Node, pool: PoolState) -> Turn:
        found = node.turns.get(pool)
        if found is None:
            up = None if node.parent is None else self._turn(node.parent, pool)
            found = node.turns[pool] = Turn(node, up, is_leaf=node.parent is not None and not node.path[-1])
            if up is None:
                self._root = found
        return found

    def first(self) -> Turn | None:
        """The leaf whose first claim is next; None if no claim waits but in tenants that were set aside."""
        root = turn = self._root
        while turn is not None:
            if turn.lane is not None:
                if turn.lane:
                    return turn
                turn.is_queued = False
                turn = root
                continue
            child = _next_child(turn.heap)
            if child is None:
                turn.is_queued = False
                turn = root if turn is not root else None
            else:
                turn = child
        return None

    def take(self, leaf: Turn) -> Waiter:
        """Remove the first claim of a leaf that `first` has returned."""
        assert leaf.lane is not None
        waiter = leaf.lane.first
        leaf.lane.remove(waiter)
        self.size -= 1
        waiter.pool = None
        return waiter

    def served(self, leaf: Turn, amount: int) -> None:
        """The claim that was taken got its tokens: it is the turn of others with the same share now."""
        turn: Turn = leaf
        while (up := turn.up) is not None:
            node = turn.node
            if turn.is_queued:
                up.time = max(up.time, turn.tag)
            turn.tag += amount / node.weight
            if turn.is_queued:
                turn.version += 1
                heapreplace(up.heap, (node.share(), turn.tag, turn.number, turn.version, turn))
            turn = up

    def set_aside(self, leaf: Turn, amount: int, grants: int) -> None:
        """The first claim of `leaf` needs more than there is: others may go before it, so many and no more. `grants`
        are those of the pool so far.
        """
        waiter = leaf.head
        leaf.is_queued = False
        leaf.aside = waiter
        heappush(self._asides, (amount, next(_numbers), waiter))
        if waiter.overtaken_since < 0:
            waiter.overtaken_since = grants
            self._overtaken.append(waiter)

    def let_in(self, pool: PoolState, room: float) -> None:
        """Let tenants that were set aside have a turn again, as far as there is room."""
        while self._asides and self._asides[0][0] <= room:
            waiter = heappop(self._asides)[2]
            turn = waiter.need.leaf.turns.get(pool)
            if turn is not None and turn.aside is waiter:
                turn.aside = None
                turn.activate()

    def overtaken(self, pool: PoolState, limit: int) -> Waiter | None:
        """A claim that has been overtaken `limit` times, if there is one; returned once."""
        while self._overtaken:
            waiter = self._overtaken[0]
            if waiter.pool is pool and waiter.overtaken_since >= 0:
                if pool.grants - waiter.overtaken_since < limit:
                    return None
                return self._overtaken.popleft()
            self._overtaken.popleft()
        return None

    def cancel(self, waiter: Waiter, pool: PoolState) -> None:
        """Let a claim wait no more, here."""
        waiter.pool = None
        self.size -= 1
        turn = waiter.need.leaf.turns[pool]
        assert turn.lane is not None
        turn.lane.remove(waiter)
        if turn.aside is waiter:
            turn.aside = None
            turn.activate()

    @property
    def smallest_aside(self) -> int | None:
        """Tokens that the smallest claim needs that was set aside."""
        return self._asides[0][0] if self._asides else None


def _next_child(heap: list[_Entry]) -> Turn | None:
    """The child with the smallest share now; entries tell what it was when they were made."""
    while heap:
        share, tag, number, version, turn = heap[0]
        if version != turn.version or not turn.is_queued:
            heappop(heap)
            continue
        now = turn.node.share()
        if now <= share:
            return turn
        heapreplace(heap, (now, tag, number, version, turn))
    return None


def usage_fell(node: Node) -> None:
    """A tenant holds less than it did: its turns may come earlier."""
    for turn in node.turns.values():
        if turn.is_queued and turn.up is not None:
            turn.queue()
