"""A routing table that is in force: a declaration that was checked, compiled such that a decision is fast.

Guarantees
    Immutable, and as right as `check` is. What does not depend on the moment is computed here: the rules that may match
    a value, the clusters of a pool that may get new work at all, by priority, and their hashes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from propeller.routing._checks import check
from propeller.routing._conditions import AnyCondition, conditions_of
from propeller.routing._declared import Cluster, Declaration, Pool, Rule, State
from propeller.routing._index import Index
from propeller.routing._members import members_of
from propeller.routing._rendezvous import Rendezvous
from propeller.routing._subject import Subject


class Tier:
    """Clusters of one priority of a pool that may get new work."""

    __slots__ = ("hashing", "names", "priority")

    def __init__(self, clusters: Collection[Cluster]) -> None:
        ordered = sorted(clusters, key=lambda cluster: cluster.name)
        self.priority = ordered[0].priority
        self.names = tuple(cluster.name for cluster in ordered)
        self.hashing = Rendezvous(self.names, [cluster.weight for cluster in ordered])


class Target:
    """A pool as a rule uses it: as its own, or to fall back to."""

    __slots__ = ("fallback", "keeps", "members", "pool", "tiers")

    def __init__(self, pool: Pool, members: Iterable[Cluster], *, fallback: bool) -> None:
        """`members` in the order in which they are declared."""
        self.pool = pool.name
        self.fallback = fallback
        self.members = tuple(members)
        self.keeps = frozenset(one.name for one in self.members if one.state is not State.DRAINING)
        """Clusters whose executions may stay with all their attempts."""
        taking = [one for one in self.members if takes_new(one, fallback=fallback)]
        priorities = sorted({one.priority for one in taking}, reverse=True)
        self.tiers = tuple(Tier([one for one in taking if one.priority == priority]) for priority in priorities)
        """The highest priority first."""


def takes_new(cluster: Cluster, *, fallback: bool) -> bool:
    """Whether a cluster of a rule's pool may get new work, as far as its declaration says."""
    if cluster.state is State.BAKE:
        return cluster.weight > 0 and not fallback
    return cluster.weight > 0 and cluster.state is State.ACTIVE


class CompiledRule:
    """A rule with its conditions and the pools that it uses, its own first."""

    __slots__ = ("_ordered", "conditions", "declared", "is_about_tasks", "name", "targets")

    def __init__(self, declared: Rule, conditions: Mapping[str, AnyCondition], targets: tuple[Target, ...]) -> None:
        self.declared = declared
        self.name = declared.name
        self.conditions = conditions
        self._ordered = tuple(conditions.values())
        self.targets = targets
        self.is_about_tasks = declared.match.is_about_tasks

    def matches(self, subject: Subject) -> bool:
        if self.is_about_tasks and subject.task is None:
            return False
        return all(condition.holds(subject) for condition in self._ordered)


class Table:
    """`clusters` by name and `rules` in their order."""

    def __init__(self, declared: Declaration, *, is_checked: bool = False) -> None:
        """Raises InvalidTable, which has everything that is wrong; `is_checked` if it is known that nothing is."""
        if not is_checked:
            check(declared)
        self.declared = declared
        self.clusters: Mapping[str, Cluster] = {cluster.name: cluster for cluster in declared.clusters}
        members = members_of(declared)
        pools = {pool.name: pool for pool in declared.pools}
        own = {name: Target(pool, members[name], fallback=False) for name, pool in pools.items()}
        others = {name: Target(pool, members[name], fallback=True) for name, pool in pools.items()}
        self.rules = tuple(
            CompiledRule(
                rule,
                conditions_of(rule.match),
                (own[rule.pool], *(others[name] for name in rule.fallbacks)),
            )
            for rule in declared.rules
        )
        self.has_task_rules = any(rule.is_about_tasks for rule in self.rules)
        """Whether attempts have to be placed one by one: if not, all go where their execution is."""
        self._index = Index([rule.conditions for rule in self.rules])

    def rule_for(self, subject: Subject) -> CompiledRule | None:
        """The first rule that matches."""
        found, others = self._index.candidates(subject)
        rules = self.rules
        first = next((number for number in found if rules[number].matches(subject)), len(rules))
        for number in others:
            if number > first:
                break
            if rules[number].matches(subject):
                return rules[number]
        return rules[first] if first < len(rules) else None
