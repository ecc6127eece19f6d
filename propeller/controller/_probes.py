"""See how a cluster is: by one small request, by what came of all others, and by the pods that wait for a node."""

from __future__ import annotations

import asyncio

from propeller.clock import Clock
from propeller.clusters import ClusterOptions, Reading
from propeller.controller._clusters import ExecutionCluster
from propeller.errors import PropellerError
from propeller.handlers.plugins import EXECUTION_LABEL
from propeller.kube import PODS, Pod

LOOKS_AT_PODS = 6
"""Every so many readings the pods are looked at: of 10,000 that takes some milliseconds, and they wait for minutes."""

_FAILED = frozenset({"none", 401})
"""Codes of requests that failed for the cluster's sake, beside those from 500 on."""


class Prober:
    """Of one cluster."""

    def __init__(self, cluster: ExecutionCluster, options: ClusterOptions, clock: Clock) -> None:
        self._cluster = cluster
        self._options = options
        self._clock = clock
        self._requests = self._failures = self._readings = 0
        self._pending = (0, 0)
        self._pending_since: dict[str, float] = {}
        """By uid, since when pods were seen to wait for a node, by our clock: that of the cluster may be hours off."""

    async def read(self) -> Reading:
        """Ask the cluster, and return what was seen of it since the last time."""
        began = self._clock.monotonic()
        error = await self._ask()
        seconds = self._clock.monotonic() - began
        requests, failures = self._counted()
        new, self._requests = requests - self._requests, requests
        failed, self._failures = failures - self._failures, failures
        if self._options.start_deadline and self._readings % LOOKS_AT_PODS == 0:
            self._pending = self._waiting_pods()
        self._readings += 1
        pending, stuck = self._pending
        return Reading(seconds=seconds, error=error, requests=new, failures=failed, pending=pending, stuck=stuck)

    async def _ask(self) -> str:
        """Return why the cluster gives no answer, "" if it gives one."""
        deadline = self._options.probe_deadline
        try:
            async with asyncio.timeout(deadline):
                await self._cluster.client.list(
                    PODS.metadata_only(), self._cluster.namespace, label_selector=EXECUTION_LABEL, limit=1
                )
        except TimeoutError:
            return f"its API server has not answered within {deadline:g} s"
        except PropellerError as error:
            return str(error)
        return ""

    def _counted(self) -> tuple[int, int]:
        counts = self._cluster.client.requests.counts
        failures = sum(
            count for (_, code), count in counts.items() if code in _FAILED or (isinstance(code, int) and code >= 500)
        )
        return counts.total(), failures

    def _waiting_pods(self) -> tuple[int, int]:
        """Return how many pods wait for a node, and how many of them for too long."""
        now, before = self._clock.monotonic(), self._pending_since
        self._pending_since = {
            (uid := pod.metadata.uid): before.get(uid, now)
            for pod in self._cluster.resources.pods.store
            if pod.status.phase == "Pending" and not _has_node(pod)
        }
        oldest = now - self._options.start_deadline
        return len(self._pending_since), sum(since < oldest for since in self._pending_since.values())


def _has_node(pod: Pod) -> bool:
    return any(one.type == "PodScheduled" and one.status == "True" for one in pod.status.conditions)
