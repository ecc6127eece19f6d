"""Lending as tokens that are kept: what of a pool only a tenant itself may hold, because it does not lend it.

Guarantees
    Pure. Tenants beside each other, and those inside a tenant, keep no more together than the share of the one above
    them, nor than its limit.
"""

from __future__ import annotations

import math

from propeller.resourcemgr._borrowing import weights_of
from propeller.resourcemgr._limits import Limits, Path, path_of

_ROUNDING = 1e-9
"""Tokens that a share may be below a whole number by its computation."""

Kept = dict[str, dict[Path, int]]


def kept_of(limits: Limits) -> Kept:
    """By pool, the tokens that each tenant with a lending limit keeps: its share, rounded down, without what it lends.

    A share is that part of the share above which the weight is of the weights of all tenants that are listed there, but
    at most the tenant's own limit.
    """
    names = sorted({name for tenant in limits.tenants for name in tenant.lending})
    if not names:
        return {}
    by_path = {path_of(tenant.name): tenant for tenant in limits.tenants}
    weights = weights_of(limits.tenants)
    capacities = {pool.name: pool.capacity or 0 for pool in limits.pools}
    kept: Kept = {}
    for name in names:
        shares: dict[Path, float] = {(): float(capacities[name])}
        of_pool = kept[name] = {}
        for path, (weight, total) in weights.items():
            found = by_path.get(path)
            share = shares[path[:-1]] * weight / total
            shares[path] = share if found is None else min(share, found.limits.get(name, share))
            if found is not None and name in found.lending:
                of_pool[path] = max(0, math.floor(shares[path] + _ROUNDING) - found.lending[name])
    return kept
