"""Load executions again whose cluster has shown its attempts anew: it was connected to, or restored from an older copy.

Guarantees
    Only executions with attempts in that cluster are loaded again, from their status and what all clusters show: as by
    a new process. Attempts that this process has begun are remembered.
    An execution is loaded only when the caches of all clusters that may hold its attempts are synced, or those clusters
    are known to be unwell.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from propeller.controller._clusters import Clusters, ExecutionCluster
from propeller.controller._executions import Executions
from propeller.controller._resource import FlyteWorkflow
from propeller.controller._session import Running
from propeller.informers import AnyInformer

_log = logging.getLogger(__name__)


class Resync:
    """See the module's text."""

    def __init__(self, clusters: Clusters, executions: Executions) -> None:
        self._clusters = clusters
        self._executions = executions
        self._waiting: set[str] = set()
        """Keys of executions that wait to be loaded."""

    def must_wait(self, workflow: FlyteWorkflow) -> bool:
        """Whether the workflow cannot be loaded yet; if so, it is reconciled once it can."""
        members = self._clusters.members
        for name in clusters_of(workflow.status):
            if (member := members.get(name)) is not None and not member.is_known:
                self._waiting.add(workflow.key)
                return True
        return False

    def changed(self) -> None:
        """A cluster is known, or known better: look again at executions that wait."""
        waiting, self._waiting = self._waiting, set()
        for key in waiting:
            self._executions.reconcile(key)

    def follow(self, cluster: ExecutionCluster) -> None:
        """Notice if a cluster is restored from an older copy."""
        informers = tuple(cluster.resources.informers.values())
        for noticing in informers:
            others = [informer for informer in informers if informer is not noticing]
            noticing.subscribe_restores(functools.partial(self._restored, cluster, others))

    def _restored(self, cluster: ExecutionCluster, others: list[AnyInformer[Any]]) -> None:
        _log.warning("cluster %s was restored from an older copy", cluster.name)
        self.reload(cluster)
        for informer in others:
            informer.relist(functools.partial(self.reload, cluster))

    def reload(self, cluster: ExecutionCluster) -> None:
        """Load the executions again that have attempts in the cluster."""
        for session in tuple(self._executions.sessions.values()):
            if not isinstance(session, Running) or session.has_ended:
                continue
            placements = session.execution.placements
            if placements is not None and any(self._clusters.named(name) is cluster for name in placements.names()):
                self._executions.begun.keep(session.execution)
                self._executions.reload(session)
                self._executions.reconcile(session.key)


def clusters_of(status: dict[str, Any]) -> list[str]:
    """Return the clusters that a status names, whoever has written it."""
    placement = status.get("placement")
    others = placement.get("clusters") if isinstance(placement, dict) else None
    named = [status.get("cluster"), *(others if isinstance(others, list) else ())]
    return [name for name in named if isinstance(name, str) and name]
