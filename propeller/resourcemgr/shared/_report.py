"""What one process holds and waits for, as a picture."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from propeller.resourcemgr._limits import Path
from propeller.resourcemgr._usage import PoolUsage, TenantUsage, Usage
from propeller.resourcemgr.shared._kinds import Kind
from propeller.resourcemgr.shared._messages import Rules, items_of, path_text, pool_title


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
