"""Look at the pods that a failed attempt's resource has made, before its execution hears of the failure.

An operator says that its job has failed; its pods say why (`handlers.plugins.why_pods_failed`).

Guarantees
    An attempt that fails costs its requests once, however often its resource changes meanwhile; one that runs, and one
    whose resource makes no pods, cost none.
    The failure is told with or without what its pods say: an execution that is dropped meanwhile observes it again.
"""

from __future__ import annotations

from propeller.controller._attempt_events import Seen, awaits_end
from propeller.controller._clusters import ExecutionCluster
from propeller.controller._duty import Shared
from propeller.controller._session import Running
from propeller.handlers.plugins import AttemptObserver, told_of_pods, why_pods_failed
from propeller.kube import KubeObject
from propeller.workflow import AttemptPhase


class MadePods:
    """See the module's text."""

    def __init__(self, shared: Shared) -> None:
        self._executions = shared.executions
        self._lanes = shared.lanes

    def holds(
        self, session: Running, event: Seen, cluster: ExecutionCluster, observer: AttemptObserver, obj: KubeObject
    ) -> bool:
        """Whether an event is told later, as a failure whose pods are being looked at."""
        seen = event.observed
        if seen.phase is not AttemptPhase.FAILED or not observer.pods_of(obj):
            return False
        attempt = event.node, seen.attempt
        if attempt in session.explaining:
            return True
        if not awaits_end(session.execution, *attempt):
            return False
        session.explaining.add(attempt)
        session.in_flight += 1
        lane = self._lanes.of(cluster.name).observe
        lane.submit(session.key, lambda: self._explain(session, event, cluster, observer, obj))
        return True

    async def _explain(
        self, session: Running, event: Seen, cluster: ExecutionCluster, observer: AttemptObserver, obj: KubeObject
    ) -> None:
        try:
            why = await why_pods_failed(observer, obj, cluster.client)
        finally:
            session.in_flight -= 1
            session.explaining.discard((event.node, event.observed.attempt))
        self._executions.notify(session, event.node, told_of_pods(event.observed, why))
