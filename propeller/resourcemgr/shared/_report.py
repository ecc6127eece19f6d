"""What one process, or all of them, hold and wait for, as a picture."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from propeller.resourcemgr._limits import Path
from propeller.resourcemgr._pools import OF_TENANT
from propeller.resourcemgr._usage import PoolUsage, TenantUsage, Usage
from propeller.resourcemgr.shared._kinds import Kind
from propeller.resourcemgr.shared._messages import Report, Rules, items_of, path_text, pool_title, text_path


def report_of(kinds: Iterable[Kind], rules: Rules) -> Usage:
    """The picture of claims of these kinds. A claim that waits counts for the first pool that it names."""
    held: defaultdict[Path, Counter[str]] = defaultdict(Counter)
    waiting: defaultdict[Path, Counter[str]] = defaultdict(Counter)
    shared = {text: pool_title(text) for text, (_, _, _, is_shared) in rules.pools.items() if is_shared}
    for kind in kinds:
        amounts = (
            {shared[pool]: amount for pool, amount in items_of(kind.items) if pool in shared} if kind.items else {}
        )
        for length in range(len(kind.tenant) + 1):
            path = kind.tenant[:length]
            for pool, amount in amounts.items():
                held[path][pool] += amount * kind.held
            if kind.waiting and kind.needs:
                waiting[path][kind.needs[0][0]] += kind.waiting
    pools = [
        PoolUsage(name, held[()][name], round(capacity) if capacity >= 0 else None, waiting[()][name])
        for text, name in shared.items()
        for capacity in rules.pools[text][:1]
    ]
    tenants = [
        TenantUsage(path, rules.weights.get(path_text(path), 1.0), +held[path], waiting[path])
        for path in dict.fromkeys((*held, *waiting))
        if path and (any(held[path].values()) or waiting[path])
    ]
    return Usage(pools, tenants)


def usage_of(report: Report, rules: Rules, processes: int) -> Usage:
    """The picture of a report, by the limits in force. A claim that waits for a tenant's own limit of a pool waits for
    that pool.
    """
    shared = {text: pool_title(text) for text, (_, _, _, is_shared) in rules.pools.items() if is_shared}
    held = {shared[text]: amount for text, amount, _ in report.pools if text in shared}
    waiting = _of_pools((text, count) for text, _, count in report.pools)
    return Usage(
        pools=[
            PoolUsage(name, held.get(name, 0), round(capacity) if capacity >= 0 else None, waiting[name])
            for text, name in shared.items()
            for capacity in rules.pools[text][:1]
        ],
        tenants=[
            TenantUsage(
                text_path(path),
                rules.weights.get(path, 1.0),
                {shared[text]: amount for text, amount in held_by if text in shared},
                +_of_pools(waits),
            )
            for path, held_by, waits in report.tenants
        ],
        tenants_left_out=report.left_out,
        processes=processes,
    )


def _of_pools(amounts: Iterable[tuple[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for text, amount in amounts:
        found[pool_title(text).partition(OF_TENANT)[0]] += amount
    return found
