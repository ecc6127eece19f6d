"""Hand the events of attempts' resources, of all clusters, to their executions.

Guarantees
    An event of an execution in memory costs O(1). One of an execution that is not in memory loads it if the event is
    for it to know, or if the resource has to be stopped.
    A resource in another cluster than its attempt's is not news: it is stopped if its attempt is over.
"""

from __future__ import annotations

from collections.abc import Callable

from propeller.controller._attempt_events import Seen, Vanished, attempt_ended, attempt_event
from propeller.controller._clusters import Clusters, ExecutionCluster
from propeller.controller._duty import Shared
from propeller.controller._effects import EffectRunner
from propeller.controller._finalizers import is_held
from propeller.controller._holds import Holds
from propeller.controller._made_pods import MadePods
from propeller.controller._resource import FlyteWorkflow, as_child
from propeller.controller._session import Running
from propeller.controller._uploads import Uploads
from propeller.handlers import LaunchTokens
from propeller.handlers.plugins import CHILD, AttemptObserver, Owner, Plugins, parent_of
from propeller.informers import Change
from propeller.kube import KubeObject, Pod
from propeller.workflow import ENDED, StopAttempt

Stranger = Callable[[ExecutionCluster, KubeObject, Owner], None]
"""Called with a resource of another cluster than the FlyteWorkflows', and its owner."""


class Observing:
    """`find` looks a workflow up in the cache. See the module's text."""

    def __init__(
        self,
        shared: Shared,
        effects: EffectRunner,
        tokens: LaunchTokens | None,
        plugins: Plugins,
        find: Callable[[str], FlyteWorkflow | None],
        seen_remotely: Stranger,
        holds: Holds,
    ) -> None:
        self._clusters: Clusters = shared.clusters
        self._executions = shared.executions
        self._milestones = shared.milestones
        self._clock = shared.clock
        self._effects = effects
        self._tokens = tokens
        self._plugins = plugins
        self._find = find
        self._seen_remotely = seen_remotely
        self._holds = holds
        self._uploads = Uploads(shared)
        self._made_pods = MadePods(shared)

    def close(self) -> None:
        """Look at nothing any more."""
        self._uploads.close()

    def attempt_changed(self, cluster: ExecutionCluster, plugin: AttemptObserver, change: Change[KubeObject]) -> None:
        """For the informer of a plugin's resource in a cluster."""
        obj = change.new or change.old
        assert obj is not None
        if (owner := cluster.owner_of(obj)) is None:
            return  # a pod of a job, say
        key = f"{obj.metadata.namespace}/{owner.name}"
        if self._tokens is not None:
            self._tokens.seen(plugin, obj, owner.uid, is_gone=change.new is None)
        if cluster.launches and change.new is not None:
            cluster.launches.seen(obj, owner.uid)
        if cluster.windows and attempt_ended(change, plugin):
            cluster.windows.pod_ended(obj.metadata.namespace)
        if self._clusters.members:
            cluster.count(change, plugin, owner)
            if change.new is not None:
                self._seen_remotely(cluster, obj, owner)
                if isinstance(change.new, Pod):
                    self._holds.seen(cluster, change.new, owner)
        if isinstance(change.new, Pod) and change.new.status.init_container_statuses:
            self._uploads.seen(cluster, change.new, key)
        self._tell(key, cluster, plugin, change)

    def workflow_changed(self, change: Change[FlyteWorkflow]) -> None:
        """For the informer of FlyteWorkflows: one that a node has started is news for its parent."""
        obj = change.new or change.old
        if obj is None or not obj.metadata.owner_references or (parent := parent_of(obj.metadata)) is None:
            return
        old, new = (None if one is None else as_child(one) for one in (change.old, change.new))
        seen: Change[KubeObject] = Change(change.key, old, new)
        self._tell(f"{obj.metadata.namespace}/{parent}", self._clusters.control, CHILD, seen)

    def _tell(self, key: str, cluster: ExecutionCluster, plugin: AttemptObserver, change: Change[KubeObject]) -> None:
        session = self._executions.get(key)
        if session is None:
            # one that is alive brings back what was evicted, or is to be stopped
            alive = change.new is not None and plugin.is_alive(change.new)
            if alive or key in self._executions.evicted or self._awaits_its_resources(key):
                self._executions.reconcile(key)
            return
        if isinstance(session, Running):
            self._observed(session, cluster, plugin, change)

    def _observed(
        self, session: Running, cluster: ExecutionCluster, plugin: AttemptObserver, change: Change[KubeObject]
    ) -> None:
        event = attempt_event(change, session, plugin, self._plugins)
        if event is None:
            return
        if session.execution.placements is not None and self._is_elsewhere(session, cluster, plugin, change, event):
            return
        if isinstance(event, Vanished):
            self._effects.look_for(session, event.node, event.attempt)
            return
        if why := event.is_waiting:
            self._milestones.waits(session, session.execution.view(event.node), why)
        if not event.is_news:
            return
        if self._effects.is_doubtful(session, event.node, event.observed):
            self._effects.look_for(session, event.node, event.observed.attempt, event.observed)
        elif change.new is None or not self._made_pods.holds(session, event, cluster, plugin, change.new):
            self._executions.notify(session, event.node, event.observed)

    def _is_elsewhere(
        self,
        session: Running,
        cluster: ExecutionCluster,
        plugin: AttemptObserver,
        change: Change[KubeObject],
        event: Seen | Vanished,
    ) -> bool:
        """Whether the resource is in another cluster than its attempt. If the attempt is over, it is stopped, once a
        status says so, in whichever cluster it is.
        """
        execution, node = session.execution, event.node
        placements = execution.placements
        assert placements is not None
        attempt = event.attempt if isinstance(event, Vanished) else event.observed.attempt
        is_over = attempt < execution.attempts[node] or execution.phases[node] in ENDED
        is_alive = change.new is not None and plugin.is_alive(change.new)
        if is_over and is_alive and attempt not in execution.stops.pods.get(node, ()):
            placements.pin(node, attempt, cluster.name)
            execution.stops.add(node, attempt)
            session.deferred.append(StopAttempt(node, attempt))
            session.record_change(self._clock.now())
            self._executions.reconcile(session.key)
        return self._clusters.named(placements.cluster_of(node, attempt) or "") is not cluster

    def _awaits_its_resources(self, key: str) -> bool:
        """Whether an ended workflow waits for its resources to stop before its finalizers are removed."""
        workflow = self._find(key)
        return workflow is not None and is_held(workflow.metadata)
