"""Show the clusters of the routing table: to people as a page, and to scrapes as metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from propeller.clock import Clock
from propeller.controller._clusters import Clusters, Member
from propeller.controller._failover import Failover
from propeller.controller._janitor import Janitor
from propeller.telemetry import ClusterMetrics
from propeller.telemetry._families import Reader


def clusters_page(clusters: Clusters, clock: Clock) -> list[dict[str, Any]]:
    """How each is, for JSON, to all processes that divide the work; `connected` and `seconds`, how long it has been so,
    are this one's.
    """
    now = clock.monotonic()
    return [
        {
            "name": member.name,
            "connected": member.is_synced,
            "healthy": not member.any_trouble,
            "reason": member.any_trouble or None,
            "seconds": round(max(0.0, now - member.circuit.since), 1),
            "executions": member.all_executions,
            "pods": member.all_pods,
            "waitingForQuota": member.waiting_for_quotas,
        }
        for member in clusters.members.values()
    ]


def watch_clusters(metrics: ClusterMetrics, clusters: Clusters, failover: Failover, janitor: Janitor) -> None:
    """Have scrapes read how the clusters are."""

    def each(value: Callable[[Member], float]) -> Reader:
        return lambda: (((name,), value(member)) for name, member in clusters.members.items())

    metrics.watch(
        connected=each(lambda member: float(member.is_synced)),
        healthy=each(lambda member: float(member.circuit.healthy)),
        executions=each(lambda member: member.executions),
        pods=each(lambda member: member.pods),
        lost=lambda: (((name,), float(count)) for name, count in failover.given_up.items()),
        orphans=lambda: [((), float(janitor.collected))],
    )
