"""What tenants keep of pools, in a pass of the store: `resourcemgr._kept_need` over the rows of the store.

Guarantees
    Those of `_kept_need`. Costs O(tenants that keep tokens of a pool) once a pass that asks for it, then O(depth).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

from propeller.resourcemgr.shared._messages import lineage_of, owner_of
from propeller.resourcemgr.shared._shares import parent_of

Kept = dict[str, dict[str, int]]


class Keeps:
    """`held` gives what a tenant holds of a pool by now, with those inside it; the root is ""."""

    def __init__(self, kept: Kept, held: Callable[[str, str], float]) -> None:
        self._kept = kept
        self._held = held
        self._saved: defaultdict[tuple[str, str], float] = defaultdict(float)
        """What is saved up for claims of a tenant, by pool and tenant."""
        self._below: dict[str, defaultdict[str, float]] = {}
        """By pool and tenant, what those inside it keep and do not use."""

    def __contains__(self, pool: object) -> bool:
        """Whether tenants keep tokens of the shared pool."""
        return pool in self._kept

    def kept(self, title: str) -> float:
        """Tokens of a pool, or of a tenant's limit for it, that those below keep and do not use."""
        pool, owner = owner_of(title)
        return self._of(pool)[owner] if pool in self._kept else 0.0

    def left(self, title: str, names: list[str], capacity: float, held: float) -> float:
        """Tokens that a claim of a tenant may take. `names` are the tenant's from the root on; `held` is of all."""
        free = capacity - held - self._saved[owner_of(title)] - self.kept(title)
        return min(self.spare(title, names) + max(0.0, free), capacity - held)

    def spare(self, title: str, names: list[str]) -> float:
        """Tokens that the tenant, or those which it is part of, keep below the pool and do not use."""
        pool, owner = owner_of(title)
        depth = len(owner.split("/")) if owner else 0
        return sum(self._spare(pool, name) for name in names[depth:-1])

    def _spare(self, pool: str, name: str) -> float:
        kept = self._kept[pool].get(name, 0)
        return max(0.0, kept - self._used(pool, name)) if kept else 0.0

    def charge(self, pool: str, names: list[str], by: float) -> None:
        """The tenant, and those which it is part of, are about to hold so many more."""
        if pool in self._below:
            self._change(pool, names, by)

    def save_up(self, pool: str, names: list[str], amount: float) -> None:
        """Count what a claim of the tenant takes as if it were held."""
        self._change(pool, names, amount)
        for name in ("", *names):
            self._saved[pool, name] += amount

    def _change(self, pool: str, names: list[str], by: float) -> None:
        """The tenant, and those which it is part of, are about to have so many more, held or saved up."""
        below, passed = self._of(pool), 0.0
        for name in reversed(names[:-1]):
            kept, before = self._kept[pool].get(name, 0), self._used(pool, name)
            below[name] += passed
            passed = max(before + by + passed, kept) - max(before, kept) - by
        below[""] += passed

    def _used(self, pool: str, name: str) -> float:
        return self._held(pool, name) + self._saved[pool, name] + self._of(pool)[name]

    def _of(self, pool: str) -> defaultdict[str, float]:
        found = self._below.get(pool)
        if found is None:
            found = self._below[pool] = defaultdict(float)
            names = {name for keeper in self._kept[pool] for name in lineage_of(keeper)[:-1]}
            for name in sorted(names, key=lambda name: (-name.count("/"), name)):
                used = self._held(pool, name) + found[name]
                found[parent_of(name)] += max(used, self._kept[pool].get(name, 0)) - self._held(pool, name)
        return found


def most_of(kept: Kept, title: str, names: list[str], capacity: float) -> tuple[float, float]:
    """Tokens that a claim of a tenant can ever have of a pool, and those that tenants keep of it."""
    keeps = Keeps(kept, lambda pool, name: 0.0)
    if owner_of(title)[0] not in keeps or capacity <= 0:
        return (capacity if capacity > 0 else math.inf), 0.0
    return keeps.left(title, names, capacity, 0.0), keeps.kept(title)
