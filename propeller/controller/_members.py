"""Follow the clusters of the routing table: connect to those that come, watch over them, and leave those that go.

Guarantees
    Each cluster is a task of its own: whatever is wrong with one (unreachable, wrong CA, expired credentials, answers
    of 500) delays and ends no other, nor the controller.
    `on_synced` is called each time a cluster's caches have come to have everything that runs there, and `on_change`
    when a cluster begins or ceases to take new work.
    A connection to a cluster that is unhealthy, or refuses its credentials, is opened anew once its kubeconfig or
    Secret has changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from propeller.clock import Clock
from propeller.clusters import Circuit, ClusterOptions, Opener, advance
from propeller.controller._clusters import Clusters, ExecutionCluster, Member
from propeller.controller._probes import Prober
from propeller.errors import PropellerError
from propeller.kube import Client
from propeller.pauses import Pauses
from propeller.routing import Access, Table
from propeller.telemetry import Causes

_log = logging.getLogger(__name__)

REMOVED = "it is not in the routing table"


class Hooks(msgspec.Struct, frozen=True, kw_only=True):
    """What the controller does about its clusters."""

    identity: Callable[[], Awaitable[str]]
    """The name of the cluster of the FlyteWorkflows in labels. Raises PropellerError."""
    make: Callable[[Client, str, str], ExecutionCluster]
    """Make what is had of a cluster: from a client, the cluster's name, and that identity."""
    following: Callable[[ExecutionCluster], AbstractAsyncContextManager[None]]
    """What is done while a cluster that was made is connected to."""
    on_synced: Callable[[ExecutionCluster], None]
    on_change: Callable[[], None]


class _Reconnect(PropellerError):
    """The connection is opened anew."""


class Members:
    """See the module's text."""

    def __init__(self, clusters: Clusters, opener: Opener, options: ClusterOptions, clock: Clock, hooks: Hooks) -> None:
        self._clusters = clusters
        self._opener = opener
        self._options = options
        self._clock = clock
        self._hooks = hooks
        self._causes = Causes(_log)
        self._tasks: dict[str, tuple[Access, asyncio.Task[None]]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the clusters of each table that is applied, until the block is left."""
        try:
            yield
        finally:
            tasks = {*self._leaving, *(task for _, task in self._tasks.values())}
            self._tasks.clear()
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    def apply(self, table: Table) -> None:
        """Follow the clusters of this table from now on."""
        now, members = self._clock.monotonic(), self._clusters.members
        for name in self._tasks.keys() - table.clusters.keys():
            self._leave(name)
            members[name].circuit = Circuit(healthy=False, reason=REMOVED, since=now)
        for name, member in tuple(members.items()):
            if name not in table.clusters and not member.executions:
                del members[name]
        for name, declared in table.clusters.items():
            access = self._tasks[name][0] if name in self._tasks else None
            if access == declared.connection:
                continue
            if access is not None:
                self._leave(name)
            earlier = members.get(name)
            member = members[name] = Member(name, now)
            if earlier is not None:
                member.executions, member.elsewhere = earlier.executions, earlier.elsewhere
            task = asyncio.create_task(self._follow(member, declared.connection), name=f"cluster {name}")
            self._tasks[name] = declared.connection, task

    def _leave(self, name: str) -> None:
        task = self._tasks.pop(name)[1]
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        task.cancel()

    async def _follow(self, member: Member, access: Access) -> None:
        """Be connected to one cluster for as long as it is in the table."""
        pauses = Pauses(self._options.reconnect_backoff, self._options.reconnect_backoff_cap)
        while True:
            try:
                async with self._opener.open(access) as client:
                    await self._connected(member, access, client)
            except _Reconnect:
                continue
            except Exception as error:  # noqa: BLE001 - after a defect, too, its executions are to be reached again
                self._causes.report(error, "cluster %s cannot be connected to, trying again", member.name)
                self._is_unreachable(member, str(error) or type(error).__name__)
            await asyncio.sleep(pauses.failed(self._clock.monotonic()))

    async def _connected(self, member: Member, access: Access, client: Client | None) -> None:
        if client is None:
            await self._watch_over(member, access, self._clusters.control)
            return
        cluster = self._hooks.make(client, member.name, await self._hooks.identity())
        try:
            async with cluster.following(), self._hooks.following(cluster):
                await self._watch_over(member, access, cluster)
        finally:
            member.cluster, member.is_synced = None, False
            self._hooks.on_change()

    async def _watch_over(self, member: Member, access: Access, cluster: ExecutionCluster) -> None:
        """Probe a cluster that is connected, again and again. Raises _Reconnect."""
        member.cluster = cluster
        prober = Prober(cluster, self._options, self._clock)
        while True:
            if not member.is_synced and cluster.resources.pods.has_synced():
                member.is_synced = True
                _log.info("cluster %s is connected", member.name)
                self._hooks.on_synced(cluster)
                self._hooks.on_change()
            waits = self._until_synced(cluster) if not member.is_synced else asyncio.sleep(self._options.probe)
            reading, _ = await asyncio.gather(prober.read(), waits)
            self._judge(member, advance(member.circuit, reading, self._clock.monotonic(), self._options))
            is_refused = cluster.client.requests.refused_since is not None
            if (is_refused or not member.circuit.healthy) and await self._has_changed(access):
                _log.info("cluster %s has another connection now", member.name)
                raise _Reconnect

    async def _until_synced(self, cluster: ExecutionCluster) -> None:
        """Wait for the first list of pods, until the next probe at most."""
        try:
            await cluster.resources.pods.wait_for_sync(self._options.probe)
        except PropellerError:
            return  # the probe says why

    async def _has_changed(self, access: Access) -> bool:
        try:
            return await self._opener.has_changed(access)
        except PropellerError:
            return False  # it is as unreadable as it was wrong

    def _is_unreachable(self, member: Member, why: str) -> None:
        now = self._clock.monotonic()
        bad_since = now if member.circuit.bad_since is None else member.circuit.bad_since
        if now - bad_since >= self._options.unhealthy_after or not member.circuit.healthy:
            since = member.circuit.since if not member.circuit.healthy else now
            self._judge(member, Circuit(healthy=False, reason=why, since=since, bad_since=bad_since))
        else:
            member.circuit = msgspec.structs.replace(member.circuit, bad_since=bad_since, good_since=None)

    def _judge(self, member: Member, circuit: Circuit) -> None:
        before, member.circuit = member.circuit, circuit
        if before.healthy is circuit.healthy:
            return
        if circuit.healthy:
            _log.info("cluster %s is healthy, and takes new work", member.name)
        else:
            _log.warning("cluster %s is unhealthy, and gets no new work: %s", member.name, circuit.reason)
        self._hooks.on_change()
