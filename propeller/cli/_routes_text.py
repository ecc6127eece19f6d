"""What `propeller routes` says, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from propeller.cli._table import table
from propeller.routing import Candidate, Explanation, Move, Placement, Simulation

MAX_MOVES = 20


def explanation_lines(found: Explanation, *, all_rules: bool) -> Iterator[str]:
    """The outcome, the rules up to the one that decides, and the clusters that were candidates."""
    yield outcome(found)
    yield ""
    yield "rules, in their order:"
    left = 0
    for rule in found.rules:
        if rule.decides:
            yield f"  {rule.rule}: matches, and decides"
            if not all_rules:
                left = len(found.rules) - found.rules.index(rule) - 1
                break
        elif rule.matches:
            yield f"  {rule.rule}: matches, too late"
        else:
            yield f"  {rule.rule}: no: {'; '.join(rule.misses)}"
    if left:
        yield f"  and {left} after it, which are not asked (--all-rules)"
    if found.candidates:
        yield ""
        yield from table(("POOL", "CLUSTER", "PRIORITY", "WEIGHT", "SCORE", "STATE"), map(_candidate, found.candidates))


def outcome(found: Explanation) -> str:
    """One line."""
    if isinstance(found.outcome, Placement):
        return f"cluster {found.outcome.cluster}: {found.outcome.reason}"
    return f"waits: {found.outcome.reason}"


def _candidate(one: Candidate) -> Sequence[object]:
    pool = f"{one.pool} (fallback)" if one.fallback else one.pool
    score = "-" if one.score is None else f"{one.score:.3f}"
    return pool, one.cluster, one.priority, f"{one.weight:g}", score, one.obstacle or "can take it"


def simulation_lines(found: Simulation) -> Iterator[str]:
    """How many move, what each cluster has, and the first that move."""
    plural = "" if found.executions == 1 else "s"
    yield f"{found.executions} execution{plural}: {len(found.moves)} would move, {found.waiting} would wait"
    if found.unplaced:
        yield f"{found.unplaced} have no cluster yet"
    yield ""
    total = max(found.executions, 1)
    yield from table(
        ("CLUSTER", "NOW", "AFTER", "IF ALL WERE NEW"),
        ((one.cluster, one.before, one.after, f"{one.anew} ({one.anew / total:.1%})") for one in found.shares),
    )
    if found.moves:
        yield ""
        yield from table(("EXECUTION", "FROM", "TO", "WHY"), map(_move, found.moves[:MAX_MOVES]))
    if len(found.moves) > MAX_MOVES:
        yield f"and {len(found.moves) - MAX_MOVES} more (--output json)"


def _move(one: Move) -> Sequence[object]:
    return one.execution, one.before, one.after or "(waits)", one.reason
