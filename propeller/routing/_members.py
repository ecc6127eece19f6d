"""Which clusters belong to which pool."""

from __future__ import annotations

from collections.abc import Mapping

from propeller.errors import Invalid
from propeller.kube._selectors import LabelSelector, parse_label_selector
from propeller.routing._declared import Cluster, Declaration, Pool, State

Members = Mapping[str, tuple[Cluster, ...]]
"""By the pool's name, in the order in which clusters are declared."""


def selected(declared: Declaration) -> Members:
    """What each pool names or selects. A name or a selector that is none chooses nothing."""
    return {pool.name: _chosen(pool, declared.clusters) for pool in declared.pools}


def isolated_pools(declared: Declaration) -> Mapping[str, str]:
    """The pools that rules isolate, each with the first rule that does."""
    found: dict[str, str] = {}
    for rule in declared.rules:
        if rule.isolate:
            found.setdefault(rule.pool, rule.name)
    return found


def members_of(declared: Declaration) -> Members:
    """The clusters of each pool: those of isolated pools belong to no other."""
    isolated, chosen = isolated_pools(declared), selected(declared)
    taken = {cluster.name for name in isolated for cluster in chosen.get(name, ())}
    return {
        name: clusters if name in isolated else tuple(one for one in clusters if one.name not in taken)
        for name, clusters in chosen.items()
    }


def _chosen(pool: Pool, clusters: tuple[Cluster, ...]) -> tuple[Cluster, ...]:
    if pool.selector is None:
        names = set(pool.clusters)
        return tuple(cluster for cluster in clusters if cluster.name in names)
    try:
        selector: LabelSelector = parse_label_selector(pool.selector)
    except Invalid:
        return ()
    return tuple(one for one in clusters if selects(selector, one))


def selects(selector: LabelSelector, cluster: Cluster) -> bool:
    """Whether a pool's selector selects a cluster: none that bakes."""
    return cluster.state is not State.BAKE and selector.matches(cluster.labels)
