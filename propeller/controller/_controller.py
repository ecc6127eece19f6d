"""The FlyteWorkflow controller: informers feed reconciles, reconciles decide, effects act, checkpoints make it durable.

Guarantees
    A reconcile is synchronous and never awaits the network; effects run beside it, a bounded number at once. Tenants
    take turns at both, and the executions of a tenant at its effects.
    A node's success starts its successors at once. Between two status writes pods are the record (docs/consistency.md):
    no pod is stopped before a status has the reason.
    An execution without events for `controller.idle` seconds is in memory as a plan that it shares, and a status.
    A status is written only onto the version that it was computed from; if somebody else has written it, the execution
    is loaded again.
Assumptions
    Pods of an execution, and what other plugins make for it, are in its namespace, carry its owner reference, and have
    fixed names.
Errors
    Opening raises NotFound if the resource type is not installed, Denied if it may not be read, Unavailable if caches
    cannot be filled within the client's deadline. A task plugin that cannot be used, or whose resource is not served,
    affects only its own tasks. An error of one execution affects only that: it is retried, or ends as failed with the
    reason in its status.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.clusters import Opener
from propeller.config import Settings
from propeller.connectors import MayAct, always
from propeller.controller._cache_lag import CacheLag
from propeller.controller._cache_metrics import watch_caches
from propeller.controller._checkpointer import Checkpointer
from propeller.controller._checkpoints import Checkpoints
from propeller.controller._cluster_shards import ClusterShards
from propeller.controller._clusters import Clusters, ExecutionCluster
from propeller.controller._clusters_page import watch_clusters
from propeller.controller._duty import Shared
from propeller.controller._effects import EffectRunner
from propeller.controller._events import Recorder
from propeller.controller._executions import Executions
from propeller.controller._grants import Grants
from propeller.controller._holds import Holds
from propeller.controller._idleness import Idleness
from propeller.controller._intake import Intake
from propeller.controller._janitor import Janitor
from propeller.controller._lanes import Lanes
from propeller.controller._launch_metrics import stakes_of, watch_launches
from propeller.controller._left_jobs import LeftJobs
from propeller.controller._lineage import lineage
from propeller.controller._live_limits import LiveLimits
from propeller.controller._live_routing import LiveRouting
from propeller.controller._loading import Loader
from propeller.controller._milestones import Milestones
from propeller.controller._observing import Observing
from propeller.controller._overdue import Overdue
from propeller.controller._placing import Placing
from propeller.controller._resource import WORKFLOWS, FlyteWorkflow, end_is_undone
from propeller.controller._restores import Restores
from propeller.controller._resync import Resync
from propeller.controller._retention import Retention
from propeller.controller._services import cache_running, remote_jobs_of, services_of
from propeller.controller._session import Ended, Running, Session
from propeller.controller._several import SeveralClusters
from propeller.controller._shards import Shards, informer_of_workflows, keyspace_of
from propeller.controller._tenancy import tenant_of
from propeller.handlers import TRANSITIONS, Asked, LaunchPlans, quotas_page
from propeller.handlers.plugins import Plugins, installed_plugins
from propeller.informers import Change, ShardedInformer
from propeller.kube import PODS, Client, KubeObject
from propeller.reconcile import Controller, Result, WorkQueue
from propeller.registry import registry_of
from propeller.routing import Table
from propeller.storage import Storage
from propeller.telemetry import Causes, Metrics
from propeller.workflow import EXECUTION, Cancel, Decision, Execution, begin, decide, resume

_log = logging.getLogger(__name__)

NAME = "workflows"
"""Of the controller's queue, in metrics and logs."""

Observer = Callable[[Execution], None]
"""Called after each reconcile that changed an execution: synchronous and quick."""


class WorkflowController:
    """Runs every FlyteWorkflow of a namespace (None: of the cluster); use as `async with`.

    It wires the duties together, one module each, and has two of its own: it routes events to executions, and decides
    by reconciling. All stand on `Executions`. More than 15 methods: one for each source of events, and for each stage
    of an execution in a reconcile.
    """

    def __init__(
        self,
        client: Client,
        storage: Storage,
        settings: Settings = Settings(),
        *,
        namespace: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
        observer: Observer | None = None,
        metrics: Metrics | None = None,
        recorder: Recorder | None = None,
        plugins: Plugins | None = None,
        opener: Opener | None = None,
        may_act: MayAct = always,
    ) -> None:
        """`plugins`: by default those of this interpreter's packages. `opener` connects to the clusters of a routing
        table, if there can be one. `may_act` is asked before each call that changes a remote job.
        """
        self._client = client
        self._settings = settings
        self._namespace = namespace
        self._clock = clock
        self._observer = observer
        self._plugins = installed_plugins(settings.operators.enabled) if plugins is None else plugins
        metrics = metrics or Metrics()
        launch_plans = LaunchPlans(registry_of(storage, settings.registry))
        self._loader = Loader(client, storage, settings.storage.metadata_prefix, self._plugins, launch_plans)
        keyspace = keyspace_of(settings)
        self._workflows = informer_of_workflows(client, namespace, self._loader, settings.informers, keyspace)
        tenant = tenant_of(self._workflows.store.get)
        self._queue: WorkQueue[str] = WorkQueue(settings.queue, tenant=tenant)
        self._executions = Executions(self._queue, settings.queue, clock, settings.controller.event_delay)
        self._lanes = Lanes(settings.controller.effects_at_once, group=tenant, on_error=self._executions.job_raised)
        self._milestones = Milestones(metrics.executions, recorder, clock, lineage(settings, storage, clock, metrics))
        causes = Causes(_log)
        self._grants = Grants(self._executions)
        grant = self._grants.grant
        self.limits = LiveLimits(client, settings, clock, grant, causes, namespace=namespace, recorder=recorder)
        self._tokens = self.limits.tokens
        stakes = stakes_of(self.limits, self._executions, metrics.launches)
        of_control = client, self._plugins, settings, clock, self._grants.grant, stakes
        control = ExecutionCluster(*of_control, namespace=namespace, keyspace=keyspace, workflows=self._workflows)
        self._clusters = Clusters(control)
        self._placing = Placing(self._clusters, clock, grant, keyspace)
        shared = Shared(
            client=client,
            storage=storage,
            settings=settings,
            clock=clock,
            executions=self._executions,
            lanes=self._lanes,
            clusters=self._clusters,
            placing=self._placing,
            milestones=self._milestones,
            causes=causes,
        )
        self._checkpointer = Checkpointer(client, storage, settings.checkpoint, clock, shards=keyspace)
        self._jobs = remote_jobs_of(shared, self._checkpointer, self._plugins, self._tokens, may_act)
        find = self._workflows.store.get
        told = grant, metrics.catalog, find, launch_plans, self._jobs
        self._services = services_of(settings, storage, self._clusters, self._plugins, clock, self._tokens, *told)
        self._effects = EffectRunner(shared, self._services)
        overdue = Overdue(clock)
        self._janitor = Janitor(client, self._clusters, find, settings.clusters, clock, overdue)
        self._holds = Holds(shared, find, self._janitor.is_gone, overdue)
        self._checkpoints = Checkpoints(shared, self._checkpointer, self._effects, self._holds)
        given = ClusterShards(shared, keyspace)
        self._intake = Intake(shared, self._loader, self._checkpointer, self._effects, self._holds, given)
        self._retention = Retention(shared, self._holds, LeftJobs(shared, self._jobs))
        self._idleness = Idleness(shared, self._loader, self._waits)
        self._cache_lag = CacheLag(shared, self._checkpointer, self._workflows)
        self._restores = Restores(shared, self._workflows)
        of_remote = self._janitor.seen, self._holds
        self._observing = Observing(shared, self._effects, self._tokens, self._plugins, find, *of_remote)
        self._resync = Resync(self._clusters, self._executions)
        of_clusters = self._observing, self._janitor, self._holds, self._resync
        also = self._grants, self._plugins, opener
        self.several = SeveralClusters(shared, *of_clusters, *also, namespace=namespace, keyspace=keyspace)
        self._routing = LiveRouting(shared, self.several, metrics.clusters, namespace=namespace, recorder=recorder)
        reconcile = self._reconcile
        self.shards: Shards | None = None
        """What a `Membership` of this process serves; None if it works on everything."""
        if isinstance(self._workflows, ShardedInformer):
            of_shards = self._workflows, self._checkpoints, self._tokens, self.several
            self.shards = Shards(shared, *of_shards, self._reconcile, self._hand_over)
            reconcile = self.shards.reconcile
        self._controller = Controller(
            self._queue, reconcile, settings.queue, name=NAME, on_reconcile=metrics.reconciles_of(NAME), clock=clock
        )
        self._watch(metrics)

    def _watch(self, metrics: Metrics) -> None:
        """Have scrapes read the queue, the caches and the executions."""
        metrics.watch_queue(NAME, self._queue.depths)
        metrics.watch_not_understood(NAME, lambda: self._intake.waiting.count)
        self._milestones.follow(self._executions)
        self.limits.watch(metrics.pools)
        watch_clusters(metrics.clusters, self._clusters, self.several.failover, self._janitor)
        watch_launches(metrics.launches, self._clusters)
        watch_caches(metrics, self._workflows, self._clusters.control)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[WorkflowController]:
        """Run until the block is left. Raises NotFound if the CRD is missing, Denied."""
        await self._checkpointer.prepare()
        for resource in (WORKFLOWS, PODS):  # informers try for ever; what we may not do at all should be said at once
            await self._client.list(resource.typed(KubeObject), self._namespace, limit=1)
        deadline = self._settings.client.deadline
        callers: Exception | None = None
        control = self._clusters.control
        async with self.limits.running(), self._routing.following(), control.following(), self._workflows:
            await control.resources.wait_for_sync(deadline)
            for plugin, informer in control.resources.informers.items():
                informer.subscribe(functools.partial(self._observing.attempt_changed, control, plugin))
            self._workflows.subscribe(self._workflow_changed)
            self._restores.subscribe()
            await self._workflows.wait_for_sync(deadline)
            async with (
                self._milestones.running(),
                cache_running(self._services),
                self._jobs.running(),
                self.several.running(),
                self._lanes.running(),
                asyncio.TaskGroup() as group,
            ):
                reconciles = group.create_task(self._controller.run(), name="reconciles")
                try:
                    yield self
                except Exception as error:  # noqa: BLE001 - the caller's own, which is not to come out within a group
                    callers = error
                finally:
                    reconciles.cancel()
                    self._observing.close()
                    if self._tokens is not None:
                        self._tokens.close()
        if callers is not None:
            raise callers

    def route_by(self, table: Table) -> None:
        """Place executions by this table from now on. Raises Invalid if the controller has no `opener`."""
        self.several.apply(table)

    def execution(self, key: str) -> Execution | None:
        """Return the execution as of its last reconcile; `key` is `namespace/name`."""
        session = self._executions.get(key)
        return session.execution if isinstance(session, Running) else None

    def queue(self, asked: Asked) -> dict[str, Any]:
        """Return who waits for tokens and for quotas, for JSON. Raises Invalid for a pool that is none, Unavailable."""
        return self.limits.queue(asked) | {"quotas": quotas_page(self._clusters.waiting_for_quotas())}

    def liveness(self) -> str | None:
        """Return why the process should be restarted, None if it is healthy."""
        return self._controller.liveness()

    # events

    def _workflow_changed(self, change: Change[FlyteWorkflow]) -> None:
        key = change.key
        self._observing.workflow_changed(change)
        if change.new is None:
            self._forget(change.old.metadata.uid if change.old is not None else "")
            if change.old is not None and self._clusters.members:
                self._janitor.workflow_deleted(change.old)
        elif (session := self._executions.get(key)) is not None and session.is_own_write(change.new.metadata):
            return
        elif end_is_undone(change):
            self._executions.failed(key, once_free=True)  # who does that for ever must not be answered at once for ever
        self._executions.reconcile(key)

    # reconcile

    def _reconcile(self, key: str) -> Result:
        workflow = self._workflows.store.get(key)
        session = self._executions.get(key)
        if session is not None and (workflow is None or workflow.metadata.uid != session.uid):
            self._milestones.gone(session)
            self._executions.forget(session)  # its pods follow by owner reference
            self._forget(session.uid)
            session = None
        if workflow is None:
            self._deleted(key)
            return Result()
        if session is None:
            admitted = self._admit(workflow)
            if isinstance(admitted, Result):
                return admitted
            session = admitted
        match session:
            case Running() if session.has_ended:
                return Result(requeue_after=self._checkpoints.begin_if_due(session, self._clock.now()))
            case Running():
                return self._advance(session, workflow)
            case Ended() if workflow.phase.ended:
                self._executions.forget(session)
                return self._finished(workflow)
            case Ended():
                return self._cache_lag.wait_for_end(session)
            case _:
                return Result()  # it is being loaded

    def _forget(self, uid: str, *, is_over: bool = True) -> None:
        """The workflow of that uid is gone, or has ended; or another process has it from now on."""
        self._loader.forget(uid)
        self._grants.forget(uid)
        self._jobs.forget(uid)
        self._placing.forget(uid)
        if self._tokens is not None and is_over:
            self._tokens.forget(uid)
        for cluster in self._clusters:
            cluster.forget(uid)
        if self._services.cache is not None:
            self._services.cache.forget(uid, is_over=is_over)

    def _hand_over(self, key: str, uid: str) -> None:
        self._forget(uid, is_over=False)
        self._deleted(key)

    def _deleted(self, key: str) -> None:
        self._executions.deleted(key)
        self._cache_lag.forget(key)
        self._intake.waiting.end(key)
        self._retention.forget(key)
        self._holds.forget(key)

    def _admit(self, workflow: FlyteWorkflow) -> Session | Result:
        """Load an execution, or return when to try again."""
        if not self._restores.is_settled:
            return Result()  # every workflow is reconciled then
        if (left := self._executions.pause_left(workflow.key)) > 0:
            return Result(requeue_after=left)
        if workflow.phase.ended:
            return self._finished(workflow)
        if (wait := self._cache_lag.wait_to_load(workflow)) is not None:
            return wait
        if self._clusters.members and self._resync.must_wait(workflow):
            return Result()
        if (left := self._intake.left(workflow)) > 0:
            return Result(requeue_after=left)
        return self._intake.begin(workflow)

    def _finished(self, workflow: FlyteWorkflow) -> Result:
        """Handle a workflow whose end is in the cache."""
        self._executions.ended(workflow.key)
        self._cache_lag.forget(workflow.key)
        self._intake.waiting.end(workflow.key)
        self._forget(workflow.metadata.uid)
        return self._retention.reconcile(workflow)

    def _advance(self, session: Running, workflow: FlyteWorkflow) -> Result:
        """Decide on the events, and start the resulting effects."""
        if workflow.metadata.deletion_timestamp is not None:
            session.inbox.append((EXECUTION, Cancel("the workflow is being deleted")))
            session.follow_back(workflow.metadata, workflow.status)
        if session.gates.nodes:
            session.inbox += session.gates.read(session.execution, workflow.metadata)
        if (evicted := self._idleness.evict_if_due(session)) is not None:
            return evicted
        try:
            decision = self._effects.begin(session, self._decide(session))
        except Exception:
            self._executions.reload(session)  # half changed: the next try starts over from the checkpoint
            self._executions.failed(session.key)
            raise
        return self._carry_out(session, decision)

    def _decide(self, session: Running) -> Decision:
        now, execution = self._clock.now(), session.execution
        if session.inbox or not session.begun:
            session.last_activity = now
        if session.begun or any(isinstance(event, Cancel) for _, event in session.inbox):
            session.begun = True  # one that is being deleted begins nothing
            return decide(execution, session.drain(), now, TRANSITIONS)
        session.begun = True
        self._grants.begun(session)
        if session.inbox:  # stops of what ran before may have been answered already
            self._executions.reconcile(session.key)
        if not session.is_new:
            return resume(execution, TRANSITIONS, now)
        self._milestones.accepted(execution)
        return begin(execution, TRANSITIONS, now)

    def _carry_out(self, session: Running, decision: Decision) -> Result:
        """Start a checkpoint if one is due; returns when to reconcile again."""
        now, execution = self._clock.now(), session.execution
        if session.deferred or decision.changed:
            session.record_change(now)
        if decision.changed or decision.effects:
            session.last_activity = now
        if decision.changed and self._observer is not None:
            self._observer(execution)
        if decision.more:
            self._executions.reconcile(session.key)
        waits = [
            None if decision.wake is None else decision.wake - now,
            self._idleness.left(session, now),
            self._checkpoints.begin_if_due(session, now),
        ]
        return Result(requeue_after=min((max(0.0, wait) for wait in waits if wait is not None), default=None))

    def _waits(self, uid: str) -> bool:
        """Whether an attempt of the execution waits for tokens, for room in a quota, or for an API server."""
        return (self._tokens is not None and self._tokens.waits(uid)) or self._clusters.waits(uid)
