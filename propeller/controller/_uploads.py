"""Tell uploaders of raw containers that their program has ended, if the kubelet does not (docs/raw-containers.md).

The kubelet tells a native sidecar when all other containers have ended. A proxy that a webhook added may never end.
Then an annotation of the pod tells, which the kubelet shows to the uploader in a file.

Guarantees
    One patch for such a pod, whichever process follows it, and none for any other: the annotation is seen in the pod.
Errors
    None: what fails is logged once per cause, and tried again while the pod is there.
"""

from __future__ import annotations

import asyncio

from propeller.controller._clusters import ExecutionCluster
from propeller.controller._duty import Shared
from propeller.errors import NotFound, PropellerError
from propeller.handlers.plugins import PRIMARY_ENDED, uploader_waits
from propeller.kube import PODS, Pod

PAUSE = 5.0
"""Seconds until a pod is told again, if that has failed or nothing is seen of it."""


class Uploads:
    """See the module's text."""

    def __init__(self, shared: Shared) -> None:
        self._clusters = shared.clusters
        self._lanes = shared.lanes
        self._causes = shared.causes
        self._telling: dict[str, asyncio.TimerHandle] = {}
        """By uid of pods that were told lately: when to look again."""

    def seen(self, cluster: ExecutionCluster, pod: Pod, key: str) -> None:
        """A pod of the execution of that key is there, as its informer has it."""
        uid = pod.metadata.uid
        if uid in self._telling or not uploader_waits(pod):
            return
        self._telling[uid] = asyncio.get_running_loop().call_later(PAUSE, self._look, cluster, pod, key)
        if self._lanes.are_running:  # not while the caches are filled
            self._lanes.of(cluster.name).stop.submit(key, lambda: self._tell(cluster, pod))

    def close(self) -> None:
        """Look at nothing any more."""
        for timer in self._telling.values():
            timer.cancel()
        self._telling.clear()

    def _look(self, cluster: ExecutionCluster, pod: Pod, key: str) -> None:
        del self._telling[pod.metadata.uid]
        now = cluster.resources.pods.store.get(f"{pod.metadata.namespace}/{pod.metadata.name}")
        if now is not None:
            self.seen(cluster, now, key)

    async def _tell(self, cluster: ExecutionCluster, pod: Pod) -> None:
        metadata = pod.metadata
        body = {"metadata": {"uid": metadata.uid, "annotations": {PRIMARY_ENDED: "true"}}}
        try:
            await cluster.client.patch(PODS.metadata_only(), metadata.name, metadata.namespace, body=body)
        except NotFound:
            return
        except PropellerError as error:
            where = f" in cluster {cluster.name}" if cluster.name else ""
            told = f"{metadata.namespace}/{metadata.name}{where}"
            self._causes.report(
                error, "the uploader of pod %s is not told that its program has ended, trying again", told
            )
