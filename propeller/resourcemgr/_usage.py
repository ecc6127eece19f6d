"""Who holds and waits for how much: a picture for statuses, metrics and people.

Guarantees
    `usage_of` costs O(pools + tenants and the pools that each has waited for), however many claims wait.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from propeller.resourcemgr._limits import Path

if TYPE_CHECKING:
    from propeller.resourcemgr._pools import PoolState
    from propeller.resourcemgr._tenants import Node


class PoolUsage(msgspec.Struct, frozen=True):
    """Of a pool that tenants share. `capacity` is None for any number; `waiting` counts claims."""

    name: str
    held: int
    capacity: int | None
    waiting: int


class TenantUsage(msgspec.Struct, frozen=True):
    """Of a tenant with all below it: by pool, the tokens that it holds, and its claims that wait."""

    path: Path
    weight: float
    held: Mapping[str, int]
    waiting: Mapping[str, int]


class Usage(msgspec.Struct, frozen=True):
    """Of all shared pools, and of the tenants that have claims: those of so many processes together."""

    pools: Sequence[PoolUsage] = ()
    tenants: Sequence[TenantUsage] = ()
    tenants_left_out: int = 0
    """Those that hold and wait for the least, if there are too many."""
    processes: int = 1


def usage_of(pools: Iterable[PoolState], tenants: Iterable[Node], others: Iterable[tuple[Path, str, int]]) -> Usage:
    """The picture of a ledger: its pools, all its tenants with their leaves, and tenants and pools of claims that stand
    in no order, and how many they are. A claim that waits for a tenant's own limit of a pool waits for that pool.
    """
    every = tuple(tenants)
    waiting: defaultdict[Path, Counter[str]] = defaultdict(Counter)
    of_pool: Counter[str] = Counter()
    standing = [
        (node.path[:-1], pool.name, len(turn.lane)) for node in every for pool, turn in node.turns.items() if turn.lane
    ]
    for path, name, count in (*standing, *others):
        of_pool[name] += count
        for length in range(1, len(path) + 1):
            waiting[path[:length]][name] += count
    return Usage(
        [PoolUsage(one.name, one.held, one.capacity, of_pool[one.name]) for one in pools if not one.tenant],
        [
            TenantUsage(
                node.path,
                node.weight,
                {pool.name: amount for pool, amount in node.held.items() if amount},
                waiting[node.path],
            )
            for node in every
            if node.claims and node.path and node.path[-1]
        ],
    )


def ideals_of(tenants: Sequence[TenantUsage]) -> dict[Path, float]:
    """The part of the pools that each tenant gets by its weight if all of these want more than that."""
    sums: dict[Path, float] = {}
    for tenant in tenants:
        sums[tenant.path[:-1]] = sums.get(tenant.path[:-1], 0.0) + tenant.weight
    ideals: dict[Path, float] = {(): 1.0}
    for tenant in sorted(tenants, key=lambda tenant: len(tenant.path)):
        above = ideals.get(tenant.path[:-1], 1.0)
        ideals[tenant.path] = above * tenant.weight / sums[tenant.path[:-1]]
    return ideals


def share_of(tenant: TenantUsage, capacities: Mapping[str, int | None]) -> float:
    """The largest part of any of these pools that the tenant holds, not divided by its weight."""
    parts = (tenant.held.get(name, 0) / capacity for name, capacity in capacities.items() if capacity)
    return max(parts, default=0.0)
