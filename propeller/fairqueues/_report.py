"""The status of a FairQueue: what came of its spec, and who holds and waits for how much.

Guarantees
    Pure. At most MAX_TENANTS tenants are listed, those that hold or wait for the most; the rest are summed. Names of
    tenants are strangers' text: bounded, in one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
    capacities = {pool.name: pool.capacity for pool in pools}
    active = [_Active(tenant, capacities) for tenant in usage.tenants]
    active = [one for one in active if one.held or one.waiting]
    active.sort(key=lambda one: (-one.share, -one.waiting, one.path))
    listed, rest = active[:MAX_TENANTS], active[MAX_TENANTS:]
    ideal = _ideals(active)
    others = {"tenants": len(rest), "waiting": sum(one.waiting for one in rest if len(one.path) == 1)}
    return {
        "waiting": sum(pool.waiting for pool in pools),
        "usage": bounded(", ".join(map(_usage_of, pools)), MAX_USAGE),
        "activeTenants": len(active),
        "pools": [_pool(pool) for pool in pools],
        "tenants": [one.row(ideal(one.path)) for one in sorted(listed, key=lambda one: one.path)],
        "otherTenants": others if rest else None,
    }


class _Active:
    """What a tenant has of some pools. Claims that wait in a domain wait in its project as well."""

    __slots__ = ("held", "path", "share", "waiting", "weight")

    def __init__(self, tenant: TenantUsage, capacities: Mapping[str, int | None]) -> None:
        self.path = tenant.path
        self.weight = tenant.weight
        self.held = {name: amount for name, amount in tenant.held.items() if amount and name in capacities}
        self.waiting = sum(count for name, count in tenant.waiting.items() if name in capacities)
        self.share = max((amount / (capacities[name] or amount) for name, amount in self.held.items()), default=0.0)

    def row(self, ideal: float) -> dict[str, Any]:
        """Of a status."""
        return {
            "name": one_line(bounded("/".join(self.path), MAX_NAME)),
            "held": dict(sorted(self.held.items(), key=lambda item: -item[1])[:MAX_HELD]),
            "waiting": self.waiting,
            "share": round(self.share, 3),
            "ideal": round(ideal, 3),
        }


def _ideals(tenants: Iterable[_Active]) -> Callable[[Path], float]:
    """The part of the pools that a tenant gets by its weight if all of these want more than that."""
    weights = {tenant.path: tenant.weight for tenant in tenants}
    sums: dict[Path, float] = {}
    for path, weight in weights.items():
        sums[path[:-1]] = sums.get(path[:-1], 0.0) + weight

    def ideal(path: Path) -> float:
        if path not in weights:
            return 1.0
        return ideal(path[:-1]) * weights[path] / sums[path[:-1]]

    return ideal


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
