"""The order in which claims that wait for one pool are served: tenants by share at every level, then first come first
served.

Guarantees
    `first` is the claim of the tenant with the smallest share, at each level of the tree: to within one claim, by which
    shares are rounded up and down in turns, so that they are right over time (`_balance`). Among equal shares, turns go
    round by weight (start-time fair queueing); within a tenant the higher priority first, and within a priority the
    earlier claim.
    `add`, `first` and `served` cost O(depth * log n). A tenant's usage may change at any time: `usage_changed` has
    to be called when it has fallen, and when it has grown other than by `served`.
    A tenant whose first claim does not fit may be set aside: it costs nothing until there is room for it. Smaller
    claims go before it as long as that is fair: until `owed` returns it, for which the pool is to be saved up then.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import TYPE_CHECKING

from propeller.resourcemgr._turn import Entry, Turn

if TYPE_CHECKING:
    from propeller.resourcemgr._pools import PoolState
    from propeller.resourcemgr._tenants import Node
    from propeller.resourcemgr._waiter import Need, Waiter

_numbers = count()

_RELEASE = 1e-6
"""Seconds that a release counts for where time is compared, so that those of an instant are not one and the same."""


class Order:
    """The claims that wait for one pool. `clock` is in seconds, as of the last call that has changed something; `late`
    are claims that were set aside, in the order in which that was so first, `asides` those by amount: both with some
    that are not any more.

    More than 15 methods: `add`, `take` and their relatives for claims that are set aside, and two that only read it.
    """

    def __init__(self) -> None:
        self.size = 0
        self.clock = 0.0
        self._releases = 0
        self._root: Turn | None = None
        self.asides: list[tuple[int, int, Waiter]] = []
        self.late: deque[Waiter] = deque()

    def set_clock(self, now: float, releases: int = 0) -> None:
        """It is `now`, and so many more claims were released."""
        self._releases += releases
        self.clock = now + _RELEASE * self._releases

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
            found = Turn(node, self, up, is_leaf=node.parent is not None and not node.path[-1])
            node.turns[pool] = found
            if up is None:
                self._root = found
        return found

    def first(self, below: Turn | None = None) -> Turn | None:
        """The leaf whose first claim is next, of all or `below` a tenant; None if no claim waits there but in tenants
        that were set aside.
        """
        root = turn = self._root if below is None else below
        while turn is not None:
            if turn.lane is not None:
                if turn.lane:
                    return turn
                turn.rest()
                turn = root if turn is not root else None
                continue
            heap = turn.heap
            if len(heap) == 1 and (only := heap[0])[3] == only[4].version and only[4].is_queued:
                turn = only[4]  # most domains are the only one of their project
                continue
            child = _next_child(heap)
            if child is None:
                turn.rest()
                turn = root if turn is not root else None
            else:
                turn = child
        return None

    def take(self, leaf: Turn) -> Waiter:
        """Remove the first claim of a leaf that `first` has returned."""
        assert leaf.lane is not None
        waiter = leaf.lane.pop()
        if not leaf.lane:
            leaf.retire()
        self.size -= 1
        waiter.pool = None
        return waiter

    def served(self, leaf: Turn, amount: int, step: float) -> None:
        """The claim that was taken got its tokens, `amount` of the pool: it is the turn of others with the same share
        now.
        """
        turn: Turn = leaf
        while (up := turn.up) is not None:
            turn.serve(up, amount, step)
            turn = up

    def served_below(self, need: Need, pool: PoolState) -> None:
        """As `served`, of a claim that was first below a tenant, and not of all."""
        amount, step = need.of(pool), need.step()
        for node in need.nodes:
            node.turns[pool].serve_out_of_turn(amount, step)

    def set_aside(self, leaf: Turn, amount: int, grants: int) -> None:
        """The first claim of `leaf` needs more than there is: others may go before it, so many and no more. `grants`
        are those of the pool so far.
        """
        waiter = leaf.head
        leaf.aside = waiter
        leaf.rest()
        heappush(self.asides, (amount, next(_numbers), waiter))
        if waiter.overtaken_since < 0:
            waiter.overtaken_since = grants
            self.late.append(waiter)

    def let_in(self, pool: PoolState, room: float) -> None:
        """Let tenants that were set aside have a turn again, as far as there is room."""
        while self.asides and self.asides[0][0] <= room:
            waiter = heappop(self.asides)[2]
            turn = waiter.need.leaf.turns.get(pool)
            if turn is not None and turn.aside is waiter:
                turn.aside = None
                turn.activate()

    def let_in_below(self, node: Node, pool: PoolState) -> None:
        """Let those of a tenant have a turn again that were set aside."""
        kept = []
        for entry in self.asides:
            waiter = entry[2]
            if node not in waiter.need.nodes:
                kept.append(entry)
            elif (turn := waiter.need.leaf.turns.get(pool)) is not None and turn.aside is waiter:
                turn.aside = None
                turn.activate()
        if len(kept) < len(self.asides):
            heapify(kept)
            self.asides = kept

    def overtaken(self, pool: PoolState, limit: int) -> Waiter | None:
        """A claim that has been overtaken `limit` times, if there is one."""
        late = self._set_aside_first(pool)
        return late if late is not None and pool.grants - late.overtaken_since >= limit else None

    def owed(self, leaf: Turn, pool: PoolState) -> Waiter | None:
        """The claim that was set aside first, if it is its turn still, and it would be unfair that the first claim of
        `leaf` goes before it: its tenant has held more than its part for longer than less, and the other one has not;
        or if that is alike, it would hold more by its weight than the other one with its claim.
        """
        late = self._set_aside_first(pool)
        if late is None:
            return None
        need = leaf.head.need
        for own, other in zip(reversed(need.nodes), reversed(late.need.nodes), strict=False):
            if own is not other:
                mine, its = own.turns[pool], other.turns[pool]
                one, another = mine.settle(), its.settle()
                if (is_owed := one.is_well_ahead) is another.is_ahead:
                    is_owed = mine.after(need, pool) > its.after(late.need, pool)
                return late if is_owed and its.key() <= mine.key() else None
        return None

    def _set_aside_first(self, pool: PoolState) -> Waiter | None:
        """Of the claims that are set aside, the one that has been so for longest."""
        while self.late:
            waiter = self.late[0]
            if waiter.pool is pool and waiter.overtaken_since >= 0:
                return waiter
            self.late.popleft()
        return None

    def cancel(self, waiter: Waiter, pool: PoolState) -> None:
        """Let a claim wait no more, here."""
        waiter.pool = None
        self.size -= 1
        turn = waiter.need.leaf.turns[pool]
        assert turn.lane is not None
        turn.lane.remove(waiter)
        is_aside = turn.aside is waiter
        if is_aside:
            turn.aside = None
        if not turn.lane:
            turn.retire()
        elif is_aside:
            turn.activate()

    @property
    def smallest_aside(self) -> int | None:
        """Tokens that the smallest claim needs that was set aside."""
        return self.asides[0][0] if self.asides else None


def _next_child(heap: list[Entry]) -> Turn | None:
    """The child with the smallest share now; entries tell what it was when they were made."""
    while heap:
        share, tag, number, version, turn = heap[0]
        if version != turn.version or not turn.is_queued:
            heappop(heap)
            continue
        if len(heap) == 1:
            return turn
        now = turn.key()
        if now <= share:
            return turn
        heapreplace(heap, (now, tag, number, version, turn))
    return None


def usage_changed(node: Node) -> None:
    """A tenant holds less than it did: its turns may come earlier. Or more, other than by its turn."""
    for turn in node.turns.values():
        turn.look_again()


def served_out_of_turn(need: Need, now: float) -> None:
    """A claim got its tokens that stood in no order: its tenants have had them all the same."""
    step = need.step()
    for node in need.nodes:
        for pool, turn in node.turns.items():
            turn.order.set_clock(now)
            turn.serve_out_of_turn(need.of(pool), step)
