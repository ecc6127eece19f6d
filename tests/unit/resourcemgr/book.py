"""A ledger, what it has granted, and a model of what it may never do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from propeller.errors import Invalid
from propeller.resourcemgr import Claim, Ledger, Limits, Pool, Tenant

Needs = Iterable[tuple[str, int]]


def limits(*pools: Pool, tenants: Iterable[Tenant] = (), max_bypass: int = 64) -> Limits:
    return Limits(pools=pools, tenants=tuple(tenants), max_bypass=max_bypass)


class Book:
    """A ledger with its clock, and the claims that have tokens."""

    def __init__(self, of: Limits) -> None:
        self.now = 100.0
        self.held: dict[str, Claim] = {}
        self.waiting: dict[str, Claim] = {}
        self.refused: dict[str, str] = {}
        self.order: list[str] = []
        """Claims that had to wait, as they were granted."""
        self.came: dict[str, tuple[int, float]] = {}
        """The number and the time of each claim."""
        self.ledger = Ledger(of, self.now, self._granted, self._refused)
        self._count = 0

    def _granted(self, name: str) -> None:
        self.order.append(name)
        self.held[name] = self.waiting.pop(name)

    def _refused(self, name: str, error: Invalid) -> None:
        del self.waiting[name]
        self.refused[name] = str(error)

    def acquire(self, tenant: str, *needs: tuple[str, int], name: str = "", priority: int = 0) -> str:
        """The claim's id; look into `held` and `waiting` for what came of it."""
        self._count += 1
        claim = Claim(name or f"{tenant} {self._count}", tuple(tenant.split("/")), needs, priority)
        self.came.setdefault(claim.id, (self._count, self.now))
        self.waiting[claim.id] = claim  # it may be granted by the call
        try:
            took = self.ledger.acquire(claim, self.now)
        except Invalid:
            del self.waiting[claim.id]
            raise
        if took and claim.id in self.waiting:
            self.held[claim.id] = self.waiting.pop(claim.id)
        return claim.id

    def amend(self, name: str, *needs: tuple[str, int]) -> None:
        """Have a claim that waits need something else."""
        claim = Claim(name, self.waiting[name].tenant, needs, self.waiting[name].priority)
        before, self.waiting[name] = self.waiting[name], claim
        try:
            self.ledger.amend(claim, self.now)
        except Invalid:
            self.waiting[name] = before
            raise

    def release(self, name: str) -> None:
        self.held.pop(name, None)
        self.waiting.pop(name, None)
        self.ledger.release(name, self.now)

    def release_one(self, tenant: str = "") -> None:
        """The claim that has been held longest, of that tenant or of any."""
        self.release(next(name for name in self.held if name.startswith(tenant)))

    def is_put_first(self, name: str) -> bool:
        """Whether pools are saved up for the claim, or will be next."""
        waiter = self.ledger._waiting.get(name)
        return waiter is not None and waiter.pool is None

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.ledger.tick(self.now)

    def tenants(self) -> Counter[str]:
        """How many claims each tenant holds."""
        return Counter("/".join(claim.tenant) for claim in self.held.values())
