"""One pool: tokens that are held and given back, tokens that come at a rate, or both."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from propeller.resourcemgr._turns import Order

if TYPE_CHECKING:
    from propeller.resourcemgr._tenants import Node

UNLIMITED = 2**62

OF_TENANT = " of "
"""Between the name of a pool, which has no spaces, and the tenant whose limit of it this is."""

_ROUNDING = 1e-9
"""Tokens that a sum of parts of a token may be short of a whole one."""


def title_of(name: str, tenant: str) -> str:
    """The name of a pool, or of a tenant's limit for it, that no other one has."""
    return f"{name}{OF_TENANT}{tenant}" if tenant else name


class PoolState:
    """A pool's tokens, and the order of the claims that wait for it. `tenant` is whose limit it is, "" for a pool that
    tenants share.

    `free` is what is left of the capacity; negative while more is held than a limit allows that was lowered, or than a
    restart has found, and while tokens are saved up. `level` is what is left of those that have come at the rate.

    Of a pool that a tenant does not lend entirely, what that tenant has is a pool of its own: `kept` tokens are counted
    in the pools above it as if they were held, whether they are or not. `grown` are such tenants below this pool that
    may have become able to hold more, as they do not hold all that they keep.
    """

    __slots__ = (
        "at",
        "burst",
        "capacity",
        "free",
        "grants",
        "grown",
        "held",
        "is_keeper",
        "kept",
        "level",
        "name",
        "order",
        "rate",
        "reserved",
        "tenant",
        "title",
    )

    def __init__(self, name: str, tenant: str = "") -> None:
        self.name = name
        self.tenant = tenant
        self.title = title_of(name, tenant)
        self.capacity: int | None = None
        self.rate: float | None = None
        self.burst = 0.0
        self.held = 0
        self.free = UNLIMITED
        self.level = 0.0
        self.at = 0.0  # when `level` was so
        self.grants = 0  # so far
        self.order = Order()
        self.is_keeper = False  # whether the tenant has a lending limit
        self.kept = 0
        self.reserved = 0  # what those below keep if they hold nothing
        self.grown: dict[Node, PoolState] = {}

    def configure(self, capacity: int | None, rate: float | None, burst: int | None, now: float) -> None:
        """Set the limits. What is held stays held, and a bucket keeps what it has."""
        before, after = (UNLIMITED if one is None else one for one in (self.capacity, capacity))
        self.capacity = capacity
        self.free += after - before
        if rate is not None:
            limit = float(max(1, math.ceil(rate)) if burst is None else burst)
            self.refill(now)
            self.level = limit if self.rate is None else min(self.level, limit)
            self.burst, self.at = limit, now
        self.rate = rate

    def refill(self, now: float) -> None:
        """Add what has come at the rate. A clock that goes back adds nothing."""
        if self.rate is not None:
            self.level = min(self.burst, self.level + max(0.0, now - self.at) * self.rate)
            self.at = now

    def room(self, now: float) -> float:
        """Tokens that a claim may take now."""
        return self.free if self.rate is None else min(self.free, self.room_in_time(now))

    def room_in_time(self, now: float) -> float:
        """Tokens that have come at the rate."""
        if self.rate is None:
            return UNLIMITED
        self.refill(now)
        return self.level + _ROUNDING

    @property
    def used(self) -> int:
        """Tokens that are held, or saved up, and those that tenants below keep and do not use."""
        return (UNLIMITED if self.capacity is None else self.capacity) - self.free

    @property
    def counted(self) -> int:
        """Tokens that count in the pools above."""
        return max(self.used, self.kept)

    @property
    def spare(self) -> int:
        """Tokens that the tenant keeps and does not use."""
        return max(0, self.kept - self.used)

    def save_up(self, amount: int) -> None:
        """Withdraw tokens, whether they are there or not; a negative amount puts them back."""
        self.free -= amount
        if self.rate is not None:
            self.level -= amount

    @property
    def most(self) -> float:
        """Tokens of the largest claim that can ever be met. A paused pool (capacity 0) has no say."""
        return min((self.capacity or UNLIMITED) - self.reserved, UNLIMITED if self.rate is None else self.burst)

    def enough_at(self, amount: float) -> float | None:
        """When the bucket will have `amount`, as of the last refill; None if that does not depend on time alone."""
        return None if self.free < amount else self.filled_at(amount)

    def filled_at(self, amount: float) -> float | None:
        """As `enough_at`, if the capacity has room."""
        return None if self.rate is None else self.at + max(0.0, amount - self.level) / self.rate


def pass_up(pools: Iterable[PoolState], amount: int, counted: int = 0) -> None:
    """Count so many tokens more (negative: less) in a tenant's own pools, from the innermost on, and the shared one:
    in each only what those below did not keep anyway. So many were `counted` in each before, instead.
    """
    for pool in pools:
        used, kept = pool.used - counted, pool.kept
        pool.free += counted - amount
        amount = max(used + amount, kept) - max(used, kept)
