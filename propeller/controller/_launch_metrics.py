"""What launches wait for besides tokens, for metrics: API servers under load, quotas, limits of namespaces.

Guarantees
    A scrape looks at the clusters that there are then. Tenants are those that the limits name, as for pools.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from propeller.controller._clusters import Clusters, ExecutionCluster, Stakes
from propeller.controller._executions import Executions
from propeller.controller._live_limits import LiveLimits
from propeller.controller._pool_metrics import label_of
from propeller.controller._tenancy import running_attempts
from propeller.resourcemgr import Path
from propeller.telemetry import LaunchMetrics, Reader

OWN_CLUSTER = "(own)"
"""What metrics call the cluster of the FlyteWorkflows."""


def stakes_of(limits: LiveLimits, executions: Executions, metrics: LaunchMetrics) -> Stakes:
    """What tenants have by these limits and executions. Waits are counted in the metrics."""

    def waited(tenant: Path, seconds: float) -> None:
        metrics.waited_for_quota(label_of(tenant, limits.named_tenants()), seconds)

    running = functools.partial(running_attempts, executions.sessions)
    return Stakes(limits.weight_of, running, limits.given_up, waited)


def watch_launches(metrics: LaunchMetrics, clusters: Clusters) -> None:
    """Have scrapes read how many creates each cluster's API server has room for, and what waits for it."""

    def of_each(value: Callable[[ExecutionCluster], float]) -> Reader:
        return lambda: [((cluster.name or OWN_CLUSTER,), value(cluster)) for cluster in clusters]

    def load() -> Mapping[tuple[str, str], int]:
        return {
            (cluster.name or OWN_CLUSTER, cause): count
            for cluster in clusters
            for cause, count in cluster.pressure.creates.reductions.items()
        }

    def waiting() -> Mapping[tuple[str, str, str], int]:
        found: dict[tuple[str, str, str], int] = {}
        for cluster in clusters:
            name = cluster.name or OWN_CLUSTER
            by_limit = {"refusals": cluster.windows, "quota": cluster.launches}
            for limit, of in by_limit.items():
                if of is not None:
                    found |= {(name, namespace, limit): count for namespace, count in of.waiting.items()}
        return found

    metrics.watch(
        limit=of_each(lambda cluster: cluster.pressure.creates.limit),
        under_way=of_each(lambda cluster: cluster.pressure.under_way),
        held=of_each(lambda cluster: cluster.pressure.waiting),
        load=load,
        waiting=waiting,
    )
