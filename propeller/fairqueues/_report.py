"""The status of a FairQueue: what came of its spec, and who holds and waits for how much.

Guarantees
    Pure. At most MAX_TENANTS tenants are listed, those that hold or wait for the most; the rest are summed. Names of
    tenants are strangers' text: bounded, in one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from propeller.fairqueues._merge import Collision, Verdict
from propeller.resourcemgr import Path, PoolUsage, TenantUsage, Usage
from propeller.text import bounded, one_line

MAX_TENANTS = 50
"""Tenants that a status lists: about 10 KB."""

MAX_NAME = 127
"""Characters of a tenant's name."""

MAX_HELD = 16
"""Pools that a status lists of a tenant: those of which it holds the most."""

MAX_USAGE, MAX_MESSAGE = 120, 2_000
"""Characters of the column with held and capacity by pool, and of a condition's message."""


def usage_status(names: Iterable[str], usage: Usage) -> dict[str, Any]:
    """The part of a status that says who holds what of the pools with these names."""
    own = set(names)
    pools = [pool for pool in usage.pools if pool.name in own]
    tenants = _tenants(pools, usage.tenants)
    ranked = sorted(tenants, key=lambda tenant: (-tenant["share"], -tenant["waiting"], tenant["name"]))
    listed, rest = ranked[:MAX_TENANTS], ranked[MAX_TENANTS:]
    return {
        "waiting": sum(pool.waiting for pool in pools),
        "usage": bounded(", ".join(map(_usage_of, pools)), MAX_USAGE),
        "activeTenants": len(tenants),
        "pools": [_pool(pool) for pool in pools],
        "tenants": sorted(listed, key=lambda tenant: tenant["name"]),
        "otherTenants": {"tenants": len(rest), "waiting": _waiting(tenants) - _waiting(listed)} if rest else None,
    }


def _waiting(rows: Iterable[Mapping[str, Any]]) -> int:
    """Claims of these tenants; those of a domain are its project's as well."""
    return sum(row["waiting"] for row in rows if "/" not in row["name"])


def conditions(verdict: Verdict, generation: int, before: Any, now: str) -> list[dict[str, Any]]:
    """The status's conditions; `before` are those that it has, as they may be. `now` in RFC 3339."""
    status, reason, message = _verdict_words(verdict, generation)
    earlier = before[0] if isinstance(before, list) and before and isinstance(before[0], dict) else {}
    return [
        {
            "type": "Ready",
            "status": status,
            "reason": reason,
            "message": one_line(bounded(message, MAX_MESSAGE)),
            "observedGeneration": generation,
            "lastTransitionTime": earlier.get("lastTransitionTime", now) if earlier.get("status") == status else now,
        }
    ]


def _verdict_words(verdict: Verdict, generation: int) -> tuple[str, str, str]:
    """Status, reason and message of the condition Ready."""
    if verdict.refused is None:
        over = f"; it replaces {', '.join(verdict.replaces)} of the settings" if verdict.replaces else ""
        return "True", "InForce", f"generation {generation} is in force{over}"
    still = (
        "nothing of it is in force"
        if verdict.accepted is None
        else f"generation {verdict.accepted.generation} stays in force"
    )
    reason = "Collision" if isinstance(verdict.refused, Collision) else "Invalid"
    return "False", reason, f"{verdict.refused}; {still}"


def _pool(pool: PoolUsage) -> dict[str, Any]:
    found: dict[str, Any] = {"name": pool.name, "held": pool.held, "waiting": pool.waiting}
    if pool.capacity is not None:
        found["capacity"] = pool.capacity
    return found


def _usage_of(pool: PoolUsage) -> str:
    return f"{pool.name} {pool.held}" if pool.capacity is None else f"{pool.name} {pool.held}/{pool.capacity}"


def _tenants(pools: Sequence[PoolUsage], tenants: Sequence[TenantUsage]) -> list[dict[str, Any]]:
    """Of the tenants that hold or wait for tokens of these pools: what they have, and what they should have."""
    capacities = {pool.name: pool.capacity for pool in pools}
    found = []
    active = [
        tenant
        for tenant in tenants
        if any(tenant.held.get(name, 0) or tenant.waiting.get(name, 0) for name in capacities)
    ]
    ideals = _ideals(active)
    for tenant in active:
        held = {name: tenant.held[name] for name in capacities if tenant.held.get(name)}
        parts = [held[name] / capacity for name, capacity in capacities.items() if capacity and name in held]
        found.append(
            {
                "name": one_line(bounded("/".join(tenant.path), MAX_NAME)),
                "held": dict(sorted(held.items(), key=lambda item: -item[1])[:MAX_HELD]),
                "waiting": sum(tenant.waiting.get(name, 0) for name in capacities),
                "share": round(max(parts, default=0.0), 3),
                "ideal": round(ideals[tenant.path], 3),
            }
        )
    return found


def _ideals(tenants: Sequence[TenantUsage]) -> dict[Path, float]:
    """The part of the pools that each tenant gets by its weight if all of these want more than that."""
    sums: dict[Path, float] = {}
    for tenant in tenants:
        sums[tenant.path[:-1]] = sums.get(tenant.path[:-1], 0.0) + tenant.weight
    ideals: dict[Path, float] = {(): 1.0}
    for tenant in sorted(tenants, key=lambda tenant: len(tenant.path)):
        above = ideals.get(tenant.path[:-1], 1.0)
        ideals[tenant.path] = above * tenant.weight / sums[tenant.path[:-1]]
    return ideals
