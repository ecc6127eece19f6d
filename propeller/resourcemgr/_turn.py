"""A tenant among those beside it that wait for one pool: its share, its turn, and what it has held of late.

Guarantees
    The turn with the smallest entry in the heap of the one above is next. Entries are made anew when a share changes;
    those before are void.
"""

from __future__ import annotations

import math
from collections import deque
from heapq import heapify, heappush, heapreplace
from itertools import count
from typing import TYPE_CHECKING

from propeller.resourcemgr._balance import ROUNDING, Group, Member
from propeller.resourcemgr._lane import Lane

if TYPE_CHECKING:
    from propeller.resourcemgr._pools import PoolState
    from propeller.resourcemgr._tenants import Node
    from propeller.resourcemgr._turns import Order
    from propeller.resourcemgr._waiter import Need, Waiter

_numbers = count()

Entry = tuple[float, float, int, int, "Turn"]
"""Share with handicap, tag, number, version and turn of a child: the smallest is next."""


class Turn:
    """A tenant's place in a pool's order. A leaf has claims, any other has the turns of the tenants below it.

    More than 15 methods: a turn's whole life, on the hot way of every grant, without calls from object to object.
    """

    __slots__ = (
        "ahead",
        "aside",
        "entered",
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
        self.heap: list[Entry] = []
        self.limit = 64  # entries of the heap at which void ones are dropped
        self.number = next(_numbers)
        self.version = 0  # entries of earlier versions are void
        self.is_queued = False  # whether there is an entry in the heap above
        self.entered = 0.0  # the share in that entry
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

    def _entry(self) -> Entry:
        """A new one, by its share now."""
        self.version += 1
        member = self.member
        if member.is_in and member.group.members == 1:
            share = 0.0  # whatever it is; that is seen if another comes
        else:
            share = self.weigh()
            if member.lead > ROUNDING * member.step:  # it is ahead
                share += member.step
                if not self.is_ahead:
                    self.is_ahead = True
                    assert self.up is not None
                    self.up.ahead.append(self)
        self.entered = share
        return share, self.tag, self.number, self.version, self

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
            if self.entered or self.member.group.members > 1:  # else its entry is as good as a new one
                self.queue()
        elif self.member.is_in:
            self.weigh()

    def after(self, need: Need, pool: PoolState) -> tuple[float, float]:
        """The share that it has once a claim of it is served; or if that is none, its tag then."""
        share = self.node.share() + need.step() / self.node.weight
        return (share, 0.0) if share else (0.0, self.tag + need.of(pool) / self.node.weight)

    def key(self) -> float:
        """Its share with handicap, now."""
        member = self.member
        share = self.node.share()
        return share + member.step if member.lead > ROUNDING * member.step else share

    def settle(self) -> Member:
        """Its member as of now."""
        if self.member.is_in:
            self.member.settle(self.order.clock)
        return self.member

    def serve(self, up: Turn, amount: int, step: float) -> None:
        """A claim below got its tokens. Only if there is an entry of it, that is the first in the heap above."""
        self.step = step
        member, heap, tag = self.member, up.heap, self.tag
        self.tag = tag + amount / self.node.weight
        member.serve(step)
        if self.is_queued:
            up.time = max(up.time, tag)
            if member.group.members == 1 and len(heap) == 1:  # most domains are the only one of their project
                self.version += 1
                self.entered = 0.0
                heap[0] = 0.0, self.tag, self.number, self.version, self
            else:
                heapreplace(heap, self._entry())
        if up.ahead:
            up.look()

    def serve_out_of_turn(self, amount: int, step: float) -> None:
        """As `serve`, of a claim that was not the first of all."""
        self.step = step
        self.member.serve(step)
        if self.up is not None:
            self.up.time = max(self.up.time, self.tag)
        self.tag += amount / self.node.weight
        self.look_again()

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
