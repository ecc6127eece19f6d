"""What is searched: one execution, the members that may run it, and the clusters that it may run in."""

from __future__ import annotations

from dataclasses import dataclass

from tests.model.fleet.states import Left


@dataclass(frozen=True)
class Fleet:
    """One state space. `home` is the cluster that a status has already, NOWHERE if it has none."""

    name: str
    faults: Left
    members: int = 1
    shards: bool = False
    clusters: int = 1
    home: int = 0
    allowed: tuple[int, ...] = (0,)
    """The pool of the execution; other clusters are of pools that are not its own."""
    attempts: int = 1
    """Numbers that are looked at: one that would need another waits."""
    overdue: bool = False
    """Whether an attempt may run for ever, and run out of time."""
    joined: int = 1
    """Members that are in the map when it begins."""
    instant: bool = False
    """Whether requests have their effect and their answer in the moment in which they are sent."""
    forever: bool = False
    """Whether a cluster that is away may stay away."""
    late: bool = False
    """Whether a request of a process that acts no more may have its effect after the next one has listed."""
    not_promised: frozenset[str] = frozenset()
    planted: frozenset[str] = frozenset()
    """Defects (tests/model/fleet/defects.py)."""
