"""What tenants keep, counted anew from what is held: a model to compare backends with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from propeller.resourcemgr import Claim, Limits, Path, kept_of


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
        below = {
            other[: len(path) + 1] for other in self._kept if len(other) > len(path) and other[: len(path)] == path
        }
        kept_below = sum(self.counted(held, child) - held.get(child, 0) for child in below)
        return max(held.get(path, 0) + kept_below, self._kept.get(path, 0))

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
        own, self._kept[path] = self._kept.get(path, 0), 0
        try:
            return self.counted(held, path)
        finally:
            self._kept[path] = own

    def excess(self, claims: Iterable[Claim]) -> int:
        """Tokens that are lent beyond the limits, or out beyond the capacity: 0 if all is right."""
        return max(0, self.used(self.held(claims), ()) - self.capacity)
