"""The clusters in which attempts run: what the controller has of each, and which one an attempt is in.

Today there is one: that of the FlyteWorkflows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

from propeller.clock import Clock
from propeller.config import Settings
from propeller.controller._attempt_resources import AttemptResource, AttemptResources
from propeller.controller._quotas import QuotaInformers
from propeller.handlers import Cluster, Holder, Windows
from propeller.handlers.plugins import Plugins
from propeller.kube import Client
from propeller.workflow import NodeView


class ExecutionCluster:
    """One cluster: its client, the resources of attempts in it, and what limits launches into its namespaces."""

    def __init__(
        self,
        client: Client,
        plugins: Plugins,
        settings: Settings,
        clock: Clock,
        granted: Callable[[Holder], bool],
        *,
        namespace: str | None,
    ) -> None:
        """`granted` is called when an attempt that has waited for its namespace may ask again."""
        self.client = client
        self.resources = AttemptResources(client, namespace, plugins, settings.informers)
        self.quotas = QuotaInformers(client, settings, clock, granted, namespace=namespace)
        self.windows = Windows(settings.launches, clock, granted)
        self.launches = self.quotas.launches
        self.of_executors = Cluster(client, self.resources.kinds(), self.windows, self.launches)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Run its informers until the block is left."""
        async with self.quotas.running(), self.resources.following():
            yield


class Clusters:
    """See the module's text. `control` is the cluster of the FlyteWorkflows."""

    def __init__(self, control: ExecutionCluster) -> None:
        self.control = control

    def __iter__(self) -> Iterator[ExecutionCluster]:
        yield self.control

    def of_attempt(self, node: NodeView, attempt: int) -> Cluster:
        """Return the cluster in which an attempt runs, or is to run."""
        return self.control.of_executors

    def resources_of(self, uid: str) -> Sequence[AttemptResource]:
        """Return the resources of the workflow with that uid, of all clusters."""
        return self.control.resources.of(uid)

    def waits(self, uid: str) -> bool:
        """Whether an attempt of the execution waits for room in a quota."""
        return any(cluster.launches is not None and cluster.launches.waits(uid) for cluster in self)
