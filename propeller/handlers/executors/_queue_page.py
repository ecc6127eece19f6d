"""What `propeller queue` shows: each pool, the tenants, and who waits for what, since when, behind whom and until when.

Guarantees
    A page is bounded, however many wait: `MAX_TENANTS` tenants, `MAX_FIRST` claims of a pool; the rest are counted.
    Of controllers that share pools, `controllers` of them, all that is held and waits is counted; the claims are those
    of the one that is asked.
    It costs O(pools and tenants) and at most `MAX_LOOKS` explanations of claims.
    Names of tenants and attempts are strangers' text: bounded, in one line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from propeller.clock import Clock, rfc3339
from propeller.errors import Invalid
from propeller.handlers.executors._waits import OF, Waiting, Waits, pool_of
from propeller.resourcemgr import SEPARATOR, Path, TenantUsage, Usage, Wait, ideals_of, path_of, share_of
from propeller.text import bounded, one_line

MAX_TENANTS = 200
MAX_FIRST = 500
MAX_LOOKS = 2000
"""Claims that are looked at for one page: each costs some microseconds of the loop's time."""

MAX_NAME = 256


class Asked(msgspec.Struct, frozen=True):
    """Which part: of one pool, of one tenant with those inside it, and the first so many claims of each pool."""

    pool: str = ""
    tenant: str = ""
    first: int = 20

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Asked:
        """As a URL's query has it. Raises Invalid."""
        first = query.get("first", "20")
        if not (first.isascii() and first.isdecimal() and len(first) < 6 and 1 <= int(first) <= MAX_FIRST):
            raise Invalid(f"first is {first[:20]!r}: it has to be 1 to {MAX_FIRST}")
        if tenant := query.get("tenant", ""):
            path_of(tenant)
        return cls(query.get("pool", ""), tenant, int(first))


def queue_page(
    asked: Asked, usage: Usage, waits: Waits, explain: Callable[[str], Wait | None], clock: Clock
) -> dict[str, Any]:
    """A document for JSON; times are in RFC 3339, durations in seconds. Raises Invalid for a pool that is none."""
    pools = [pool for pool in usage.pools if asked.pool in ("", pool.name)]
    if asked.pool and not pools:
        raise Invalid(f"{asked.pool[:MAX_NAME]!r} is no pool")
    path = path_of(asked.tenant) if asked.tenant else ()
    tenants = [tenant for tenant in usage.tenants if tenant.path[: len(path)] == path]
    names = frozenset(pool.name for pool in pools)
    now = clock.monotonic()
    total = sum(tenant.waiting.get(name, 0) for tenant in _outermost(tenants) for name in names)
    rows = list(_rows(asked, path, names, usage, waits, explain, clock))
    return {
        "time": rfc3339(clock.now()),
        "pools": [
            {
                "name": pool.name,
                "held": pool.held,
                "capacity": pool.capacity,
                "waiting": pool.waiting,
                "grantsPerSecond": round(waits.rate(pool.name, now), 4) or None,
            }
            for pool in pools
        ],
        **_tenants(tenants, usage, names),
        "controllers": usage.processes,
        "claims": rows,
        "waiting": total,
        "notShown": max(0, total - len(rows)),
    }


def quotas_page(waiting: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Namespaces in which attempts wait for a ResourceQuota, those with the most of them; by cluster, which is named
    unless it is that of the FlyteWorkflows ("").
    """
    rows = ((count, cluster, namespace) for cluster, found in waiting.items() for namespace, count in found.items())
    ranked = sorted(rows, key=lambda row: (-row[0], *row[1:]))
    return [
        ({"cluster": cluster} if cluster else {}) | {"namespace": namespace, "waiting": count}
        for count, cluster, namespace in ranked[:MAX_TENANTS]
    ]


def _outermost(tenants: Iterable[TenantUsage]) -> Iterable[TenantUsage]:
    """Those that are inside no other one of them."""
    every = {tenant.path: tenant for tenant in tenants}
    return [tenant for path, tenant in every.items() if path[:-1] not in every]


def _tenants(tenants: list[TenantUsage], usage: Usage, names: frozenset[str]) -> dict[str, Any]:
    capacities = {pool.name: pool.capacity for pool in usage.pools if pool.name in names}
    ideals = ideals_of([one for one in usage.tenants if any(one.held.get(n) or one.waiting.get(n) for n in names)])
    active = sorted(
        (tenant for tenant in tenants if tenant.path in ideals),
        key=lambda tenant: (-sum(tenant.waiting.get(name, 0) for name in names), tenant.path),
    )
    rows = [
        {
            "name": _text(tenant.path),
            "weight": tenant.weight,
            "held": {name: tenant.held[name] for name in sorted(names) if tenant.held.get(name)},
            "waiting": {name: tenant.waiting[name] for name in sorted(names) if tenant.waiting.get(name)},
            "share": round(share_of(tenant, capacities), 4),
            "ideal": round(ideals[tenant.path], 4),
        }
        for tenant in active[:MAX_TENANTS]
    ]
    return {"tenants": rows, "tenantsNotShown": len(active) - len(rows) + usage.tenants_left_out}


def _rows(
    asked: Asked,
    path: Path,
    names: frozenset[str],
    usage: Usage,
    waits: Waits,
    explain: Callable[[str], Wait | None],
    clock: Clock,
) -> Iterable[dict[str, Any]]:
    """The first claims of each pool, those at the heads of their tenants first."""
    shown: Counter[str] = Counter()
    now, wall = clock.monotonic(), clock.now()
    fractions: dict[str, dict[Path, float]] = {}
    for looks, waiting in enumerate(waits.first(asked.first, path, asked.pool)):
        if looks >= MAX_LOOKS or (shown and all(shown[name] >= asked.first for name in names)):
            return
        wait = explain(waiting.name)
        if wait is None:
            continue
        pool = pool_of(wait.pool)
        if pool not in names or shown[pool] >= asked.first:
            continue
        shown[pool] += 1
        if pool not in fractions:
            fractions[pool] = ideals_of([one for one in usage.tenants if one.waiting.get(pool)])
        yield _row(waiting, wait, now, wall) | {
            "estimateSeconds": _estimate(wait, waits.rate(wait.pool, now), fractions[pool])
        }


def _row(waiting: Waiting, wait: Wait, now: float, wall: float) -> dict[str, Any]:
    waited = max(0.0, now - wait.since)
    return {
        "pool": one_line(bounded(wait.pool, MAX_NAME)),
        "amount": wait.amount,
        "tenant": _text(wait.tenant),
        "position": wait.ahead + 1,
        "execution": waiting.holder.execution,
        "attempt": waiting.holder.attempt,
        "resource": waiting.holder.name,
        "since": rfc3339(wall - waited),
        "waitedSeconds": round(waited, 3),
    }


def _estimate(wait: Wait, rate: float, ideals: Mapping[Path, float]) -> float | None:
    """Seconds until it is granted, if the pool's claims go on being granted at this rate and its tenant gets its part
    of them; None if that is not known.
    """
    owner = path_of(wait.pool.partition(OF)[2]) if OF in wait.pool else ()
    part = ideals.get(wait.tenant, 0.0) / (ideals.get(owner) or 1.0)
    return round((wait.ahead + 1) / (rate * part), 1) if rate and part else None


def _text(path: Path) -> str:
    return one_line(bounded(SEPARATOR.join(path), MAX_NAME))
