"""What a task asks for, and what it hears while it waits."""

from __future__ import annotations

import msgspec

from propeller.errors import Invalid
from propeller.resourcemgr._limits import MAX_DEPTH, MAX_TOKENS, Path

MAX_PRIORITY = 2**31 - 1
MAX_POOLS_OF_A_CLAIM = 64


class Claim(msgspec.Struct, frozen=True, gc=False):  # it refers to nothing that refers to it, and there are many
    """Tokens for one attempt. `id` is the attempt's identity: asking again with it changes nothing.

    `needs` are pools and tokens of each; a pool's parents are taken from as well. The higher `priority` goes first
    within its tenant.
    """

    id: str
    tenant: Path
    needs: tuple[tuple[str, int], ...]
    priority: int = 0

    def check(self) -> None:
        """Raise Invalid for a claim that makes no sense, whatever the limits are."""
        if not self.tenant or not all(self.tenant) or len(self.tenant) > MAX_DEPTH:
            raise Invalid(f"claim {self.id!r}: its tenant {'/'.join(self.tenant)!r} has to be 1 to {MAX_DEPTH} names")
        if not -MAX_PRIORITY <= self.priority <= MAX_PRIORITY:
            raise Invalid(f"claim {self.id!r}: its priority {self.priority} has to be within {MAX_PRIORITY} of 0")
        if len(self.needs) > MAX_POOLS_OF_A_CLAIM:
            raise Invalid(f"claim {self.id!r} names {len(self.needs)} pools, more than {MAX_POOLS_OF_A_CLAIM}")
        for pool, amount in self.needs:
            if type(amount) is not int or not 1 <= amount <= MAX_TOKENS:
                raise Invalid(f"claim {self.id!r} needs {amount!r} of pool {pool!r}: write a whole number of 1 or more")


class Wait(msgspec.Struct, frozen=True):
    """Why a claim waits. `ahead` are claims of its own tenant before it in that pool; times are seconds."""

    pool: str
    amount: int
    held: int
    capacity: int | None
    rate: float | None
    tenant: Path
    ahead: int
    waiting: int
    since: float
    kept: int = 0
    """Tokens that tenants keep for themselves and do not use."""

    @property
    def what(self) -> str:
        """What it waits for: how its text begins."""
        return f"waits for {self.pool}: "

    def __str__(self) -> str:
        if self.capacity is None:
            state = f"{self.rate:g} a second"
        else:
            state = "it is paused" if not self.capacity else f"{self.held} of {self.capacity} held"
            state += f", {self.kept} kept for other tenants" if self.kept else ""
        return f"{self.what}{state}, {_ordinal(self.ahead + 1)} of {'/'.join(self.tenant)}"


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
