"""What becomes of an execution that has ended: its pods are stopped, Flyte's finalizers removed, and in the end it is
deleted.

Guarantees
    An execution that has ended leaves no pod running, also none that another replica launched. It is released from
    Flyte's finalizers once its pods have really stopped, and deleted, with its pods, `controller.ttl` seconds after its
    end.
    The server is asked before pods are stopped: restored from an older copy, it may have pods again whose execution has
    not ended there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress

from propeller.clock import Clock
from propeller.controller._checkpointer import TERMINATED
from propeller.controller._executions import Executions
from propeller.controller._finalizers import is_held, next_stop, release
from propeller.controller._pods import OwnedPods
from propeller.controller._resource import HEADS, WORKFLOWS, FlyteWorkflow, fingerprint_of
from propeller.errors import Conflict, NotFound, PropellerError
from propeller.handlers.plugins.pod import is_alive
from propeller.kube import PODS, Client, Pod
from propeller.reconcile import FairPool, Result
from propeller.telemetry import Causes


class Retention:
    """See the module's text. `ttl` in seconds; 0: an ended workflow is not deleted."""

    def __init__(
        self,
        client: Client,
        executions: Executions,
        pool: FairPool[str],
        pods: OwnedPods,
        causes: Causes,
        clock: Clock,
        ttl: float,
    ) -> None:
        self._client = client
        self._executions = executions
        self._pool = pool
        self._pods = pods
        self._causes = causes
        self._clock = clock
        self._ttl = ttl

    def reconcile(self, workflow: FlyteWorkflow) -> Result:
        """Do what is due for a workflow whose end is in the cache."""
        pods = self._pods.of(workflow.metadata.uid)
        held = is_held(workflow.metadata) or any(is_held(pod.metadata) for pod in pods)
        deleted = workflow.metadata.deletion_timestamp is not None
        if held or not deleted:
            self._stop_what_runs(workflow, pods)
        if held:
            return self._release_when_stopped(workflow, pods)
        if deleted or not self._ttl:
            return Result()
        left = workflow.stopped_at + self._ttl - self._clock.now()
        if left > 0:
            return Result(requeue_after=left)
        self._pool.submit(workflow.key, lambda: self._delete(workflow))
        return Result()

    def _stop_what_runs(self, workflow: FlyteWorkflow, pods: Iterable[Pod]) -> None:
        alive = [pod for pod in pods if is_alive(pod)]
        if alive:
            self._pool.submit(workflow.key, lambda: self._stop(workflow, alive))

    async def _stop(self, workflow: FlyteWorkflow, pods: Iterable[Pod]) -> None:
        key, metadata = workflow.key, workflow.metadata
        try:
            with suppress(NotFound):  # its pods follow
                head = await self._client.get(HEADS, metadata.name, metadata.namespace)
                if head.metadata.uid == metadata.uid and head.fingerprint != fingerprint_of(workflow.status):
                    return  # the cache will hear of it
            for pod in pods:
                metadata = pod.metadata
                with suppress(NotFound, Conflict):  # gone, or another one by now
                    await self._client.delete(PODS, metadata.name, metadata.namespace, uid=metadata.uid)
        except PropellerError as error:
            self._causes.report(error, "%s has ended, and its pods could not be stopped, trying again", key)
            self._executions.retry_later(key)

    def _release_when_stopped(self, workflow: FlyteWorkflow, pods: Sequence[Pod]) -> Result:
        now = self._clock.now()
        if (until := next_stop(pods, now)) is not None:
            return Result(requeue_after=until - now if until < math.inf else None)  # or the pods' events lead here
        self._pool.submit(workflow.key, lambda: self._release(workflow, pods))
        return Result()

    async def _release(self, workflow: FlyteWorkflow, pods: Sequence[Pod]) -> None:
        key = workflow.key
        try:
            await release(self._client, workflow.metadata, pods, TERMINATED)
        except NotFound:
            self._executions.retry_later(key)  # it is gone, as the cache will hear; or its type is not served
        except PropellerError as error:
            self._causes.report(error, "%s has ended, and its finalizer could not be removed, trying again", key)
            self._executions.retry_later(key)
        else:
            self._executions.failed(key, once_free=True)  # somebody may put it back, again and again

    async def _delete(self, workflow: FlyteWorkflow) -> None:
        """Delete an ended workflow, and with it its pods."""
        metadata = workflow.metadata
        try:
            with suppress(Conflict):  # another one, or changed: the cache will hear of it
                await self._client.delete(
                    WORKFLOWS,
                    metadata.name,
                    metadata.namespace,
                    uid=metadata.uid,
                    resource_version=metadata.resource_version,
                    propagation="Background",
                )
        except NotFound:
            self._executions.retry_later(workflow.key)  # it is gone, as the cache will hear; or its type is not served
        except PropellerError as error:
            self._causes.report(error, "%s has ended long ago, and could not be deleted, trying again", workflow.key)
            self._executions.retry_later(workflow.key)
