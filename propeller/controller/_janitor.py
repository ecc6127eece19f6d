"""Delete resources in other clusters whose FlyteWorkflow is gone: no garbage collector knows of it there.

Guarantees
    A resource is an orphan only if the cluster of the FlyteWorkflows answers, to a consistent read, that there is no
    workflow of its name and uid, while it serves their type. If that cluster does not answer, nothing is deleted.
    Resources of other controllers' workflows are not looked at.
    A cluster that is not well is left alone, and its orphans are found when it is back. In each cluster at most
    `clusters.orphans_at_once` are deleted at once, and one that answers slowly holds up no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import msgspec

from propeller.clock import Clock
from propeller.clusters import ClusterOptions
from propeller.controller._attempt_resources import AttemptResource
from propeller.controller._clusters import Clusters, ExecutionCluster
from propeller.controller._finalizers import is_our_hold, never_runs, release_hold
from propeller.controller._overdue import Overdue
from propeller.controller._resource import HEADS, WORKFLOWS, FlyteWorkflow
from propeller.errors import Conflict, NotFound
from propeller.handlers import delete_resource
from propeller.handlers.plugins import Owner
from propeller.kube import Client, KubeObject
from propeller.pauses import PausesByKey
from propeller.telemetry import Causes

_log = logging.getLogger(__name__)


SOON = 0.01
"""Seconds: what is due within them is looked at together."""


class _Suspect(msgspec.Struct, frozen=True):
    """A workflow that may be gone, and has resources in some cluster."""

    key: str
    uid: str


class _Orphan(NamedTuple):
    """A resource that is left of a workflow that is gone."""

    suspect: _Suspect
    resource: AttemptResource


class Janitor:
    """`find` looks a workflow up in the cache. See the module's text."""

    def __init__(
        self,
        client: Client,
        clusters: Clusters,
        find: Callable[[str], FlyteWorkflow | None],
        options: ClusterOptions,
        clock: Clock,
        overdue: Overdue,
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._find = find
        self._options = options
        self._clock = clock
        self._overdue = overdue
        self._causes = Causes(_log)
        self._suspects: dict[_Suspect, float] = {}
        """With the time of the monotonic clock when each is looked at."""
        self._arrived = asyncio.Event()
        self._orphans: dict[str, dict[str, _Orphan]] = {}
        """By cluster: those that wait to be deleted, in order, by uid."""
        self._workers: dict[str, set[asyncio.Task[None]]] = {}
        """By cluster, those that delete them: none if none waits."""
        self._pauses = PausesByKey(options.reconnect_backoff, options.reconnect_backoff_cap)
        """By cluster, "" for looks."""
        self.collected = 0
        """Resources that were deleted."""

    def seen(self, cluster: ExecutionCluster, obj: KubeObject, owner: Owner) -> None:
        """A resource is there. If the cache has no such workflow, the server is asked after a while."""
        if cluster.marks is None:
            return
        key = f"{obj.metadata.namespace}/{owner.name}"
        if not self._exists(key, owner.uid):
            self._suspect(_Suspect(key, owner.uid), self._options.orphans_after)

    def is_gone(self, key: str, owner: Owner) -> None:
        """The cache has no workflow of that key and uid, and one of its pods waits to be released."""
        if not self._exists(key, owner.uid):
            self._suspect(_Suspect(key, owner.uid), 0.0)

    def workflow_deleted(self, workflow: FlyteWorkflow) -> None:
        """A workflow is gone from the cache."""
        self._suspect(_Suspect(workflow.key, workflow.metadata.uid), 0.0)

    def _exists(self, key: str, uid: str) -> bool:
        workflow = self._find(key)
        return workflow is not None and workflow.metadata.uid == uid

    def _suspect(self, suspect: _Suspect, after: float) -> None:
        due = self._clock.monotonic() + after
        if due < self._suspects.get(suspect, float("inf")):
            self._suspects[suspect] = due
            self._arrived.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Collect orphans until the block is left."""
        task = asyncio.create_task(self._run(), name="janitor")
        try:
            yield
        finally:
            tasks = [task, *(worker for workers in self._workers.values() for worker in workers)]
            for one in tasks:
                one.cancel()
            await asyncio.wait(tasks)

    async def _run(self) -> None:
        while True:
            self._arrived.clear()
            now = self._clock.monotonic()
            for suspect in [suspect for suspect, due in self._suspects.items() if due <= now + SOON]:
                del self._suspects[suspect]
                try:
                    await self._look_into(suspect)
                except Exception as error:  # noqa: BLE001 - a defect, too, must not end what collects all others
                    self._causes.report(
                        error, "%s may be gone, and could not be looked into, trying again", suspect.key
                    )
                    self._suspect(suspect, self._pauses.failed("", self._clock.monotonic()))
            await self._until_due()

    async def _until_due(self) -> None:
        left = min(self._suspects.values(), default=None)
        with suppress(TimeoutError):
            async with asyncio.timeout(None if left is None else max(SOON, left - self._clock.monotonic())):
                await self._arrived.wait()

    async def _look_into(self, suspect: _Suspect) -> None:
        """Delete what is left of a workflow, if it is gone. Raises what the control cluster's client raises."""
        left = [
            cluster for cluster in self._clusters if cluster.marks is not None and cluster.resources_of(suspect.uid)
        ]
        if not left or self._exists(suspect.key, suspect.uid):
            return
        reachable = [cluster for cluster in left if self._clusters.may_ask(cluster.name)]
        if len(reachable) < len(left):
            self._suspect(suspect, max(self._options.orphans_after, self._options.probe))
        if not reachable or not await self._is_gone(suspect):
            return
        for cluster in reachable:
            self._collect(cluster, suspect)

    async def _is_gone(self, suspect: _Suspect) -> bool:
        """Ask the server. Raises what the client raises if it cannot say."""
        namespace, _, name = suspect.key.partition("/")
        try:
            head = await self._client.get(HEADS, name, namespace)
        except NotFound:
            await self._client.has_subresource(WORKFLOWS, "status")  # raises as well if the type is not served
            return True
        return head.metadata.uid != suspect.uid

    def _collect(self, cluster: ExecutionCluster, suspect: _Suspect) -> None:
        """Have what is left of a workflow that is gone deleted from one cluster."""
        waiting = self._orphans.setdefault(cluster.name, {})
        for one in cluster.resources_of(suspect.uid):
            if one.metadata.deletion_timestamp is None or self._may_be_released(one):
                waiting[one.metadata.uid] = _Orphan(suspect, one)
        workers = self._workers.setdefault(cluster.name, set())
        for _ in range(min(len(waiting), self._options.orphans_at_once - len(workers))):
            worker = asyncio.create_task(self._work(cluster.name, waiting), name=f"janitor of cluster {cluster.name}")
            workers.add(worker)
            worker.add_done_callback(workers.discard)

    def _may_be_released(self, one: AttemptResource) -> bool:
        """Whether a pod of a workflow that is gone need not be held, as nothing of it runs. One that runs has an event
        when it has ended.
        """
        return is_our_hold(one.metadata) and (never_runs(one.obj) or not self._overdue.left(one.plugin, one.obj))

    async def _work(self, name: str, waiting: dict[str, _Orphan]) -> None:
        """Delete the orphans of a cluster, one after the other, until none waits."""
        while waiting:
            suspect, one = waiting.pop(next(iter(waiting)))
            if not self._clusters.may_ask(name):
                self._suspect(suspect, max(self._options.orphans_after, self._options.probe))
                continue
            try:
                with suppress(NotFound, Conflict):  # gone, or another one by now
                    if self._may_be_released(one):
                        await release_hold(one.client, one.metadata)
                    if one.metadata.deletion_timestamp is None:
                        await delete_resource(one.plugin, one.obj, one.client)
                        self.collected += 1
            except Exception as error:  # noqa: BLE001 - as above
                self._causes.report(error, "what is left of %s in cluster %s stays, trying again", suspect.key, name)
                self._suspect(suspect, self._pauses.failed(name, self._clock.monotonic()))
