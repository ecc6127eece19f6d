"""Cache the shards that this process holds of every cluster of the routing table.

Guarantees
    Of each cluster only resources of shards that are held are listed, watched, and counted as its load.
    `take` returns once the attempts of the shard are cached of every cluster that may be asked: executions that are
    loaded then find them. A cluster that is not well, or ceases to be meanwhile, delays nothing: it counts as one that
    is being connected to until it has shown them, so that executions are loaded again then (see Resync).
    `give_up` returns once nothing of the shards is in a cache.
    A cluster that comes into the table, or is connected to anew, is asked for the shards that are held.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from propeller.controller._clusters import Clusters, ExecutionCluster
from propeller.errors import Unavailable
from propeller.informers import Informer
from propeller.kube import Pod

LOOK = 0.5
"""Seconds between two looks whether a cluster that is listed is still well."""


class RemoteShards:
    """See the module's text."""

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters
        self._held: set[int] = set()
        self._connected: dict[ExecutionCluster, None] = {}

    @asynccontextmanager
    async def of(self, cluster: ExecutionCluster) -> AsyncIterator[None]:
        """Cache the held shards of a cluster until the block is left."""
        self._connected[cluster] = None
        try:
            for shard in sorted(self._held):
                await cluster.resources.begin(shard)
            yield
        finally:
            del self._connected[cluster]

    async def take(self, shard: int) -> None:
        """Hold a shard from now on."""
        self._held.add(shard)
        begun = [(cluster, await cluster.resources.begin(shard)) for cluster in tuple(self._connected)]
        if begun:
            await asyncio.gather(*(self._cached(cluster, pods) for cluster, pods in begun))

    async def give_up(self, shards: Collection[int]) -> None:
        """Hold shards no more."""
        self._held -= set(shards)
        for cluster in (self._clusters.control, *self._connected):
            for shard in shards:
                await cluster.close(shard)

    async def _cached(self, cluster: ExecutionCluster, pods: Informer[Pod]) -> None:
        """Wait until a shard of a cluster is cached, while that may be asked."""
        member = self._clusters.members.get(cluster.name)
        if member is None or member.cluster is not cluster:
            return
        while cluster in self._connected and member.is_ready:
            try:
                await pods.wait_for_sync(LOOK)
            except Unavailable:
                continue
            return
        if not pods.has_synced():
            member.is_synced = False
