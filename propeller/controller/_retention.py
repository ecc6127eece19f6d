"""Clean up after an execution has ended: stop what still runs, remove Flyte's finalizers, and delete the workflow.

Guarantees
    An execution that has ended leaves no pod (and nothing that another plugin makes) running, also none that another
    replica launched. It is released from
    Flyte's finalizers once its pods have really stopped, and deleted, with its pods, `controller.ttl` seconds after its
    end.
    What is in an unhealthy cluster is stopped when that is back. A release waits for it `clusters.grace` seconds;
    after that the janitor of orphans deletes it.
    The server is asked before pods are stopped: restored from an older copy, it may have pods again whose execution has
    not ended there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from propeller.controller._attempt_resources import AttemptResource
from propeller.controller._checkpointer import TERMINATED
from propeller.controller._duty import Shared
from propeller.controller._finalizers import is_held, next_stop, release
from propeller.controller._holds import Holds
from propeller.controller._left_jobs import LeftJobs
from propeller.controller._resource import HEADS, WORKFLOWS, FlyteWorkflow, fingerprint_of
from propeller.controller._resync import clusters_of
from propeller.controller._session import MinResourceVersion
from propeller.errors import Conflict, NotFound, PropellerError
from propeller.handlers import delete_resource
from propeller.handlers.plugins import parents_of
from propeller.reconcile import Result

LOOK_SECONDS = 30.0
"""Seconds until a workflow is looked at again that waits for a cluster."""


MAX_CACHE_LAG = 10.0
"""Seconds that a release is waited for in the cache. A server that was restored from an older copy never shows it."""


class _Release(NamedTuple):
    """The version of a workflow without its finalizers, and until when it is waited for, by the monotonic clock."""

    version: MinResourceVersion
    until: float


class Retention:
    """See the module's text."""

    def __init__(self, shared: Shared, holds: Holds, jobs: LeftJobs) -> None:
        self._holds = holds
        self._jobs = jobs
        self._client = shared.client
        self._executions = shared.executions
        self._lanes = shared.lanes
        self._clusters = shared.clusters
        self._causes = shared.causes
        self._clock = shared.clock
        self._ttl = shared.settings.controller.ttl
        self._grace = shared.settings.clusters.grace
        self._releasing: set[str] = set()
        """Keys of workflows whose release is under way: what happens meanwhile begins no second one."""
        self._released: dict[str, _Release] = {}
        """By key, those that the cache may not show yet: sent again, they would conflict."""

    def forget(self, key: str) -> None:
        """The workflow of that key is gone, or another process has it."""
        self._releasing.discard(key)
        self._released.pop(key, None)

    def reconcile(self, workflow: FlyteWorkflow) -> Result:
        """Do what is due for a workflow whose end is in the cache."""
        resources = self._clusters.resources_of(workflow.metadata.uid)
        held = is_held(workflow.metadata) or any(is_held(one.metadata) for one in resources)
        deleted = workflow.metadata.deletion_timestamp is not None
        reachable = [one for one in resources if self._clusters.may_ask(one.cluster)]
        self._holds.ended(reachable)
        if held or not deleted:
            self._stop_what_runs(workflow, reachable)
        if held and self._waits_for_a_cluster(workflow, resources):
            return Result(requeue_after=LOOK_SECONDS)
        if held:
            return self._release_when_stopped(workflow, reachable)
        if len(reachable) < len(resources) and not deleted:
            return Result(requeue_after=LOOK_SECONDS)
        if deleted or not self._ttl or parents_of(workflow.metadata):
            return Result()  # what a launch plan's node has started goes with its parent
        left = workflow.stopped_at + self._ttl - self._clock.now()
        if left > 0:
            return Result(requeue_after=left)
        self._lanes.stop.submit(workflow.key, lambda: self._delete(workflow))
        return Result()

    def _waits_for_a_cluster(self, workflow: FlyteWorkflow, resources: Iterable[AttemptResource]) -> bool:
        """Whether something of the workflow may run in a cluster that cannot be asked now, and may soon be back."""
        if not self._clusters.members:
            return False
        names = {*clusters_of(workflow.status), *(one.cluster for one in resources)}
        now = self._clock.monotonic()
        return any(self._clusters.is_waited_for(name, now, self._grace) for name in names)

    def _stop_what_runs(self, workflow: FlyteWorkflow, resources: Iterable[AttemptResource]) -> None:
        alive: dict[str, list[AttemptResource]] = {}
        for one in resources:
            if one.is_alive:
                alive.setdefault(one.cluster, []).append(one)
        for cluster, found in alive.items():
            self._lanes.of(cluster).stop.submit(workflow.key, functools.partial(self._stop, workflow, found))

    async def _stop(self, workflow: FlyteWorkflow, resources: Iterable[AttemptResource]) -> None:
        key, metadata = workflow.key, workflow.metadata
        try:
            with suppress(NotFound):  # its pods follow
                head = await self._client.get(HEADS, metadata.name, metadata.namespace)
                if head.metadata.uid == metadata.uid and head.fingerprint != fingerprint_of(workflow.status):
                    return  # the cache will hear of it
        except PropellerError as error:
            self._is_not_stopped(key, error)
            return
        for one in resources:
            try:
                with suppress(NotFound, Conflict):  # gone, or another one by now
                    await delete_resource(one.plugin, one.obj, one.client)
            except PropellerError as error:
                self._is_not_stopped(key, error)

    def _is_not_stopped(self, key: str, error: PropellerError) -> None:
        self._causes.report(error, "%s has ended, and what runs of it could not be stopped, trying again", key)
        self._executions.retry_later(key)

    def _release_when_stopped(self, workflow: FlyteWorkflow, resources: Sequence[AttemptResource]) -> Result:
        now = self._clock.now()
        if workflow.key in self._releasing:
            return Result()
        if (left := self._until_shown(workflow)) > 0:
            return Result(requeue_after=left)
        if (until := next_stop(resources, now)) is not None:
            return Result(requeue_after=until - now if until < math.inf else None)  # or their events lead here
        cluster = next((one.cluster for one in resources if one.cluster and is_held(one.metadata)), "")
        self._releasing.add(workflow.key)
        self._lanes.of(cluster).stop.submit(workflow.key, lambda: self._release(workflow, resources))
        return Result()

    def _until_shown(self, workflow: FlyteWorkflow) -> float:
        """Return for how many seconds the cache is waited for, as the workflow was released; 0 if it has to be now."""
        if (done := self._released.get(workflow.key)) is None:
            return 0.0
        left = done.until - self._clock.monotonic()
        if left > 0 and done.version.is_newer_than(workflow.metadata):
            return left
        del self._released[workflow.key]
        return 0.0

    async def _release(self, workflow: FlyteWorkflow, resources: Sequence[AttemptResource]) -> None:
        key = workflow.key
        try:
            await self._jobs.delete(workflow)
            released = await release(self._client, workflow.metadata, resources, TERMINATED)
        except NotFound:
            self._executions.retry_later(key)  # it is gone, as the cache will hear; or its type is not served
        except PropellerError as error:
            self._causes.report(error, "%s has ended, and cannot be let go yet, trying again", key)
            self._executions.retry_later(key)
        else:
            version = MinResourceVersion(released.uid, released.resource_version)
            self._released[key] = _Release(version, self._clock.monotonic() + MAX_CACHE_LAG)
            self._executions.failed(key, once_free=True)  # somebody may put it back, again and again
        finally:
            self._releasing.discard(key)

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
