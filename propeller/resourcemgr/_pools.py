"""One pool: tokens that are held and given back, tokens that come at a rate, or both."""

from __future__ import annotations

import math

from propeller.resourcemgr._turns import Order

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
    """

    __slots__ = (
        "at",
        "burst",
        "capacity",
        "free",
        "grants",
        "held",
        "level",
        "name",
        "order",
        "rate",
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
        if self.rate is None:
            return self.free
        self.refill(now)
        return min(self.free, self.level + _ROUNDING)

    def save_up(self, amount: int) -> None:
        """Withdraw tokens, whether they are there or not; a negative amount puts them back."""
        self.free -= amount
        if self.rate is not None:
            self.level -= amount

    @property
    def most(self) -> float:
        """Tokens of the largest claim that can ever be met. A paused pool (capacity 0) has no say."""
        return min(self.capacity or UNLIMITED, UNLIMITED if self.rate is None else self.burst)

    def enough_at(self, amount: float) -> float | None:
        """When the bucket will have `amount`, as of the last refill; None if that does not depend on time alone."""
        if self.rate is None or self.free < amount:
            return None
        return self.at + max(0.0, amount - self.level) / self.rate
