"""Whether isolated pools are isolated: no cluster of one belongs to another pool, and no other rule names one."""

from __future__ import annotations

from collections.abc import Iterator

from propeller.routing._declared import Declaration
from propeller.routing._members import isolated_pools, members_of, selected
from propeller.routing._problems import Path, Problem


def isolation(declared: Declaration) -> Iterator[Problem]:
    """A cluster of an isolated pool belongs to no other pool; no other rule names that pool."""
    isolated = isolated_pools(declared)
    chosen = selected(declared)
    owner: dict[str, str] = {}
    for place, pool in enumerate(declared.pools):
        if pool.name not in isolated:
            continue
        for cluster in chosen.get(pool.name, ()):
            other = owner.setdefault(cluster.name, pool.name)
            if other != pool.name:
                yield Problem(
                    ("pools", place),
                    f"cluster {cluster.name!r} is also of pool {other!r}: both are isolated (by rules "
                    f"{isolated[other]!r} and {isolated[pool.name]!r}), so they cannot share it",
                )
    members = members_of(declared)
    for place, pool in enumerate(declared.pools):
        if pool.name in isolated:
            continue
        for item, name in enumerate(pool.clusters):
            if name in owner:
                yield Problem(
                    ("pools", place, "clusters", item),
                    f"{name!r} is of the isolated pool {owner[name]!r} (by rule {isolated[owner[name]]!r}), where "
                    "nobody else's work may go: remove it here",
                )
        if chosen[pool.name] and not members[pool.name]:
            yield Problem(("pools", place), "all clusters that it selects are of isolated pools")
    for place, rule in enumerate(declared.rules):
        if rule.isolate:
            continue
        uses: list[tuple[Path, str]] = [(("rules", place, "pool"), rule.pool)]
        uses += [(("rules", place, "fallbacks", item), name) for item, name in enumerate(rule.fallbacks)]
        for path, name in uses:
            if name in isolated:
                yield Problem(
                    path,
                    f"pool {name!r} is isolated by rule {isolated[name]!r}: name another, or isolate this rule as well",
                )
