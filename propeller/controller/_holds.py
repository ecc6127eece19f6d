"""Hold pods of other clusters until their end is known: our finalizer keeps them, whoever deletes them.

A pod in the FlyteWorkflow's own cluster is deleted with it. In another one anybody may delete a pod that has ended (a
user, the pod garbage collector, the drain of a node) before the controller has seen how, as while it was down. So pods
there are created with a finalizer, and this removes it.

Guarantees
    A pod that is being deleted is held until it has ended and a status says that its attempt is over, or its workflow
    has ended; the janitor releases those whose workflow is gone. A pod that is `OVERDUE` seconds past its grace (by
    our clock) counts as ended, and one that never had a node is released at once: nothing will ever be heard of them.
    Nothing is sent for a pod that nobody deletes. In a cluster that drains those that have ended are released, too, so
    that nothing holds on to it once it is empty.
    Finalizers of other owners are kept. In the cluster of the FlyteWorkflows nothing of this happens.
Errors
    None: what fails is logged once per cause, and tried again while the pod is there.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable

import msgspec

from propeller.controller._attempt_resources import AttemptResource
from propeller.controller._clusters import ExecutionCluster
from propeller.controller._duty import Shared
from propeller.controller._finalizers import is_our_hold, never_runs, release_hold
from propeller.controller._overdue import Overdue
from propeller.controller._resource import FlyteWorkflow
from propeller.controller._session import Running
from propeller.errors import Conflict, NotFound, PropellerError
from propeller.handlers.plugins import POD, Owner, claim_of, owner_of
from propeller.kube import Pod
from propeller.pauses import PausesByKey
from propeller.routing import State, Table
from propeller.workflow import ENDED

LATE = 0.5
"""Seconds by which a look at a pod comes after it is due: its last event may be on its way."""


class HeldPod(msgspec.Struct, frozen=True):
    """A pod, by the name of its cluster and its key there."""

    cluster: str
    key: str


class Holds:
    """`find` looks a workflow up in the cache. `is_gone` is called for each pod of a workflow that the cache
    does not have, with the workflow's key.

    More than 15 methods: one for each thing that happens to a pod, its execution or its cluster.
    """

    def __init__(
        self,
        shared: Shared,
        find: Callable[[str], FlyteWorkflow | None],
        is_gone: Callable[[str, Owner], None],
        overdue: Overdue,
    ) -> None:
        self._clusters = shared.clusters
        self._executions = shared.executions
        self._placing = shared.placing
        self._lanes = shared.lanes
        self._causes = shared.causes
        self._clock = shared.clock
        self._options = shared.settings.clusters
        self._find = find
        self._is_gone = is_gone
        self._overdue = overdue
        self._waiting: dict[str, set[HeldPod]] = {}
        """By execution, pods whose end no status has yet."""
        self._releasing: dict[HeldPod, str] = {}
        """Pods whose release is under way, and their executions."""
        self._timers: dict[HeldPod, asyncio.TimerHandle] = {}
        options = self._options
        self._pauses = PausesByKey(options.reconnect_backoff, options.reconnect_backoff_cap)
        """By cluster."""

    def seen(self, cluster: ExecutionCluster, pod: Pod, owner: Owner) -> None:
        """A pod of another cluster is there, as its informer has it."""
        if not is_our_hold(pod.metadata) or not self._is_due(cluster, pod):
            return
        held = HeldPod(cluster.name, f"{pod.metadata.namespace}/{pod.metadata.name}")
        key = f"{pod.metadata.namespace}/{owner.name}"
        if pod.metadata.deletion_timestamp is not None and never_runs(pod):
            self._release(held, key)
            return
        if (left := self._overdue.left(POD, pod)) > 0:
            self._look_again(held, left + LATE)
            return
        session, workflow = self._executions.get(key), self._find(key)
        if workflow is None or workflow.metadata.uid != owner.uid:
            self._is_gone(key, owner)
        elif workflow.phase.ended:
            self._release(held, key)
        elif not isinstance(session, Running):
            self._executions.reconcile(key)  # to load it, if it is not
        elif session.uid == owner.uid:
            if _is_over(session, pod) and _is_written(session):
                self._release(held, key)
            else:
                self._waiting.setdefault(key, set()).add(held)

    def loaded(self, session: Running) -> None:
        """An execution is in memory anew: look at its pods."""
        self._waiting.pop(session.key, None)
        if self._clusters.members:
            self._look_at(self._clusters.resources_of(session.uid))

    def over(self, session: Running) -> frozenset[HeldPod]:
        """Return the pods that wait for the status that is written next."""
        waiting = self._waiting.get(session.key)
        if not waiting:
            return frozenset()
        return frozenset(one for one in waiting if (pod := self._pod(one)) is not None and _is_over(session, pod))

    def written(self, key: str, over: Iterable[HeldPod]) -> None:
        """A status says that the attempts of these pods are over."""
        for held in over:
            self._release(held, key)

    def ended(self, resources: Iterable[AttemptResource]) -> None:
        """The end of a workflow is in the cache: look at its pods."""
        if self._clusters.members:
            self._look_at(resources)

    def drains(self, cluster: ExecutionCluster) -> None:
        """A cluster drains from now on: look at all pods that ended there."""
        if cluster.marks is not None:
            for pod in tuple(cluster.resources.pods.store):
                if (owner := cluster.owner_of(pod)) is not None:
                    self.seen(cluster, pod, owner)

    def forget(self, key: str) -> None:
        """The workflow of that key is gone, or another process has it."""
        self._waiting.pop(key, None)
        for held in [held for held, of in self._releasing.items() if of == key]:
            del self._releasing[held]  # its job may have been dropped

    def close(self) -> None:
        """Look at nothing any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _look_at(self, resources: Iterable[AttemptResource]) -> None:
        for one in resources:
            if one.cluster and one.plugin is POD and (owner := owner_of(one.obj)) is not None:
                assert isinstance(one.obj, Pod)
                if (cluster := self._clusters.named(one.cluster)) is not None:
                    self.seen(cluster, one.obj, owner)

    def _is_due(self, cluster: ExecutionCluster, pod: Pod) -> bool:
        if pod.metadata.deletion_timestamp is not None:
            return True
        return POD.has_ended(pod) and is_draining(self._placing.table, cluster.name)

    def _pod(self, held: HeldPod) -> Pod | None:
        """Return the pod as the cache has it."""
        cluster = self._clusters.named(held.cluster)
        return None if cluster is None else cluster.resources.pods.store.get(held.key)

    def _look_again(self, held: HeldPod, seconds: float) -> None:
        if (timer := self._timers.pop(held, None)) is not None:
            timer.cancel()
        look = functools.partial(self._look, held)
        self._timers[held] = asyncio.get_running_loop().call_later(max(seconds, LATE), look)

    def _look(self, held: HeldPod) -> None:
        self._timers.pop(held, None)
        cluster, pod = self._clusters.named(held.cluster), self._pod(held)
        if cluster is not None and pod is not None and (owner := cluster.owner_of(pod)) is not None:
            self.seen(cluster, pod, owner)

    def _release(self, held: HeldPod, key: str) -> None:
        if (waiting := self._waiting.get(key)) is not None:
            waiting.discard(held)
            if not waiting:
                del self._waiting[key]
        if held not in self._releasing:
            self._releasing[held] = key
            self._lanes.of(held.cluster).stop.submit(key, lambda: self._send(held))

    async def _send(self, held: HeldPod) -> None:
        try:
            cluster, pod = self._clusters.named(held.cluster), self._pod(held)
            if cluster is None or pod is None:
                return  # its events come again when the cluster is back
            if not self._clusters.may_ask(held.cluster):
                self._look_again(held, self._options.probe)
                return
            await release_hold(cluster.client, pod.metadata)
        except NotFound:
            return
        except Conflict:
            self._look_again(held, LATE)  # its event may have come already
        except PropellerError as error:
            self._causes.report(error, "pod %s in cluster %s is still held, trying again", held.key, held.cluster)
            self._look_again(held, self._pauses.failed(held.cluster, self._clock.monotonic()))
        finally:
            self._releasing.pop(held, None)


def is_draining(table: Table | None, cluster: str) -> bool:
    """Whether a cluster of the table is to be left by what runs there."""
    declared = None if table is None else table.clusters.get(cluster)
    return declared is not None and declared.state is State.DRAINING


def _is_over(session: Running, pod: Pod) -> bool:
    """Whether the attempt of a pod is over, as far as its execution in memory knows."""
    execution = session.execution
    if (claim := claim_of(pod, execution.info.name)) is None:
        return False
    node = session.node_of(pod)
    if node is None or execution.unique_id(node) != claim.node:
        found = (number for number in range(len(execution.phases)) if execution.unique_id(number) == claim.node)
        node = next(found, None)
    return node is not None and (claim.attempt < execution.attempts[node] or execution.phases[node] in ENDED)


def _is_written(session: Running) -> bool:
    """Whether the status has all that the execution in memory knows."""
    return session.begun and not session.inbox and not session.writing and session.dirty_since is None
