"""What a change of the table would do to executions that run: which would move, and how many each cluster would have.

Guarantees
    Pure. The states are those of before the change: an execution that moves is not counted where it comes to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from propeller.routing._decide import States, decide
from propeller.routing._subject import Placement, Subject
from propeller.routing._table import Table


class Running(msgspec.Struct, frozen=True):
    """An execution that has not ended. `cluster` is the one that it has, "" if that is not known."""

    subject: Subject
    cluster: str = ""


class Move(msgspec.Struct, frozen=True):
    """An execution whose new attempts would go elsewhere; `after` is "" if it would wait."""

    execution: str
    before: str
    after: str
    reason: str


class Share(msgspec.Struct, frozen=True):
    """Of one cluster: executions `before` and `after` the change, and `anew`, if all of them were placed for the first
    time by the new table.
    """

    cluster: str
    before: int
    after: int
    anew: int


class Simulation(msgspec.Struct, frozen=True):
    """`unplaced` executions have no cluster yet: they wait, or nothing is known of them."""

    executions: int
    moves: tuple[Move, ...]
    shares: tuple[Share, ...]
    unplaced: int
    waiting: int
    """That would wait after the change."""


def simulate(old: Table | None, new: Table, running: Iterable[Running], states: States) -> Simulation:
    """What `new` in the place of `old` would do. The cluster of an execution that is not known is the one that the old
    table would choose, if there is one.
    """
    moves: list[Move] = []
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    anew: Counter[str] = Counter()
    for one in running:
        current = one.cluster or _cluster(old, one.subject, states)
        found = decide(new, one.subject, states, current)
        chosen = found.cluster if isinstance(found, Placement) else ""
        before[current] += 1
        after[chosen] += 1
        anew[_cluster(new, one.subject, states)] += 1
        if current and chosen != current:
            moves.append(Move(one.subject.key, current, chosen, found.reason))
    names = dict.fromkeys([*(old.clusters if old is not None else ()), *new.clusters, *sorted(before)])
    shares = tuple(Share(name, before[name], after[name], anew[name]) for name in names if name)
    return Simulation(before.total(), tuple(moves), shares, before[""], after[""])


def _cluster(table: Table | None, subject: Subject, states: States) -> str:
    """Where it would go if it were new; "" if it would wait."""
    found = None if table is None else decide(table, subject, states)
    return found.cluster if isinstance(found, Placement) else ""
