"""Run attempts in the clusters of a routing table: wires the duties that only this needs.

Guarantees
    Without a table nothing of this runs. The table, and the clusters in it, may change at any time.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from propeller.clusters import Opener, control_identity
from propeller.controller._cluster_peers import ClusterPeers
from propeller.controller._clusters import ExecutionCluster
from propeller.controller._clusters_page import clusters_page
from propeller.controller._duty import Shared
from propeller.controller._failover import Failover
from propeller.controller._grants import Grants
from propeller.controller._holds import Holds, is_draining
from propeller.controller._janitor import Janitor
from propeller.controller._members import Hooks, Members
from propeller.controller._observing import Observing
from propeller.controller._remote_shards import RemoteShards
from propeller.controller._resync import Resync
from propeller.errors import Invalid
from propeller.handlers.plugins import Marks, Plugins
from propeller.informers import Change
from propeller.kube import Client
from propeller.reconcile.shards import Keyspace
from propeller.routing import Table
from propeller.telemetry import Causes

_log = logging.getLogger(__name__)


class SeveralClusters:
    """`opener` connects to the clusters of a table; None if there can be none. `namespace` and `keyspace` are the
    controller's.
    """

    def __init__(
        self,
        shared: Shared,
        observing: Observing,
        janitor: Janitor,
        holds: Holds,
        resync: Resync,
        grants: Grants,
        plugins: Plugins,
        opener: Opener | None,
        *,
        namespace: str | None,
        keyspace: Keyspace | None = None,
    ) -> None:
        self._client = shared.client
        self._settings = shared.settings
        self._clock = shared.clock
        self._clusters = shared.clusters
        self._placing = shared.placing
        self._lanes = shared.lanes
        self._observing = observing
        self._janitor = janitor
        self._holds = holds
        self._resync = resync
        self._grants = grants
        self._plugins = plugins
        self._namespace = namespace
        self._keyspace = keyspace
        options = shared.settings.clusters
        self.failover = Failover(shared.clusters, shared.executions, shared.clock, options.grace)
        self._members: Members | None = None
        if opener is not None:
            hooks = Hooks(
                identity=lambda: control_identity(shared.client, options.control),
                make=self._make,
                following=self._caching,
                on_synced=self._synced,
                on_change=self._changed,
            )
            self._members = Members(shared.clusters, opener, options, shared.clock, hooks)
        self.shards = RemoteShards(shared.clusters)
        self.peers = ClusterPeers(shared.clusters, alone=keyspace is None)
        self._causes = Causes(_log)
        self._is_running = False
        self._ticks: asyncio.Task[None] | None = None

    def apply(self, table: Table) -> None:
        """Place by this table from now on, and run its clusters. Raises Invalid if there can be none."""
        self.require_opener()
        assert self._members is not None
        self._placing.table = table
        self._lanes.open(table.clusters)
        if not self._is_running:
            return
        self._members.apply(table)
        self._placing.recount()
        self._changed()
        for cluster in self._clusters:
            if is_draining(table, cluster.name):
                self._holds.drains(cluster)
        if self._ticks is None:
            self._ticks = asyncio.create_task(self._tick(), name="failover")

    def page(self) -> list[dict[str, Any]]:
        """Return how the clusters of the table are, for JSON."""
        return clusters_page(self._clusters, self._clock)

    def require_opener(self) -> None:
        """Raise Invalid if there is no way to connect to other clusters."""
        if self._members is None:
            raise Invalid("this controller was made without a way to connect to other clusters")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the table's clusters until the block is left."""
        if self._members is None:
            yield
            return
        async with self._members.running(), self._janitor.running():
            self._is_running = True
            if self._placing.table is not None:
                self.apply(self._placing.table)
            try:
                yield
            finally:
                self._is_running = False
                self._holds.close()
                if self._ticks is not None:
                    self._ticks.cancel()
                    await asyncio.wait([self._ticks])

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._settings.clusters.probe)
            try:
                self.failover.run()
            except Exception as error:  # noqa: BLE001 - a defect: clusters may go away later, too
                self._causes.report(error, "attempts of clusters that are gone are not given up, trying again")

    def _make(self, client: Client, name: str, control: str) -> ExecutionCluster:
        return ExecutionCluster(
            client,
            self._plugins,
            self._settings,
            self._clock,
            self._grants.grant,
            self._clusters.control.stakes,
            namespace=self._namespace,
            marks=Marks(control, name, self._settings.clusters.hold_pods),
            keyspace=self._keyspace,
        )

    def _caching(self, cluster: ExecutionCluster) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._keyspace is None else self.shards.of(cluster)

    def _synced(self, cluster: ExecutionCluster) -> None:
        informers = cluster.resources.informers.items()
        if cluster is self._clusters.control:
            for plugin, informer in informers:
                for obj in informer.store:
                    if (owner := cluster.owner_of(obj)) is not None:
                        cluster.count(Change("", None, obj), plugin, owner)
            return
        self._resync.reload(cluster)
        if cluster.is_followed:
            return
        cluster.is_followed = True
        self._resync.follow(cluster)
        for plugin, informer in informers:
            informer.subscribe(functools.partial(self._observing.attempt_changed, cluster, plugin))

    def _changed(self) -> None:
        self._placing.changed()
        self._resync.changed()
