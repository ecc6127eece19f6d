"""Decide where attempts run, if a routing table names several clusters.

Guarantees
    An execution has one cluster, chosen at its first launch, and keeps it while the table and the cluster's health
    allow. An attempt is placed once, before its first launch. The status says where and why, and has it before anything
    is launched that builds on it: decided again, it could come out differently.
    If quotas of its namespace have no room left in a cluster, new executions and attempts go to others that may take
    them. If there is no other, they are placed as if it had room, and wait for the quota (docs/limits.md).
    If no cluster may take an attempt, its node waits with the reason, without a request, and is woken when the table or
    a cluster's state changes.
    An execution that began before there was a table stays in the cluster of the FlyteWorkflows.
    While this version is tried in some clusters alone, it launches nothing in others (see `Bounds`).
Caveats
    What processes with other shards have of a cluster counts against its capacity some seconds later.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping

from propeller.clock import Clock
from propeller.controller._bounds import Bounds
from propeller.controller._cluster_states import ClusterStates, decide_with_quotas
from propeller.controller._clusters import Clusters
from propeller.handlers import Holder, attempt_of, holder_of, refusals_of, whole_of
from propeller.reconcile.shards import LabelShards
from propeller.routing import ClusterState, Placement, Table, Waiting, decide
from propeller.workflow import (
    AttemptObserved,
    AttemptState,
    Execution,
    Launched,
    NodeEvent,
    NodeView,
    ObservedAttempt,
    Placements,
    Refusals,
    Refused,
    cluster_of_key,
    pod_name,
)

LOOK_SECONDS = 60.0
"""Seconds after which an attempt without a cluster asks again. Changes wake it: this is for what nobody saw coming."""


class Placing:
    """See the module's text. `granted` is called when an attempt that has waited may ask again; it returns whether that
    is still wanted. If clusters have `shards` of their own, an execution is placed before anything is done for it, so
    that it can be given to its shard.

    More than 15 methods: one for each moment at which a place is chosen, kept, waited for or counted.
    """

    def __init__(
        self, clusters: Clusters, clock: Clock, granted: Callable[[Holder], bool], shards: LabelShards | None = None
    ) -> None:
        self._clusters = clusters
        self._shards = shards if shards is not None and shards.named else None
        self.bounds = Bounds(clusters)
        self._clock = clock
        self._granted = granted
        self.states: Mapping[str, ClusterState] = ClusterStates(clusters)
        self._homes: dict[str, str] = {}
        """By execution's uid."""
        self._waiting: dict[str, Holder] = {}
        """Attempts that no cluster may take, by claim."""
        self.table: Table | None = None
        self.missing = ""
        """Why there is no table though there is to be one; "" if everything runs in one cluster."""

    def applies_to(self, execution: Execution) -> bool:
        """Whether launches of the execution need a place."""
        return self.table is not None or bool(self.missing) or execution.placements is not None

    def loaded(self, execution: Execution, *, is_new: bool) -> None:
        """Complete the placements of an execution that was loaded, with what its resources show."""
        if not self.applies_to(execution):
            return
        found = self._clusters.found_in(execution.info.uid)
        placements = execution.placements
        if placements is None:
            began_here = not is_new or bool(found.get(""))
            placements = execution.placements = Placements("" if began_here else None)
        if is_new and self._shards is not None:
            self._place_new(execution, placements)
            placements.claim()
        placements.found = {one.metadata.name: name for name, resources in found.items() for one in resources}
        for node in execution.states:
            if (view := execution.view(node)).spec.workflow is not None:
                self.keep_here(view)
        home = placements.home
        if home is not None:
            self._count(execution.info.uid, home)
            for node, state in execution.states.items():
                if isinstance(state, AttemptState):
                    placements.known(node, state.attempt)
            if not self._is_seen(home):
                placements.give_up()

    def _place_new(self, execution: Execution, placements: Placements) -> None:
        """Choose the cluster of an execution that has none, if there is one that can take it now."""
        if self.table is not None and placements.home is None:
            found = _first(self.table, execution, self._clusters, self._shards)
            if isinstance(found, Placement) and not self.bounds.obstacle(found.cluster):
                self._settle(execution, placements, found)

    def _is_seen(self, name: str) -> bool:
        """Whether the caches show everything that runs in a cluster."""
        member = self._clusters.members.get(name)
        return not name or (member is not None and member.is_synced)

    def place(self, node: NodeView, attempt: int) -> Refused | None:
        """Choose the cluster of an attempt that is to be launched. Returns why it has to wait, None if it need not."""
        execution = node.execution
        placements = execution.placements
        if placements is None:
            placements = execution.placements = Placements("")
        if not placements.is_placed(node.number, attempt):
            found = placements.found and placements.found.get(execution.pod_name(node.number, attempt))
            if found:
                placements.place(node.number, attempt, found)
                return self._wait_for_cluster(node, attempt)
            if self.table is None and placements.home is None:
                if self.missing:
                    return self._wait(node, attempt, self.missing)
                placements.settle("", "there is no routing table")
            if self.table is not None and placements.home != "" and (why := self._choose(self.table, node, attempt)):
                return self._wait(node, attempt, why)
            assert placements.home is not None
            cluster = placements.cluster_of(node.number, attempt)
            placements.place(node.number, attempt, placements.home if cluster is None else cluster)
        return self._wait_for_cluster(node, attempt)

    def keep_here(self, node: NodeView) -> None:
        """The attempts of this node are in the cluster of the FlyteWorkflows, as they are executions."""
        placements = node.execution.placements
        if placements is None:
            placements = node.execution.placements = Placements("")
        placements.keep_here(node.number)

    def _wait_for_cluster(self, node: NodeView, attempt: int) -> Refused | None:
        placements = node.execution.placements
        assert placements is not None
        name = placements.cluster_of(node.number, attempt)
        if why := self._clusters.obstacle(name) or self.bounds.obstacle(name):
            return self._wait(node, attempt, why)
        if name and (cluster := self._clusters.named(name)) is not None:
            cluster.load.expect(node.execution.info.uid, _resource_of(node, attempt))
        return None

    def answered(self, node: NodeView, attempt: int, events: Iterable[NodeEvent]) -> None:
        """A launch has come to something: if to no resource, the attempt is no load of its cluster."""
        placements = node.execution.placements
        if placements is None or any(map(_may_have_resource, events)):
            return
        name = placements.cluster_of(node.number, attempt)
        if name and (cluster := self._clusters.named(name)) is not None:
            cluster.load.is_none(node.execution.info.uid, _resource_of(node, attempt))

    def changed(self) -> None:
        """The table, or the state of a cluster, is another one: attempts that wait ask again."""
        waiting, self._waiting = self._waiting, {}
        for holder in waiting.values():
            self._granted(holder)

    def forget(self, uid: str) -> None:
        """The execution has ended or is gone."""
        if uid in self._homes:
            self._count(uid, None)
            for cluster in self._clusters:
                cluster.load.forget(uid)

    def _choose(self, table: Table, node: NodeView, attempt: int) -> str:
        """Place an attempt, and its execution if it has no cluster or cannot stay; returns why it waits, if it does."""
        execution, placements = node.execution, node.execution.placements
        assert placements is not None
        whole = whole_of(execution)
        if placements.home is None:
            found = _first(table, execution, self._clusters, self._shards)
            if isinstance(found, Waiting):
                return found.reason
            if why := self.bounds.obstacle(found.cluster):
                return why
            self._settle(execution, placements, found)
        home = placements.home or ""
        subject = attempt_of(node, detailed=table.has_task_rules)
        found = decide_with_quotas(table, subject, self._clusters, execution, home)
        if isinstance(found, Waiting):
            return found.reason
        if why := self.bounds.obstacle(found.cluster):
            return why
        if found.cluster != home:
            moved = decide(table, whole, self.states, home)
            if isinstance(moved, Placement) and moved.cluster != home and not self.bounds.obstacle(moved.cluster):
                self._settle(execution, placements, moved)
        if self._clusters.members[found.cluster].is_synced:
            placements.place(node.number, attempt, found.cluster)
            return ""
        return self._clusters.obstacle(found.cluster)

    def _settle(self, execution: Execution, placements: Placements, found: Placement) -> None:
        begun = {(node, state.attempt) for node, state in execution.states.items() if isinstance(state, AttemptState)}
        kept = [one for one in begun if placements.is_placed(*one)]
        if placements.home not in {None, found.cluster}:
            _give_up_unseen(execution, placements)
        stopping = [(node, attempt) for node, attempts in execution.stops.pods.items() for attempt in attempts]
        placements.settle(found.cluster, found.reason, [*kept, *stopping])
        self._count(execution.info.uid, found.cluster)

    def _count(self, uid: str, home: str | None) -> None:
        before = self._homes.pop(uid, None)
        if home is not None:
            self._homes[uid] = home
        for name, change in ((before, -1), (home, 1)):
            if name and (member := self._clusters.members.get(name)) is not None:
                member.executions += change

    def recount(self) -> None:
        """The table has other clusters: count the executions of each."""
        for member in self._clusters.members.values():
            member.executions = 0
        for home in self._homes.values():
            if (found := self._clusters.members.get(home)) is not None:
                found.executions += 1

    def _wait(self, node: NodeView, attempt: int, why: str) -> Refused:
        holder = holder_of(node, attempt)
        self._waiting[holder.claim] = holder
        before = refusals_of(node)
        refusals = Refusals(before.tries, before.since or self._clock.now(), before.denied, why)
        after = LOOK_SECONDS * random.uniform(1.0, 2.0)
        return Refused(attempt, why, after, refusals, repeats=before.reason == why, queued=True)


def _first(table: Table, execution: Execution, clusters: Clusters, shards: LabelShards | None) -> Placement | Waiting:
    """Decide about an execution without a cluster. It belongs to the one in whose shard it is."""
    named = "" if shards is None else cluster_of_key(shards.name_of(execution.info.labels))
    return decide_with_quotas(table, whole_of(execution), clusters, execution, named)


def _give_up_unseen(execution: Execution, placements: Placements) -> None:
    """Let nodes that have not started, and whose attempt was begun where the execution leaves, begin with the next one:
    no pod shows that attempt, as after a restore of its cluster, and it would be launched under its number elsewhere.
    """
    info, started = execution.info, {execution.unique_id(node) for node in execution.states}
    for name, one in execution.observed_attempts.items():
        if name not in started and pod_name(info.name, name, one.attempt) not in placements.found:
            execution.observed_attempts[name] = ObservedAttempt(one.attempt + 1, one.system_failures + 1)


def _resource_of(node: NodeView, attempt: int) -> str:
    return f"{node.execution.info.namespace}/{node.execution.pod_name(node.number, attempt)}"


def _may_have_resource(event: NodeEvent) -> bool:
    return isinstance(event, Launched | AttemptObserved) or (isinstance(event, Refused) and event.may_exist)
