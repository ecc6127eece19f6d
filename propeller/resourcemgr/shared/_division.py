"""Which claims of all processes are granted next: tenants by share at every level of their tree, then priority, then
first come first served. `store.lua` does the same step by step, and a test compares them.

Guarantees
    A claim gets tokens of all its pools, or none. No grant lets a pool exceed its capacity or what came at its rate.
    The tenant with the smallest dominant share of shared pools, over all processes and relative to its weight, is
    next: to within one claim, by which shares are rounded up and down in turns, so that they are right over time. Among
    equal shares turns go round by weight. A tenant's later claims do not overtake its first one in a pool that this one
    waits for.
    A claim that a pool had some tokens for, but too few, is overtaken at most `max_bypass` times, and only by tenants
    that have had less than their part; then its pools are saved up for it, for one such claim at a time.
    Costs O(lanes + grants * log lanes).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heapreplace

from propeller.resourcemgr.shared._keeps import Keeps
from propeller.resourcemgr.shared._messages import items_of, lineage_of, owner_of
from propeller.resourcemgr.shared._shares import UNLIMITED, Caps, Shares, parent_of
from propeller.resourcemgr.shared._tables import Lane, Meta, Node, Pool

_ROUNDING = 1e-9


class Room:
    """What is left in the pools at a moment."""

    def __init__(self, pools: dict[str, Pool], caps: Caps, t: float, keeps: Keeps | None = None) -> None:
        self._pools = pools
        self._caps = caps
        self._t = t
        self.keeps = keeps

    def is_kept(self, name: str) -> bool:
        """Whether tenants keep tokens of the pool, so that each tenant has room of its own."""
        return self.keeps is not None and owner_of(name)[0] in self.keeps

    def of(self, name: str, path: str) -> float:
        """For a claim of that tenant."""
        left = self._in_capacity(name, path)
        _, rate, burst, _ = self._caps.get(name, UNLIMITED)
        if rate >= 0:
            pool = self.row(name)
            pool.level = min(burst, pool.level + max(0.0, self._t - pool.at) * rate / 1000)
            pool.at = self._t
            left = min(left, pool.level + _ROUNDING)
        return left

    def _in_capacity(self, name: str, path: str) -> float:
        capacity, held = self._caps.get(name, UNLIMITED)[0], self.row(name).held
        if capacity < 0:
            return math.inf
        if self.keeps is None or not self.is_kept(name):
            return capacity - held
        return self.keeps.left(name, lineage_of(path), capacity, held)

    def wait(self, name: str, amount: float, path: str) -> float:
        """Milliseconds until time alone makes room; infinite if it does not."""
        _, rate, burst, _ = self._caps.get(name, UNLIMITED)
        pool = self.row(name)
        if self.of(name, path) >= amount:
            return 0.0
        if rate < 0 or amount > burst or self._in_capacity(name, path) < amount:
            return math.inf
        return max(0.0, amount - pool.level) * 1000 / rate

    def row(self, name: str) -> Pool:
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = Pool(at=self._t)
        return pool


class _Place:
    """A lane's place in a pass: claims before `index` were served or are `blocked`."""

    def __init__(self, key: str, lane: Lane) -> None:
        self.key = key
        self.lane = lane
        self.index = 0
        self.blocked: set[str] = set()
        self.is_first_seen = False


_Entry = tuple[float, float, int, "_Turn"]


class _Turn:
    """A tenant in a pass, with the turns of those below it, or the places of its own lanes."""

    def __init__(self, name: str, node: Node, up: _Turn | None, handicap: float) -> None:
        self.name = name
        self.node = node
        self.up = up
        self.handicap = handicap
        self.number = 0
        self.tag = 0.0
        self.below: list[_Turn] = []
        self.heap: list[_Entry] = []
        self.places: list[tuple[int, float, int, _Place]] = []


class Division:
    """One pass over `lanes`. `charge` counts a claim that is granted.

    More than 15 methods: a function each of `store.lua`, so that the two can be read side by side.
    """

    def __init__(
        self,
        meta: Meta,
        shares: Shares,
        room: Room,
        charge: Callable[[Lane, str], None],
    ) -> None:
        self._meta = meta
        self._shares = shares
        self._room = room
        self._charge = charge
        self._reserved: dict[str, int] = {}
        self._first: tuple[list[str], float] = [], 0.0
        """What the lane that they are reserved for lacks, and milliseconds until time alone makes room for it."""
        self._lefts: dict[str, float] = {}
        """What is left of a pool for all but the first claim."""
        self._lacking: dict[str, tuple[list[str], float]] = {}
        """By what a claim takes: the pools that had too little, and milliseconds until time alone makes room. In a pass
        it stays so, as there is ever less.
        """
        self.wake_after = math.inf
        """Milliseconds until time alone makes room for one of these claims."""
        self._turns: dict[str, _Turn] = {}
        self._asides: dict[str, tuple[int, int, str, Lane]] = {}
        """By pool, the lane that was set aside first: when, its number, and its key."""
        self.blocked: dict[str, list[str]] = {}
        """By lane, the pools that its first claim waits for."""

    def run(self, lanes: dict[str, Lane], lane: Callable[[str], Lane | None]) -> None:
        """Serve these lanes; `lane` finds others."""
        self._serve_overtaken(lanes, lane)
        self._lefts.clear()
        root = _Turn("", self._shares.node(""), None, 0.0)
        turns = self._turns = {"": root}
        for key, one in lanes.items():
            if one.runs:
                self._enter(turns, root, key, one)
        for turn in turns.values():
            for child in turn.below:
                child.tag = max(child.node.tag, turn.node.time)
            turn.heap = [self._entry(child) for child in turn.below]
            heapify(turn.heap)
            heapify(turn.places)
        while root.heap:
            self._serve_next(root)

    def _serve_overtaken(self, lanes: dict[str, Lane], lane: Callable[[str], Lane | None]) -> None:
        """Grant, or save up for, claims that were overtaken too often."""
        meta = self._meta
        while True:
            if not meta.first:
                late = [
                    (one.runs[0][3], one.number, key)
                    for key, one in lanes.items()
                    if one.aside and one.runs and self._room.row(one.aside).grants - one.aside_at >= meta.max_bypass
                ]
                if not late:
                    return
                meta.first = min(late)[2]
            first = lane(meta.first)
            if first is None or not first.runs or not first.aside:
                meta.first = ""
                continue
            needed = items_of(first.runs[0][0])
            lacking = [pool for pool, amount in needed if self._room.of(pool, first.path) < amount]
            if lacking:
                self._first = lacking[:1], max(self._room.wait(pool, amount, first.path) for pool, amount in needed)
                self._reserve(first)
                return
            meta.first = ""
            self._grant(first, 0)

    def _reserve(self, lane: Lane) -> None:
        """Save up for the lane's first claim."""
        self._reserved = dict(items_of(lane.runs[0][0]))
        keeps = self._room.keeps
        if keeps is not None:
            for pool, amount in self._reserved.items():
                if pool in keeps:
                    keeps.save_up(pool, lineage_of(lane.path), amount)

    def _enter(self, turns: dict[str, _Turn], root: _Turn, key: str, lane: Lane) -> None:
        place = _Place(key, lane)
        if key == self._meta.first:
            place.index = 1
            place.is_first_seen = True
            place.blocked.update(self._reserved)
            self._blocks(place, *self._first)
        if not self._find(place):
            return
        up = root
        for name in lineage_of(lane.path):
            turn = turns.get(name)
            if turn is None:
                handicap = self._shares.handicap(lane.pool, name) if lane.pool else 0.0
                turn = turns[name] = _Turn(name, self._shares.node(name), up, handicap)
                turn.number = lane.number
                up.below.append(turn)
            turn.number = min(turn.number, lane.number)
            up = turn
        up.places.append(_order(place))

    def _serve_next(self, root: _Turn) -> None:
        turn = root
        while turn.heap:
            turn = turn.heap[0][3]
        before = turn.places[0]
        place = before[3]
        if not self._find(place):
            heappop(turn.places)
            if not turn.places:
                self._drop(turn)
            return
        if (now := _order(place))[:2] != before[:2]:
            heapreplace(turn.places, now)
            return
        items = place.lane.runs[place.index][0]
        if self._save_up_for_owed(turn, place, items):
            return
        self._grant(place.lane, place.index)
        if self._find(place):
            heapreplace(turn.places, _order(place))
        else:
            heappop(turn.places)
        self._served(turn, max(amount for _, amount in items_of(items)))

    def _served(self, turn: _Turn, cost: float) -> None:
        """Let the tenant, and those above it, take their places anew."""
        while (up := turn.up) is not None:
            up.node.time = max(up.node.time, turn.tag)
            turn.tag += cost / self._shares.weight(turn.name)
            turn.node.tag = turn.tag
            if turn.places or turn.heap:
                heapreplace(up.heap, self._entry(turn))
            else:
                heappop(up.heap)
            turn = up

    def _drop(self, turn: _Turn) -> None:
        """Nothing of the tenant, which is the first everywhere above it, can be served any more."""
        while turn.up is not None:
            heappop(turn.up.heap)
            if turn.up.heap:
                return
            turn = turn.up

    def _find(self, place: _Place) -> bool:
        """Move on to the lane's next claim that there is room for."""
        lane = place.lane
        while place.index < len(lane.runs):
            items = lane.runs[place.index][0]
            if not any(pool in place.blocked for pool, _ in items_of(items)):
                found = self._lacks(items, lane.path)
                if found is None:
                    return True
                lacking, wait = found
                place.blocked.update(lacking)
                if not place.is_first_seen:
                    self._set_aside(place, lacking[0])
                    self._blocks(place, lacking, wait)
            place.is_first_seen = True
            place.index += 1
        return False

    def _lacks(self, items: str, path: str) -> tuple[list[str], float] | None:
        """Pools that have too little for such a claim; None if it can be granted."""
        key = items
        if self._room.keeps is not None and any(self._room.is_kept(pool) for pool, _ in items_of(items)):
            key = f"{path}\n{items}"
        found = self._lacking.get(key)
        if found is None:
            needed = items_of(items)
            lacking = [pool for pool, amount in needed if self._left(pool, path) < amount]
            if not lacking:
                return None
            waits = [self._room.wait(pool, amount + self._reserved.get(pool, 0), path) for pool, amount in needed]
            found = self._lacking[key] = lacking, max(waits)
        return found

    def _set_aside(self, place: _Place, lacking: str) -> None:
        """Others may overtake the lane's first claim, if the pool has something left: so many and no more."""
        lane = place.lane
        if not lane.aside and self._left(lacking, lane.path) >= 1:
            lane.aside, lane.aside_at = lacking, self._room.row(lacking).grants
        if lane.aside == lacking:
            entry = lane.aside_at, lane.number, place.key, lane
            if entry[:2] < self._asides.get(lacking, (math.inf, 0))[:2]:
                self._asides[lacking] = entry

    def _save_up_for_owed(self, turn: _Turn, place: _Place, items: str) -> bool:
        """Save up for a claim that was set aside, if it would be unfair that this one goes before it."""
        if self._meta.first:
            return False
        needed = items_of(items)
        for pool, amount in needed if self._asides else ():
            found = self._asides.get(pool)
            if found is not None and self._is_kept_for(place.lane, pool, amount):
                continue
            if found is not None and self._owes(place.lane, needed, amount, found[3], pool):
                self._meta.first = found[2]
                self._reserve(found[3])
                self._lefts.clear()
                self._lacking.clear()
                return True
        return False

    def _is_kept_for(self, lane: Lane, pool: str, amount: int) -> bool:
        """Whether the lane's tenant keeps what it takes of the pool: it takes nothing from others then."""
        keeps = self._room.keeps
        return keeps is not None and self._room.is_kept(pool) and keeps.spare(pool, lineage_of(lane.path)) >= amount

    def _owes(self, lane: Lane, needed: tuple[tuple[str, int], ...], amount: int, late: Lane, pool: str) -> bool:
        """Whether it is the turn of `late`, which lacks tokens of this pool alone, and a tenant of `lane` has held more
        than its part for longer than less and that of `late` has not; or if that is alike, it would hold more by its
        weight than the other one with its claim.
        """
        shares, of_late = self._shares, items_of(late.runs[0][0])
        if any(other != pool and self._room.of(other, late.path) < count for other, count in of_late):
            return False
        for mine, its in zip(lineage_of(lane.path), lineage_of(late.path), strict=False):
            if mine != its:
                ahead = shares.handicap(pool, mine), shares.handicap(pool, its)
                if shares.of(its) + ahead[1] > shares.of(mine) + ahead[0]:
                    return False
                if shares.is_well_ahead(pool, mine) is not (ahead[1] > 0):
                    return ahead[1] == 0
                return self._after(mine, needed, amount) > self._after(its, of_late, dict(of_late)[pool])
        return False

    def _after(self, name: str, needed: tuple[tuple[str, int], ...], amount: int) -> tuple[float, float]:
        """The share that a tenant has once a claim of it is served; or if that is none, its tag then."""
        shares = self._shares
        share = shares.of(name) + shares.claim(needed) / shares.weight(name)
        if share > 0:
            return share, 0.0
        turn = self._turns.get(name)
        tag = max(shares.node(name).tag, shares.node(parent_of(name)).time) if turn is None else turn.tag
        return 0.0, tag + amount / shares.weight(name)

    def _blocks(self, place: _Place, lacking: list[str], wait: float) -> None:
        self.blocked[place.key] = lacking
        self.wake_after = min(self.wake_after, wait)

    def _left(self, pool: str, path: str) -> float:
        if self._room.is_kept(pool):
            return self._room.of(pool, path)
        found = self._lefts.get(pool)
        if found is None:
            found = self._lefts[pool] = self._room.of(pool, path) - self._reserved.get(pool, 0)
        return found

    def _grant(self, lane: Lane, index: int) -> None:
        items = lane.runs[index][0]
        self._charge(lane, items)
        for pool, amount in items_of(items):
            if pool in self._lefts:
                self._lefts[pool] -= amount
        _take(lane, index)

    def _entry(self, turn: _Turn) -> _Entry:
        return self._shares.of(turn.name) + turn.handicap, turn.tag, turn.number, turn


def _order(place: _Place) -> tuple[int, float, int, _Place]:
    _, _, priority, since = place.lane.runs[place.index]
    return -priority, since, place.lane.number, place


def _take(lane: Lane, index: int) -> None:
    """One claim of a run was granted."""
    items, count, priority, since = lane.runs[index]
    if count > 1:
        lane.runs[index] = (items, count - 1, priority, since)
    else:
        del lane.runs[index]
    if index == 0:
        lane.aside = ""
