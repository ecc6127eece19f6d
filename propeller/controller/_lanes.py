"""Workers for what reconciles begin, in lanes: who waits for one limit of the API server takes no worker of another's.

Guarantees
    However many launches wait (for a slot among the client's creates, or for a server that asks to wait), what was
    observed is read and statuses are written as if there were none; nor do these wait for each other, or for stops.
    Each cluster of a routing table has lanes of its own for what is asked of its API server: one that answers after
    half a minute, or never, takes no worker from another, also before its circuit opens.
    In each lane tenants take turns, and within a tenant its executions (`reconcile.FairPool`).
    A job costs what it costs in a single pool. Lanes without a job cost no task but one for each cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from propeller.reconcile import FairPool


class ClusterLanes(NamedTuple):
    """A pool for each kind of request to an API server that runs attempts; all have the same size."""

    observe: FairPool[str]
    """Reads of resources; of the control cluster's lanes also those of the object store, and what is written there in
    turn."""
    launch: FairPool[str]
    """Creates of attempts' resources, with the inputs that they need."""
    stop: FairPool[str]
    """Deletes, and what is written for them: of attempts' resources, of finalizers, of ended workflows."""


class Lanes:
    """The lanes of the cluster of the FlyteWorkflows, and of those of a routing table. Tenants are executions' keys."""

    def __init__(
        self, size: int, *, group: Callable[[str], Hashable], on_error: Callable[[str, Exception], None]
    ) -> None:
        def lane() -> FairPool[str]:
            return FairPool(size, group=group, on_error=on_error)

        self._lane = lane
        self.checkpoint = lane()
        """Status writes."""
        self.remote = lane()
        """Calls that start and delete jobs of remote services, which may take as long as a task."""
        self._control = self._made()
        self.observe, self.launch, self.stop = self._control
        self._clusters: dict[str, ClusterLanes] = {}
        """Those that run, by the cluster's name."""
        self._keepers: dict[str, asyncio.Task[None] | None] = {}
        """By cluster; None before any lane runs."""
        self._is_running = False

    @property
    def are_running(self) -> bool:
        """Whether jobs can be submitted."""
        return self._is_running

    def _made(self) -> ClusterLanes:
        return ClusterLanes(self._lane(), self._lane(), self._lane())

    def open(self, clusters: Iterable[str]) -> None:
        """Give these clusters lanes of their own from now on. They stay: a cluster may come back into the table."""
        for name in clusters:
            if self._keepers.get(name) is None:
                self._keepers[name] = self._kept(name) if self._is_running else None

    def of(self, cluster: str | None) -> ClusterLanes:
        """Return the lanes of a cluster of the table; those of the control cluster if it has none."""
        return self._clusters.get(cluster or "", self._control)

    async def drop(self, keys: Collection[str]) -> None:
        """Drop the jobs of executions: once this returns nothing more is sent for them."""
        for lane in self._all():
            await lane.drop(keys)

    def _all(self) -> Iterator[FairPool[str]]:
        yield self.checkpoint
        yield self.remote
        yield from self._control
        for lanes in tuple(self._clusters.values()):
            yield from lanes

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run jobs until the block is left."""
        async with AsyncExitStack() as stack:
            for lane in self._all():
                await stack.enter_async_context(lane)
            self._is_running = True
            self.open(tuple(self._keepers))
            try:
                yield
            finally:
                self._is_running = False
                keepers = [task for task in self._keepers.values() if task is not None]
                for task in keepers:
                    task.cancel()
                if keepers:
                    await asyncio.wait(keepers)

    def _kept(self, cluster: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._keep(cluster), name=f"lanes of cluster {cluster}")

    async def _keep(self, cluster: str) -> None:
        """Run the lanes of a cluster until this is cancelled."""
        async with AsyncExitStack() as stack:
            lanes = self._made()
            for lane in lanes:
                await stack.enter_async_context(lane)
            self._clusters[cluster] = lanes
            stack.callback(self._clusters.pop, cluster)
            await asyncio.Event().wait()
