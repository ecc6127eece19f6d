"""Claims that wait, and which of them is served when tokens come free.

Guarantees
    A claim stands in the order of one of its pools: the one that has too few tokens for it, or in which another has a
    better right. When it could have that pool's tokens and not another's, it moves to the other's order.
    A claim that was overtaken, has moved, or was amended more than `max_bypass` times is put first: its pools are saved
    up for it. So is one that only has to wait for more tokens of a single pool, if those that could go before it have
    had more than their part. That is done for one claim at a time, first come first served, so that none of them waits
    for another.
    If other pools make up the claims, all of them lose their places; they get new ones in slices, by `settle`, and
    until the last one has its own nothing is granted.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from propeller.resourcemgr._pools import PoolState
from propeller.resourcemgr._turn import Turn
from propeller.resourcemgr._turns import served_out_of_turn
from propeller.resourcemgr._waiter import Need, Waiter


class Waitlist:
    """See the module's text. `granted` is called with a claim whose tokens were taken; it may not call back.

    More than 15 methods: four of them make it a collection to read.
    """

    def __init__(self, granted: Callable[[Waiter], None]) -> None:
        self._granted = granted
        self._waiters: dict[str, Waiter] = {}
        self._put_first: deque[Waiter] = deque()
        self._is_saved_up_for = False  # the first of them
        self._unplaced: deque[Waiter] = deque()
        """Claims whose places are gone, but for those that have got new ones or wait no more."""
        self._epoch = 0
        """Of the needs of claims that have places."""
        self.max_bypass = 0

    def __len__(self) -> int:
        return len(self._waiters)

    def __contains__(self, name: object) -> bool:
        return name in self._waiters

    def __iter__(self) -> Iterator[Waiter]:
        """In the order in which they came."""
        return iter(self._waiters.values())

    @property
    def put_first(self) -> Iterable[Waiter]:
        """Claims that stand in no order, as their pools are saved up for them in turn."""
        return self._put_first

    def get(self, name: str) -> Waiter | None:
        return self._waiters.get(name)

    def add(self, waiter: Waiter, now: float, blocking: PoolState | None = None) -> None:
        """Let a claim wait, whose need was counted; it may be served at once. `blocking` is the first pool that it has
        to wait for, if that is known.
        """
        self._waiters[waiter.id] = waiter
        self._stand(waiter, now, blocking)
        pool = waiter.pool
        if pool is not None and (pool.free >= 1 or pool.grown or self._put_first):
            self.serve([pool], now)

    def _stand(self, waiter: Waiter, now: float, blocking: PoolState | None = None) -> None:
        """Have a claim stand in the order of a pool that it has to wait for, or of any of its pools."""
        if not waiter.need.items:
            self._grant(waiter)
            return
        pool = blocking or self._blocking(waiter, None, now) or waiter.need.items[0][0]
        pool.order.set_clock(now)
        pool.order.add(waiter, pool)
        if not waiter.need.is_plain:
            waiter.need.look(pool)

    def remove(self, name: str) -> Waiter | None:
        """Let a claim wait no more; what it left has to be served to others by `serve`."""
        waiter = self._waiters.pop(name, None)
        if waiter is None or waiter.need.epoch != self._epoch:
            return waiter
        if (pool := waiter.pool) is not None:
            pool.order.cancel(waiter, pool)
            waiter.need.look(pool)
        elif self._put_first[0] is waiter:
            self._put_first.popleft()
            self._save_up(waiter.need, False)
        else:
            self._put_first.remove(waiter)
        return waiter

    def amend(self, waiter: Waiter, need: Need, now: float) -> None:
        """Let a claim wait for something else, at its place: it may be served at once. Its need was counted."""
        if waiter.need.epoch != self._epoch:
            self._place(waiter, need, now)
            return
        before, here = waiter.need, waiter.pool
        if here is not None:
            here.order.cancel(waiter, here)
            before.look(here)
            waiter.moves += 1
            waiter.overtaken_since = -1
        elif self._put_first[0] is waiter:
            self._save_up(before, False)
        waiter.need = need
        if here is not None and waiter.moves > self.max_bypass:  # it may be amended all the time
            self._put_first.append(waiter)
        elif here is not None:
            self._stand(waiter, now)
        self.serve(dict.fromkeys(pool for one in (before, need) for pool, _ in one.items), now)

    def unsettle(self, epoch: int) -> None:
        """All claims lose their places: the pools in whose orders they stand are gone. Needs of that epoch are new."""
        self._put_first.clear()
        self._is_saved_up_for = False
        self._epoch = epoch
        self._unplaced = deque(self._waiters.values())

    @property
    def is_settled(self) -> bool:
        """Whether all claims have places."""
        return not self._unplaced

    def settle(self, most: int, renewed: Callable[[Waiter], Need | None], now: float) -> None:
        """Give places to so many claims, by their needs as they are `renewed`; None: the claim waits no more."""
        for _ in range(min(most, len(self._unplaced))):
            waiter = self._unplaced.popleft()
            if self._waiters.get(waiter.id) is not waiter or waiter.need.epoch == self._epoch:
                continue
            need = renewed(waiter)
            waiter.need.count(-1)
            if need is None:
                del self._waiters[waiter.id]
            else:
                need.count(1)
                self._place(waiter, need, now)

    def _place(self, waiter: Waiter, need: Need, now: float) -> None:
        """Have a claim stand that had lost its place. Its need was counted."""
        waiter.need, waiter.pool, waiter.moves, waiter.overtaken_since = need, None, 0, -1
        self._stand(waiter, now)

    def serve(self, pools: Iterable[PoolState], now: float) -> None:
        """Grant what can be, now that these pools may have more; nothing, while claims have lost their places."""
        if self._unplaced:
            return
        todo = list(pools)
        while True:
            if self._put_first and self._serve_first(todo, now):
                continue
            if not todo:
                return
            pool = todo.pop()
            if pool.order.size:
                self._serve_pool(pool, todo, now)

    def next_wake(self, timed: Iterable[PoolState]) -> float | None:
        """When time alone may have made room for a claim; None if it will not. `timed` are the pools with a rate. At
        once if claims have lost their places.
        """
        if self._unplaced:
            return -math.inf
        times: list[float | None] = []
        first = [pool for pool, _ in self._put_first[0].need.items] if self._put_first else []
        if first and self._put_first[0].need.is_saved():
            times.append(max((time for pool in first if (time := pool.enough_at(0)) is not None), default=None))
        for pool in timed:
            if pool.order.size:
                times += (pool.filled_at(leaf.head.need.of(pool)) for leaf in _of_keepers(pool))
                leaf = pool.order.first()
                waiter = None if leaf is None else leaf.head
                times.append(pool.enough_at(waiter.need.of(pool) if waiter else pool.order.smallest_aside or 1))
        return min((time for time in times if time is not None), default=None)

    def _serve_first(self, todo: list[PoolState], now: float) -> bool:
        """Grant the claim that was put first; false if it has to wait."""
        waiter = self._put_first[0]
        if not self._is_saved_up_for:
            self._save_up(waiter.need, True)
        if not waiter.need.is_there(now):
            return False
        self._put_first.popleft()
        self._save_up(waiter.need, False)
        self._grant(waiter)
        served_out_of_turn(waiter.need, now)
        todo += [pool for pool, _ in waiter.need.items]
        return True

    def _save_up(self, need: Need, on: bool) -> None:
        if self._is_saved_up_for is not on:
            self._is_saved_up_for = on
            need.save_up(1 if on else -1)

    def _serve_pool(self, pool: PoolState, todo: list[PoolState], now: float) -> None:
        """Grant claims of one pool's order. Claims that move to another pool's add that to `todo`."""
        order = pool.order
        order.set_clock(now)
        if pool.grown and not self._serve_keepers(pool, todo, now):
            return
        while order.size and (room := pool.free if pool.rate is None else pool.room(now)) >= 1:
            if order.late and (late := order.overtaken(pool, self.max_bypass)) is not None:
                self._put(late, pool, todo)
                return
            if order.asides:
                order.let_in(pool, room)
            leaf = order.first()
            if leaf is None:
                return
            waiter = leaf.head
            amount = waiter.need.of(pool)
            if amount > room and amount > waiter.need.room(pool, now):
                order.set_aside(leaf, passed if (passed := waiter.need.passed(pool)) > room else amount, pool.grants)
                continue
            if order.late and (late := order.owed(leaf, pool)) is not None and self._lacks_only(late, pool, now):
                self._put(late, pool, todo)
                return
            elsewhere = self._blocking(waiter, pool, now)
            order.take(leaf)
            if elsewhere is None:
                self._grant(waiter)
                order.served(leaf, amount, waiter.need.step())
                continue
            if not self._move(waiter, elsewhere, todo):
                todo.append(pool)
                return
            waiter.need.look(pool)  # the next one of its tenant may be content with what that keeps
            if pool.grown:
                todo.append(pool)

    def _serve_keepers(self, pool: PoolState, todo: list[PoolState], now: float) -> bool:
        """Grant claims whose tenants keep what they take of the pool: nobody else may have it, whatever the order.
        Returns false if a claim was put first.
        """
        order, grown = pool.order, pool.grown
        pool.grown = {}
        for node in sorted(grown, key=lambda node: len(node.path), reverse=True):
            turn = node.turns.get(pool)
            if turn is None:
                continue
            order.let_in_below(node, pool)
            while (leaf := order.first(turn)) is not None:
                waiter = leaf.head
                need = waiter.need
                if (keeper := need.kept_for(pool)) is None or len(keeper.path) < len(node.path):
                    break
                if need.room(pool, now) < need.of(pool):
                    pool.grown[node] = grown[node]  # tokens come with time, or those of a lowered limit come back
                    break
                elsewhere = self._blocking(waiter, pool, now)
                order.take(leaf)
                if elsewhere is None:
                    self._grant(waiter)
                    order.served_below(need, pool)
                elif not self._move(waiter, elsewhere, todo):
                    todo.append(pool)
                    pool.grown |= grown
                    return False
        return True

    def _move(self, waiter: Waiter, elsewhere: PoolState, todo: list[PoolState]) -> bool:
        """Have a claim stand in another pool's order; or put it first, if it has moved too often: false."""
        waiter.moves += 1
        waiter.overtaken_since = -1
        todo.append(elsewhere)
        if waiter.moves > self.max_bypass:
            self._put_first.append(waiter)
            return False
        elsewhere.order.add(waiter, elsewhere)
        waiter.need.look(elsewhere)
        return True

    def _put(self, late: Waiter, pool: PoolState, todo: list[PoolState]) -> None:
        """Put a claim first that stands in the pool's order."""
        pool.order.cancel(late, pool)
        self._put_first.append(late)
        todo.append(pool)

    def _lacks_only(self, waiter: Waiter, here: PoolState, now: float) -> bool:
        """Whether all other pools have the tokens that the claim takes: nothing is saved up here for years, because it
        has to wait elsewhere.
        """
        need = waiter.need
        return all(pool is here or need.room(pool, now) >= amount for pool, amount in need.items)

    def _grant(self, waiter: Waiter) -> None:
        del self._waiters[waiter.id]
        waiter.need.take()
        self._granted(waiter)

    def _blocking(self, waiter: Waiter, here: PoolState | None, now: float) -> PoolState | None:
        """Another pool that the claim has to wait for: it has too few tokens, or one with a better right is next."""
        need = waiter.need
        for pool, amount in need.items:
            if pool is here:
                continue
            room = pool.free if need.is_plain else need.room(pool, now)
            if room < amount or (pool.order.size and (here is None or _has_better(pool, waiter))):
                return pool
        return None


def _has_better(pool: PoolState, waiter: Waiter) -> bool:
    """Whether the pool's next claim has a better right than `waiter`: at the level at which their tenants differ, its
    tenant has the smaller share. If a tenant keeps all that the claim takes, only those inside it count.
    """
    keeper = waiter.need.kept_for(pool)
    turn = None if keeper is None else keeper.turns.get(pool)
    leaf = None if keeper is not None and turn is None else pool.order.first(turn)
    if leaf is None:
        return False
    for own, other in zip(reversed(waiter.need.nodes), reversed(leaf.node.lineage()), strict=False):
        if own is not other:
            return other.share() < own.share()
    return leaf.head.place < waiter.place


def _of_keepers(pool: PoolState) -> Iterator[Turn]:
    """Leaves whose first claims wait for time alone, as their tenants keep what they take."""
    for node in pool.grown:
        turn = node.turns.get(pool)
        leaf = None if turn is None else pool.order.first(turn)
        if leaf is not None:
            yield leaf
