"""Why a decision comes out as it does: each rule, matched or why not, and the clusters that were candidates.

Guarantees
    Pure, and the outcome is `decide`'s own.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from propeller.routing._decide import States, decide, obstacle
from propeller.routing._subject import Placement, Subject, Waiting
from propeller.routing._table import CompiledRule, Table, Target, takes_new


class RuleVerdict(msgspec.Struct, frozen=True):
    """What a rule says of a subject. `misses` are the conditions that do not hold, each with what was found instead;
    one that matches and is not `decides` comes after the one that does.
    """

    rule: str
    decides: bool
    matches: bool
    misses: tuple[str, ...] = ()


class Candidate(msgspec.Struct, frozen=True):
    """A cluster of one of the rule's pools. `score` is that of rendezvous hashing, None if the cluster takes no new
    work; `obstacle` is why it cannot take this ("is cordoned"), "" if it can.
    """

    cluster: str
    pool: str
    fallback: bool
    priority: int
    weight: float
    score: float | None
    obstacle: str


class Explanation(msgspec.Struct, frozen=True):
    """`candidates` are in the order in which they are asked."""

    outcome: Placement | Waiting
    rules: tuple[RuleVerdict, ...]
    candidates: tuple[Candidate, ...]


def explain(table: Table, subject: Subject, states: States, current: str = "") -> Explanation:
    """As `decide`, with everything that leads to it."""
    deciding = table.rule_for(subject)
    rules = tuple(_verdict(rule, subject, decides=rule is deciding) for rule in table.rules)
    candidates = () if deciding is None else tuple(_candidates(deciding, subject, states))
    return Explanation(decide(table, subject, states, current), rules, candidates)


def _verdict(rule: CompiledRule, subject: Subject, *, decides: bool) -> RuleVerdict:
    if rule.is_about_tasks and subject.task is None:
        return RuleVerdict(rule.name, False, False, ("it is about tasks, and this is an execution as a whole",))
    misses = tuple(
        f"it asks for {condition}, and here is {condition.found(subject)}"
        for condition in rule.conditions.values()
        if not condition.holds(subject)
    )
    return RuleVerdict(rule.name, decides, not misses, misses)


def _candidates(rule: CompiledRule, subject: Subject, states: States) -> Iterator[Candidate]:
    for target in rule.targets:
        scores = {name: score for tier in target.tiers for score, name in tier.hashing.ranking(subject.key)}
        found = [_candidate(target, name, scores.get(name), subject, states) for name in _names(target)]
        yield from sorted(found, key=_order)


def _names(target: Target) -> list[str]:
    return [cluster.name for cluster in target.members]


def _candidate(target: Target, name: str, score: float | None, subject: Subject, states: States) -> Candidate:
    cluster = next(one for one in target.members if one.name == name)
    why = obstacle(cluster, states, fallback=target.fallback, is_task=subject.task is not None)
    assert (score is None) is not takes_new(cluster, fallback=target.fallback)
    return Candidate(name, target.pool, target.fallback, cluster.priority, cluster.weight, score, why)


def _order(candidate: Candidate) -> tuple[bool, int, float, str]:
    score = candidate.score
    return score is None, -candidate.priority, -(score or 0.0), candidate.cluster
