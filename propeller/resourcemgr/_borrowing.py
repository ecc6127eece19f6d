"""Borrowing as limits: what a tenant may hold of a pool, its share and what it may borrow.

Guarantees
    Pure. What a tenant may hold changes with the pool's capacity and with the weights and tenants that are listed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from propeller.resourcemgr._limits import Path, Tenant, path_of
from propeller.resourcemgr._options import ResourceOptions

_ROUNDING = 1e-9
"""Tokens that a share may be above a whole number by its computation."""


def with_borrowing(options: ResourceOptions) -> ResourceOptions:
    """The options, which were checked, with each tenant's borrowing made a limit. Shares are rounded up."""
    if not any(tenant.borrowing for tenant in options.tenants):
        return options
    shares = shares_of(options.tenants)
    capacities = {pool.name: pool.capacity for pool in options.pools}
    tenants = tuple(
        msgspec.structs.replace(tenant, limits=_limits(tenant, shares[path_of(tenant.name)], capacities), borrowing={})
        for tenant in options.tenants
    )
    return msgspec.structs.replace(options, tenants=tenants)


def shares_of(tenants: Iterable[Tenant]) -> dict[Path, float]:
    """The part of any pool that belongs to each tenant that is listed, or has one listed below it, by weight."""
    shares: dict[Path, float] = {(): 1.0}
    for path, (weight, total) in weights_of(tenants).items():
        shares[path] = shares[path[:-1]] * weight / total
    return shares


def weights_of(tenants: Iterable[Tenant]) -> dict[Path, tuple[float, float]]:
    """The weight of each tenant that is listed, or has one listed below it, and the sum of the weights beside it, its
    own included. The outermost tenants come first.
    """
    weights: dict[Path, float] = {}
    for tenant in tenants:
        path = path_of(tenant.name)
        for length in range(1, len(path)):
            weights.setdefault(path[:length], 1.0)
        weights[path] = tenant.weight
    sums: dict[Path, float] = defaultdict(float)
    for path, weight in weights.items():
        sums[path[:-1]] += weight
    return {path: (weights[path], sums[path[:-1]]) for path in sorted(weights, key=lambda path: (len(path), path))}


def _limits(tenant: Tenant, share: float, capacities: Mapping[str, int | None]) -> dict[str, int]:
    limits = dict(tenant.limits)
    for pool, amount in tenant.borrowing.items():
        most = math.ceil((capacities[pool] or 0) * share - _ROUNDING) + amount
        limits[pool] = min(most, limits.get(pool, most))
    return limits
