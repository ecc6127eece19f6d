"""The routing table in force, of a file or a RoutingTable, as it changes, for the launches of a controller.

Guarantees
    Before anything is launched, the table that there is has been read. Later ones are in force at once. While there is
    none, executions that have no cluster yet wait, with that reason.
    What is wrong with a new table is in the log and, of a RoutingTable, in its condition and an Event. Of processes
    that divide the work one says so, and how the clusters are to all of them. A controller of one namespace writes no
    status: it sees a part of what runs in the clusters.
    Without a table in the settings nothing is spent on it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from propeller.controller._cluster_peers import ClusterPeers
from propeller.controller._cluster_states import GroupStates
from propeller.controller._duty import Shared
from propeller.controller._events import Recorder, Subject
from propeller.controller._several import SeveralClusters
from propeller.errors import Invalid
from propeller.recording import WARNING
from propeller.routing import ROUTING_TABLES, LiveTable, RoutingTable
from propeller.telemetry import ClusterMetrics


class LiveRouting:
    """`several` places by each table that comes into force."""

    def __init__(
        self,
        shared: Shared,
        several: SeveralClusters,
        metrics: ClusterMetrics,
        *,
        namespace: str | None,
        recorder: Recorder | None,
    ) -> None:
        """Raises Invalid if the settings name a table, and there is no way to connect to its clusters."""
        settings = shared.settings
        self._recorder = recorder
        self._peers: ClusterPeers = several.peers
        self._deadline = settings.client.deadline
        self._live: LiveTable | None = None
        if not (settings.routing.file or settings.routing.table):
            return
        several.require_opener()
        group = GroupStates(shared.clusters)
        self._live = LiveTable(
            shared.client,
            settings.routing,
            settings.informers,
            shared.clock,
            changed=several.apply,
            refused=self._refused,
            states=(lambda: group if several.peers.speaks else None) if namespace is None else None,
        )
        shared.placing.missing = self._live.missing
        metrics.watch_table(self._live.is_refused)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow the table until the block is left. Raises InvalidTable, Invalid, Unavailable."""
        if self._live is None:
            yield
            return
        async with self._live.following(self._deadline):
            yield

    def _refused(self, table: RoutingTable | None, error: Invalid) -> None:
        if self._recorder is not None and table is not None and self._peers.speaks:
            metadata = table.metadata
            subject = Subject("", metadata.name, metadata.uid, ROUTING_TABLES.api_version, ROUTING_TABLES.kind)
            self._recorder.record(subject, WARNING, "Refused", str(error))
