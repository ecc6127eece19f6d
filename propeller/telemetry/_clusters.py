"""Metrics of the clusters of a routing table.

Guarantees
    Label values are the clusters that the operator's table names. Everything is read when scraped.
"""

from __future__ import annotations

from collections.abc import Callable

from propeller.telemetry._families import Counters, Family, Gauges, Reader


class ClusterMetrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._connected = Gauges(
            "propeller_cluster_connected", "1 while the caches have everything that runs in a cluster.", "cluster"
        )
        self._healthy = Gauges("propeller_cluster_healthy", "0 while a cluster gets no new work.", "cluster")
        self._executions = Gauges(
            "propeller_cluster_executions", "Executions in a cluster that have not ended.", "cluster"
        )
        self._pods = Gauges("propeller_cluster_attempts", "Attempts that are launched or run in a cluster.", "cluster")
        self._lost = Counters(
            "propeller_cluster_lost_attempts",
            "Attempts that were given up as their cluster had been unhealthy for longer than clusters.grace.",
            "cluster",
        )
        self._orphans = Counters(
            "propeller_cluster_orphans", "Resources in other clusters that were deleted as their workflow was gone."
        )
        self._refused = Gauges(
            "propeller_routing_table_refused", "1 while the newest version of the routing table is not in force."
        )
        self.families: tuple[Family, ...] = (
            self._refused,
            *(self._connected, self._healthy, self._executions, self._pods, self._lost, self._orphans),
        )

    def watch_table(self, is_refused: Callable[[], bool]) -> None:
        """Report whether the newest version of the routing table is refused, if there is a table."""
        self._refused.read(lambda: [((), float(is_refused()))])

    def watch(
        self, *, connected: Reader, healthy: Reader, executions: Reader, pods: Reader, lost: Reader, orphans: Reader
    ) -> None:
        """Report these when scraped, by cluster but for the last."""
        self._connected.read(connected)
        self._healthy.read(healthy)
        self._executions.read(executions)
        self._pods.read(pods)
        self._lost.read(lost)
        self._orphans.read(orphans)
