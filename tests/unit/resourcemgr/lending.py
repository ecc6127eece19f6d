"""What tenants keep, counted anew from what is held: a model to compare backends with; and limits to do that by."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping

from propeller.resourcemgr import Claim, Limits, Path, Pool, Tenant, kept_of

NAMES = ["a", "a/x", "a/y", "b", "b/z", "c"]


def drawn(rng: random.Random, capacity: int, generation: int = 0) -> Limits:
    """Limits of pool hive, and of most tenants of `NAMES`."""
    return Limits(
        pools=(Pool(name="hive", capacity=capacity),),
        tenants=tuple(
            Tenant(
                name=name,
                weight=rng.choice([1.0, 2.0, 3.5]),
                limits={"hive": rng.randint(1, 8)} if rng.random() < 0.3 else {},
                lending={"hive": rng.randint(0, 3)} if rng.random() < 0.6 else {},
            )
            for name in NAMES
            if rng.random() < 0.8
        ),
        generation=generation,
        max_bypass=rng.choice([0, 1, 5, 64]),
    )


class Kept:
    """Of one pool without children, by limits."""

    def __init__(self, limits: Limits, pool: str) -> None:
        self._kept = kept_of(limits).get(pool, {})
        self._limits = {tuple(tenant.name.split("/")): tenant.limits.get(pool) for tenant in limits.tenants}
        self.capacity = next(one.capacity or 0 for one in limits.pools if one.name == pool)
        self._pool = pool

    def held(self, claims: Iterable[Claim]) -> Counter[Path]:
        """What each tenant holds, with those below it."""
        found: Counter[Path] = Counter()
        for claim in claims:
            for pool, amount in claim.needs:
                for length in range(len(claim.tenant) + 1):
                    found[claim.tenant[:length]] += amount * (pool == self._pool)
        return found

    def counted(self, held: Mapping[Path, int], path: Path = ()) -> int:
        """What counts of a tenant in those above it: what it holds and what those inside it keep, or what it keeps."""
        return max(self.used(held, path), self._kept.get(path, 0))

    def admits(self, claims: Iterable[Claim], one: Claim) -> bool:
        """Whether there is room for one more claim beside those that are held."""
        claims = list(claims)
        before, after = self.held(claims), self.held([*claims, one])
        for length in range(len(one.tenant) + 1):
            path = one.tenant[:length]
            limit = self.capacity if not path else self._limits.get(path)
            if limit is None:
                continue
            used, grown = self.used(before, path), self.used(after, path)
            if after[path] > limit or (grown > used and grown > limit):
                return False
        return True

    def used(self, held: Mapping[Path, int], path: Path) -> int:
        """What a tenant holds, and those inside it keep."""
        below = {
            other[: len(path) + 1] for other in self._kept if len(other) > len(path) and other[: len(path)] == path
        }
        return held.get(path, 0) + sum(self.counted(held, child) - held.get(child, 0) for child in below)

    def excess(self, claims: Iterable[Claim]) -> int:
        """Tokens that are lent beyond the limits, or out beyond the capacity: 0 if all is right."""
        return max(0, self.used(self.held(claims), ()) - self.capacity)
