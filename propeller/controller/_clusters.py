"""The clusters in which attempts run: what the controller has of each, and which one an attempt is in.

Guarantees
    Without a routing table there is one: that of the FlyteWorkflows, under the name "". Nothing is looked up then.
    A cluster that is not well is not asked: an effect on an attempt in it fails at once, and is tried again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from propeller.clock import Clock
from propeller.clusters import Circuit
from propeller.config import Settings
from propeller.controller._attempt_resources import AttemptResource, AttemptResources
from propeller.controller._load import Load
from propeller.controller._pod_templates import ClusterPodTemplates
from propeller.controller._quotas import QuotaInformers
from propeller.controller._resource import FlyteWorkflow
from propeller.errors import Unavailable
from propeller.handlers import Cluster, Holder, LaunchPressure, Windows
from propeller.handlers.plugins import (
    EXECUTION_LABEL,
    AttemptObserver,
    Marks,
    Owner,
    Plugins,
    PodSettings,
    cluster_of,
    owner_of,
)
from propeller.informers import AnyInformer, Change
from propeller.kube import Client, KubeObject
from propeller.reconcile.shards import Keyspace
from propeller.resourcemgr import Path
from propeller.workflow import NodeView, Placements


class Stakes(msgspec.Struct, frozen=True):
    """What tenants have in all clusters together."""

    weight_of: Callable[[Path], float]
    running: Callable[[], Mapping[Path, int]]
    """Counts attempts that run."""
    given_up: Callable[[Holder], None]
    """Takes back the tokens of an attempt that waits no more."""
    waited: Callable[[Path, float], None]
    """Counts a wait for room in a quota, in seconds."""


class ExecutionCluster:
    """One cluster: its client, the resources of attempts in it, and what limits launches into its namespaces."""

    def __init__(
        self,
        client: Client,
        plugins: Plugins,
        settings: Settings,
        clock: Clock,
        granted: Callable[[Holder], bool],
        stakes: Stakes,
        *,
        namespace: str | None,
        marks: Marks | None = None,
        keyspace: Keyspace | None = None,
        workflows: AnyInformer[FlyteWorkflow] | None = None,
    ) -> None:
        """`granted` is called when an attempt that has waited for its namespace, or for the API server, may ask again.
        `marks` are those of its resources, None for the cluster of the FlyteWorkflows, where they have owner
        references; `workflows` is the informer of these.
        """
        self.client = client
        self.namespace = namespace
        self.marks = marks
        self.name = "" if marks is None else marks.cluster
        """In the routing table; "" for the cluster of the FlyteWorkflows, whatever the table calls it."""
        selector = EXECUTION_LABEL if marks is None else f"{EXECUTION_LABEL},{marks.selector}"
        of_cluster = selector, self.name, keyspace, workflows
        self.resources = AttemptResources(client, namespace, plugins, settings.informers, *of_cluster)
        shared, deadline = settings.pod_defaults.template_namespace, settings.client.deadline
        self.templates = ClusterPodTemplates(
            client, settings.informers, namespace=namespace, shared=shared, deadline=deadline
        )
        pods = msgspec.structs.replace(PodSettings.of(settings), templates=self.templates)
        self.quotas = QuotaInformers(client, settings, clock, granted, stakes.weight_of, pods, namespace=namespace)
        self.windows = Windows(settings.launches, clock, granted)
        self.launches = self.quotas.launches
        self.load = Load()
        """What it runs, if there is a routing table."""
        self.is_followed = False
        """Whether executions hear of its resources."""
        self.stakes = stakes
        self.pressure = LaunchPressure(
            client.flows.writes,
            clock,
            granted,
            weight_of=stakes.weight_of,
            running=stakes.running,
            given_up=stakes.given_up,
        )
        if self.launches is not None:
            self.launches.on_waited = stakes.waited
        kinds = self.resources.kinds()
        self.of_executors = Cluster(client, kinds, self.windows, self.launches, self.pressure, marks, pods)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Run its informers until the block is left."""
        async with self.quotas.running(), self.templates.following(), self.resources.following():
            try:
                yield
            finally:
                self.pressure.close()

    async def close(self, shard: int) -> None:
        """Follow a shard no more."""
        for key in self.resources.keys_of(shard):
            self.load.leave(key)
        await self.resources.close(shard)

    def waits(self, uid: str) -> bool:
        """Whether an attempt of the execution waits for room in a quota, or for the API server."""
        return self.pressure.waits(uid) or (self.launches is not None and self.launches.waits(uid))

    def forget(self, uid: str) -> None:
        """The execution has ended or is gone."""
        self.pressure.forget(uid)
        if self.launches is not None:
            self.launches.forget(uid)

    def count(self, change: Change[KubeObject], plugin: AttemptObserver, owner: Owner) -> None:
        """Count a resource while it runs."""
        obj = change.new or change.old
        assert obj is not None
        runs = change.new is not None and not plugin.has_ended(change.new)
        self.load.seen(owner.uid, f"{obj.metadata.namespace}/{obj.metadata.name}", runs=runs)

    def owner_of(self, obj: KubeObject) -> Owner | None:
        """Return the workflow that owns a resource of this cluster; None if none does, or if the resource was made for
        a cluster of another name, or by the controllers of another one.
        """
        if self.marks is None:
            return owner_of(obj) if obj.metadata.owner_references else None
        return owner_of(obj) if cluster_of(obj) == self.marks.cluster else None

    def resources_of(self, uid: str) -> Sequence[AttemptResource]:
        """Return the resources of the workflow with that uid."""
        return [one for one in self.resources.of(uid) if self.owner_of(one.obj) is not None]


class Elsewhere(msgspec.Struct, frozen=True):
    """What processes that hold other shards have of a cluster, all together."""

    executions: int = 0
    pods: int = 0
    trouble: str = ""
    """Why one of them finds that it is not well; "" if none does."""


class Member:
    """A cluster of the routing table. Next: connected, then synced; then its circuit says whether it is well."""

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.cluster: ExecutionCluster | None = None
        self.is_synced = False
        """Whether its caches have everything that runs there."""
        self.circuit = Circuit(since=now)
        self.executions = 0
        """That are placed there, and have not ended."""
        self.elsewhere = Elsewhere()

    @property
    def pods(self) -> int:
        """How many attempts are launched or run there."""
        return 0 if self.cluster is None else len(self.cluster.load)

    def full(self, namespace: str) -> str:
        """Say why attempts of a namespace would have to wait for a quota there; "" if they would not."""
        launches = None if self.cluster is None else self.cluster.launches
        return launches.full(namespace) if launches else ""

    @property
    def waiting_for_quotas(self) -> int:
        """Attempts there that wait for a quota."""
        launches = None if self.cluster is None else self.cluster.launches
        return sum(launches.waiting.values()) if launches else 0

    @property
    def trouble(self) -> str:
        """Why it gets no new work and is not asked; "" if it is well, or is being connected to."""
        return "" if self.circuit.healthy else self.circuit.reason

    @property
    def all_executions(self) -> int:
        """Of all processes."""
        return self.executions + self.elsewhere.executions

    @property
    def all_pods(self) -> int:
        """Of all processes."""
        return self.pods + self.elsewhere.pods

    @property
    def any_trouble(self) -> str:
        """Why it is not well, to this process or another one; "" if it is to all."""
        if not self.circuit.healthy:
            return self.trouble or "it is not well"
        return f"to another process: {self.elsewhere.trouble}" if self.elsewhere.trouble else ""

    @property
    def is_ready(self) -> bool:
        """Whether it may be asked."""
        return self.is_synced and self.circuit.healthy

    @property
    def is_known(self) -> bool:
        """Whether all that can be known of its attempts is: its caches are synced, or it is known to be unwell."""
        return self.is_synced or not self.circuit.healthy


class Clusters:
    """See the module's text. `control` is the cluster of the FlyteWorkflows; `members` are those of the table."""

    def __init__(self, control: ExecutionCluster) -> None:
        self.control = control
        self.members: dict[str, Member] = {}

    def __iter__(self) -> Iterator[ExecutionCluster]:
        """All that are connected."""
        yield self.control
        for member in self.members.values():
            if member.cluster is not None and member.cluster is not self.control:
                yield member.cluster

    def of_attempt(self, node: NodeView, attempt: int) -> Cluster:
        """Return the cluster in which an attempt runs, or is to run. Raises Unavailable."""
        placements = node.execution.placements
        if placements is None:
            return self.control.of_executors
        name = placements.cluster_of(node.number, attempt)
        if name == "":
            return self.control.of_executors
        member = self.members.get(name or "")
        if member is None or member.cluster is None or not member.is_ready:
            raise Unavailable(f"attempt {attempt} of {node.log_name}: {self.obstacle(name)}")
        return member.cluster.of_executors

    def obstacle(self, name: str | None) -> str:
        """Say why a cluster cannot be asked, "" if it can."""
        if name == "":
            return ""
        if name is None:
            return "it has no cluster yet"
        member = self.members.get(name)
        if member is None:
            return f"its cluster {name} is not in the routing table"
        if member.trouble:
            return f"its cluster {name} is unhealthy: {member.trouble}"
        return "" if member.is_synced else f"its cluster {name} is being connected to"

    def are_ready(self, placements: Placements | None) -> bool:
        """Whether all clusters of an execution may be asked."""
        return placements is None or not any(self.obstacle(name) for name in placements.names())

    def may_ask(self, name: str) -> bool:
        """Whether the cluster of that name is connected and well."""
        return not self.obstacle(name)

    def is_waited_for(self, name: str, now: float, grace: float) -> bool:
        """Whether a cluster cannot be asked now, and has not been away for longer than the grace. `now` is of the
        monotonic clock.
        """
        member = self.members.get(name)
        if not name or member is None or member.is_ready:
            return False
        return member.circuit.healthy or now - member.circuit.since < grace

    def named(self, name: str) -> ExecutionCluster | None:
        """Return the connected cluster of that name."""
        if not name:
            return self.control
        member = self.members.get(name)
        return None if member is None else member.cluster

    def resources_of(self, uid: str) -> Sequence[AttemptResource]:
        """Return the resources of the workflow with that uid, of all clusters."""
        if not self.members:
            return self.control.resources.of(uid)
        return [one for cluster in self for one in cluster.resources_of(uid)]

    def found_in(self, uid: str) -> Mapping[str, Sequence[AttemptResource]]:
        """Return the same by the name of the cluster, "" for that of the FlyteWorkflows."""
        return {cluster.name: found for cluster in self if (found := cluster.resources_of(uid))}

    def waiting_for_quotas(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many attempts wait for quotas, by cluster and namespace."""
        return {cluster.name: cluster.launches.waiting for cluster in self if cluster.launches}

    def waits(self, uid: str) -> bool:
        """Whether an attempt of the execution waits for a cluster."""
        return any(cluster.waits(uid) for cluster in self)
