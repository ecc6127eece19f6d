"""Where an execution or an attempt goes.

    1. The first rule that matches decides. If none does, it waits.
    2. An execution that has a cluster keeps it, with its attempts, while the rule's pool or a fallback has that
       cluster, and it is healthy and not draining. For an attempt, it also has to have room for a pod.
    3. Otherwise the rule's pool is asked, then its fallbacks in their order. In each, of the clusters that can take it,
       those of the highest priority are candidates, and weighted rendezvous hashing chooses one. If none can, it waits.
       It never goes anywhere else.

A rule about tasks places attempts beside their execution's cluster: point 2 does not apply, but that cluster is chosen
in 3 if it is a candidate.

Guarantees
    Pure: the same table, subject, states and current cluster give the same answer in every process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from propeller.routing._conditions import MAX_SHOWN, NAMES
from propeller.routing._declared import Capacity, Cluster, State
from propeller.routing._subject import NOTHING_KNOWN, ClusterState, Placement, Subject, Waiting
from propeller.routing._table import CompiledRule, Table, Target, Tier, takes_new
from propeller.text import bounded, one_line

States = Mapping[str, ClusterState]
"""By the cluster's name. One that is left out is healthy and empty."""

MAX_REASONS = 10
"""Clusters of which a message says why they cannot take something."""


def decide(table: Table, subject: Subject, states: States, current: str = "") -> Placement | Waiting:
    """`current` is the cluster that the execution has, "" for none yet."""
    rule = table.rule_for(subject)
    if rule is None:
        return Waiting(f"no rule of the routing table matches {_shown(subject)}")
    is_task = subject.task is not None
    if current and not rule.is_about_tasks and (kept := _kept(table, rule, states, current, is_task=is_task)):
        return kept
    for target in rule.targets:
        if chosen := _chosen(table, target, subject, states, current):
            return _placed(rule, target, chosen, states, current, is_task=is_task)
    reasons = _why_not(rule.targets, states, is_task=is_task)
    return Waiting(f"no cluster can take it: rule {rule.name}: {reasons}", rule.name)


def _kept(table: Table, rule: CompiledRule, states: States, current: str, *, is_task: bool) -> Placement | None:
    for target in rule.targets:
        if current in target.keeps:
            state = states.get(current, NOTHING_KNOWN)
            if state.healthy and not (is_task and _has_no_room_for_pods(table.clusters[current].capacity, state)):
                reason = f"rule {rule.name}: it stays on {current}, of pool {target.pool}"
                return Placement(current, target.pool, rule.name, reason, target.fallback, kept=True)
            return None
    return None


def _chosen(table: Table, target: Target, subject: Subject, states: States, current: str) -> str:
    """The cluster of a pool that can take the subject; "" if none can. The current one goes before others of its
    priority, and may be one that takes no new executions.
    """
    is_task, clusters = subject.task is not None, table.clusters
    near = current in target.keeps and _room(clusters[current].capacity, states.get(current), is_task=is_task)
    for tier in target.tiers:
        if near and clusters[current].priority >= tier.priority:
            return current
        if best := _best(table, tier, subject, states, is_task=is_task):
            return best
    return current if near else ""


def _best(table: Table, tier: Tier, subject: Subject, states: States, *, is_task: bool) -> str:
    """The cluster of these with the highest score that can take the subject; "" if none can."""
    scores, clusters = tier.hashing.scores(subject.key), table.clusters
    first = tier.names[scores.index(max(scores))]
    if _room(clusters[first].capacity, states.get(first), is_task=is_task):
        return first
    for place in sorted(range(len(scores)), key=scores.__getitem__, reverse=True):
        name = tier.names[place]
        if _room(clusters[name].capacity, states.get(name), is_task=is_task):
            return name
    return ""


def _room(capacity: Capacity, state: ClusterState | None, *, is_task: bool) -> bool:
    """Whether a cluster that takes new work can take this. A task counts as a pod, and adds no execution."""
    if state is None:
        state = NOTHING_KNOWN
    if not state.healthy or _has_no_room_for_pods(capacity, state):
        return False
    return is_task or capacity.executions is None or state.executions < capacity.executions


def _has_no_room_for_pods(capacity: Capacity, state: ClusterState) -> bool:
    return bool(state.full) or _is_full_of_pods(capacity, state)


def _is_full_of_pods(capacity: Capacity, state: ClusterState) -> bool:
    return capacity.pods is not None and state.pods >= capacity.pods


def _placed(
    rule: CompiledRule, target: Target, chosen: str, states: States, current: str, *, is_task: bool
) -> Placement:
    reason = f"rule {rule.name}: {chosen}, of pool {target.pool}"
    if target.fallback:
        before = rule.targets[: rule.targets.index(target)]
        reason += f", a fallback: {_why_not(before, states, is_task=is_task)}"
    return Placement(chosen, target.pool, rule.name, reason, target.fallback, kept=chosen == current)


def _why_not(targets: tuple[Target, ...], states: States, *, is_task: bool) -> str:
    """Why no cluster of these pools can take something."""
    reasons = {
        cluster.name: f"{cluster.name} {obstacle(cluster, states, fallback=target.fallback, is_task=is_task)}"
        for target in targets
        for cluster in target.members
    }
    shown = list(reasons.values())[:MAX_REASONS]
    more = f" and {len(reasons) - MAX_REASONS} more" if len(reasons) > MAX_REASONS else ""
    return ", ".join(shown) + more


def obstacle(cluster: Cluster, states: States, *, fallback: bool, is_task: bool) -> str:
    """Why a cluster cannot take new work ("is draining"); "" if it can."""
    state, capacity = states.get(cluster.name, NOTHING_KNOWN), cluster.capacity
    if not takes_new(cluster, fallback=fallback):
        if cluster.state is State.BAKE and cluster.weight > 0:
            return "bakes, and is no fallback"
        return f"is {cluster.state}" if cluster.state is not State.ACTIVE else "has weight 0"
    if not state.healthy:
        return f"is unhealthy ({one_line(bounded(state.reason, MAX_SHOWN))})" if state.reason else "is unhealthy"
    if _is_full_of_pods(capacity, state):
        return f"is full ({state.pods} of {capacity.pods} pods)"
    if state.full:
        return f"is full ({one_line(bounded(state.full, MAX_SHOWN))})"
    if not is_task and capacity.executions is not None and state.executions >= capacity.executions:
        return f"is full ({state.executions} of {capacity.executions} executions)"
    return ""


def _shown(subject: Subject) -> str:
    """The subject's names, for a message."""
    return ", ".join(_names(subject)) or "an execution of which nothing is known"


def _names(subject: Subject) -> Iterator[str]:
    for what, get in NAMES.values():
        if value := get(subject):
            yield f"{what} {one_line(bounded(value, MAX_SHOWN))}"
