"""Delete resources in other clusters whose FlyteWorkflow is gone: no garbage collector knows of it there.

Guarantees
    A resource is an orphan only if the cluster of the FlyteWorkflows answers, to a consistent read, that there is no
    workflow of its name and uid, while it serves their type. If that cluster does not answer, nothing is deleted.
    Resources of other controllers' workflows are not looked at.
    A cluster that is not well is left alone, and its orphans are found when it is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec

from propeller.clock import Clock
from propeller.clusters import ClusterOptions
from propeller.controller._clusters import Clusters, ExecutionCluster
from propeller.controller._resource import HEADS, WORKFLOWS, FlyteWorkflow
from propeller.errors import Conflict, NotFound, PropellerError
from propeller.handlers import delete_resource
from propeller.handlers.plugins import Owner
from propeller.kube import Client, KubeObject
from propeller.pauses import Pauses
from propeller.telemetry import Causes

_log = logging.getLogger(__name__)


SOON = 0.01
"""Seconds: what is due within them is looked at together."""


class _Suspect(msgspec.Struct, frozen=True):
    """A workflow that may be gone, and has resources in some cluster."""

    key: str
    uid: str


class Janitor:
    """`find` looks a workflow up in the cache. See the module's text."""

    def __init__(
        self,
        client: Client,
        clusters: Clusters,
        find: Callable[[str], FlyteWorkflow | None],
        options: ClusterOptions,
        clock: Clock,
    ) -> None:
        self._client = client
        self._clusters = clusters
        self._find = find
        self._options = options
        self._clock = clock
        self._causes = Causes(_log)
        self._suspects: dict[_Suspect, float] = {}
        """With the time of the monotonic clock when each is looked at."""
        self._arrived = asyncio.Event()
        self.collected = 0
        """Resources that were deleted."""

    def seen(self, cluster: ExecutionCluster, obj: KubeObject, owner: Owner) -> None:
        """A resource is there. If the cache has no such workflow, the server is asked after a while."""
        if cluster.marks is None:
            return
        key = f"{obj.metadata.namespace}/{owner.name}"
        if not self._exists(key, owner.uid):
            self._suspect(_Suspect(key, owner.uid), self._options.orphans_after)

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
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        pauses = Pauses(self._options.reconnect_backoff, self._options.reconnect_backoff_cap)
        while True:
            self._arrived.clear()
            now = self._clock.monotonic()
            for suspect in [suspect for suspect, due in self._suspects.items() if due <= now + SOON]:
                del self._suspects[suspect]
                try:
                    await self._look_into(suspect)
                except PropellerError as error:
                    self._causes.report(
                        error, "%s may be gone, and could not be looked into, trying again", suspect.key
                    )
                    self._suspect(suspect, pauses.failed(now))
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
        failures = [error for cluster in reachable if (error := await self._collect(cluster, suspect.uid)) is not None]
        if failures:
            raise failures[0]

    async def _is_gone(self, suspect: _Suspect) -> bool:
        """Ask the server. Raises what the client raises if it cannot say."""
        namespace, _, name = suspect.key.partition("/")
        try:
            head = await self._client.get(HEADS, name, namespace)
        except NotFound:
            await self._client.has_subresource(WORKFLOWS, "status")  # raises as well if the type is not served
            return True
        return head.metadata.uid != suspect.uid

    async def _collect(self, cluster: ExecutionCluster, uid: str) -> PropellerError | None:
        """Delete the resources of a workflow that is gone from one cluster; returns the first error."""
        for one in cluster.resources_of(uid):
            if one.metadata.deletion_timestamp is not None:
                continue
            try:
                with suppress(NotFound, Conflict):  # gone, or another one by now
                    await delete_resource(one.plugin, one.obj, one.client)
                    self.collected += 1
            except PropellerError as error:
                return error
        return None
