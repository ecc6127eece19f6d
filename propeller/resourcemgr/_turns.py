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

import math
from collections import deque
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import TYPE_CHECKING

from propeller.resourcemgr._balance import Group, Member
from propeller.resourcemgr._lane import Lane

if TYPE_CHECKING:
    from propeller.resourcemgr._pools import PoolState
    from propeller.resourcemgr._tenants import Node
    from propeller.resourcemgr._waiter import Need, Waiter

_numbers = count()

_Entry = tuple[float, float, int, int, "Turn"]
"""Share with handicap, tag, number, version and turn of a child: the smallest is next."""

_RELEASE = 1e-6
"""Seconds that a release counts for where time is compared, so that those of an instant are not one and the same."""


class Turn:
    """A tenant's place in a pool's order. A leaf has claims, any other has the turns of the tenants below it."""

    __slots__ = (
        "ahead",
        "aside",
        "group",
        "heap",
        "is_ahead",
        "is_queued",
        "lane",
        "limit",
        "member",
        "node",
        "number",
        "order",
        "step",
        "tag",
        "time",
        "up",
        "version",
    )

    def __init__(self, node: Node, order: Order, up: Turn | None, *, is_leaf: bool) -> None:
        self.node = node
        self.order = order
        self.up = up
        self.group = Group()  # of those below
        self.member = Member(self.group if up is None else up.group)
        self.ahead: deque[Turn] = deque()  # those below that have a handicap; each once
        self.is_ahead = False  # whether it is among those of the turn above
        self.step = 0.0  # what a claim of it has taken last, as a share, without its weight
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
        self.is_queued = True
        heap = up.heap
        if len(heap) >= up.limit:
            heap[:] = [entry for entry in heap if entry[4].is_queued and entry[3] == entry[4].version]
            heapify(heap)
            up.limit = 64 + 2 * len(heap)
        heappush(heap, self._entry())

    def _entry(self) -> _Entry:
        """A new one, by its share now."""
        self.version += 1
        up, member = self.up, self.member
        assert up is not None
        if member.is_in and up.group.members == 1:
            return 0.0, self.tag, self.number, self.version, self  # whatever its share is; it is seen if another comes
        share = self.weigh()
        if not member.is_ahead:
            return share, self.tag, self.number, self.version, self
        if not self.is_ahead:
            self.is_ahead = True
            up.ahead.append(self)
        return share + member.step, self.tag, self.number, self.version, self

    def weigh(self) -> float:
        """Its share now, which counts from now on."""
        share = self.node.share()
        if share < math.inf:
            self.member.weigh(share, self.node.weight, self.step, self.order.clock)
        return share

    def look_again(self) -> None:
        """Its tenant holds more or less than it did."""
        if self.up is None:
            return
        if self.is_queued:
            self.queue()
        elif self.member.is_in:
            self.weigh()

    def after(self, need: Need, pool: PoolState) -> tuple[float, float]:
        """The share that it has once a claim of it is served; or if that is none, its tag then."""
        share = self.node.share() + need.step() / self.node.weight
        return (share, 0.0) if share else (0.0, self.tag + need.of(pool) / self.node.weight)

    def key(self) -> float:
        """Its share with handicap, now."""
        return self.node.share() + self.member.handicap

    def settle(self) -> Member:
        """Its member as of now."""
        if self.member.is_in:
            self.member.settle(self.order.clock)
        return self.member

    def serve(self, up: Turn, amount: int, step: float) -> None:
        """A claim below got its tokens. Only if there is an entry of it, that is the first in the heap above."""
        self.step = step
        self.member.serve(step)
        if self.is_queued:
            if up.time < self.tag:
                up.time = self.tag
            self.tag += amount / self.node.weight
            heapreplace(up.heap, self._entry())
        else:
            self.tag += amount / self.node.weight
        if up.ahead:
            up.look()

    def look(self) -> None:
        """See whether one of those below is ahead no longer: if it holds nothing, nothing else would show it."""
        turn = self.ahead.popleft()
        turn.is_ahead = False
        if turn.is_queued:
            turn.member.settle(self.order.clock)
            if turn.member.is_ahead:
                turn.is_ahead = True
                self.ahead.append(turn)
            else:
                turn.queue()

    def rest(self) -> None:
        """There is no entry any more. If none of those below waits for room either, nothing waits here."""
        self.is_queued = False
        if self.aside is None and not self.group.members and self.up is not None:
            self.member.leave(self.order.clock)

    def retire(self) -> None:
        """No claim waits here any more: it is not compared with others until one does."""
        turn = self
        while turn.up is not None and not turn.group.members:
            turn.rest()
            turn = turn.up

    def activate(self) -> None:
        """Make an entry here and above, as far as there is none."""
        turn = self
        while turn.up is not None and not turn.is_queued:
            turn.queue()
            turn = turn.up


class Order:
    """The claims that wait for one pool. `clock` is in seconds, as of the last call that has changed something."""

    def __init__(self) -> None:
        self.size = 0
        self.clock = 0.0
        self._releases = 0
        self._root: Turn | None = None
        self._asides: list[tuple[int, int, Waiter]] = []  # by amount
        self._overtaken: deque[Waiter] = deque()  # in the order in which they were set aside first

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

    def first(self) -> Turn | None:
        """The leaf whose first claim is next; None if no claim waits but in tenants that were set aside."""
        root = turn = self._root
        while turn is not None:
            if turn.lane is not None:
                if turn.lane:
                    return turn
                turn.rest()
                turn = root
                continue
            child = _next_child(turn.heap)
            if child is None:
                turn.rest()
                turn = root if turn is not root else None
            else:
                turn = child
        return None

    def take(self, leaf: Turn) -> Waiter:
        """Remove the first claim of a leaf that `first` has returned."""
        assert leaf.lane is not None
        waiter = leaf.lane.first
        leaf.lane.remove(waiter)
        if not leaf.lane:
            leaf.retire()
        self.size -= 1
        waiter.pool = None
        return waiter

    def served(self, leaf: Turn, need: Need, pool: PoolState) -> None:
        """The claim that was taken got its tokens: it is the turn of others with the same share now."""
        amount, step = need.of(pool), need.step()
        turn: Turn = leaf
        while (up := turn.up) is not None:
            turn.serve(up, amount, step)
            turn = up

    def set_aside(self, leaf: Turn, amount: int, grants: int) -> None:
        """The first claim of `leaf` needs more than there is: others may go before it, so many and no more. `grants`
        are those of the pool so far.
        """
        waiter = leaf.head
        leaf.aside = waiter
        leaf.rest()
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
        while self._overtaken:
            waiter = self._overtaken[0]
            if waiter.pool is pool and waiter.overtaken_since >= 0:
                return waiter
            self._overtaken.popleft()
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
        return self._asides[0][0] if self._asides else None


def _next_child(heap: list[_Entry]) -> Turn | None:
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
            turn.step = step
            turn.member.serve(step)
            if turn.up is not None:
                turn.up.time = max(turn.up.time, turn.tag)
            turn.tag += need.of(pool) / node.weight
            turn.look_again()
