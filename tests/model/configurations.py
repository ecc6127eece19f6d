"""What is searched: small executions, with the faults that may come and the promises that are asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tests.model.states import Left


@dataclass(frozen=True)
class Configuration:
    """One state space. Nodes go by their numbers; `after[n]` are those that n follows."""

    name: str
    nodes: str
    after: tuple[tuple[int, ...], ...]
    faults: Left
    attempts: int = 1
    """Of each node, as far as the user's own failures go."""
    system_retries: int = 0
    fails: str = ""
    """Nodes whose pods may fail."""
    overdue: str = ""
    """Nodes whose pods may run for ever, and run out of time; they may end well all the same, at any moment."""
    fails_at_once: bool = True
    """The failure policy: FAIL_IMMEDIATELY, else FAIL_AFTER_EXECUTABLE_NODES_COMPLETE."""
    handler: int = -1
    """The failure node."""
    processes: int = 1
    looks: bool = False
    """Whether the timer of UNSEEN is part of it."""
    prompt: bool = False
    """Whether an effect has its turn as soon as it is begun: the pool has room."""
    instant: bool = False
    """Whether requests have their effect and their answer in the same moment, too."""
    late: bool = False
    """Whether a request that nobody waits for may have its effect after the pod it names was deleted."""
    slow_stops: bool = False
    """Whether a pod that is asked to stop is there for a while, being deleted."""
    sidecars: str = ""
    """Nodes whose pods may run on after their tasks have ended."""
    graceful: bool = False
    """Whether a pod that others delete has a grace period, in which it may end well."""
    early: bool = False
    """Whether an attempt may run out of time before its launch is answered."""
    not_promised: frozenset[str] = frozenset()
    planted: frozenset[str] = frozenset()
    """Defects of the protocol (tests/model/defects.py)."""

    @cached_property
    def width(self) -> int:
        """Attempts that a node may have."""
        return self.attempts + self.system_retries

    def of(self, number: int, attempt: int) -> str:
        """A pod's name."""
        return f"{self.nodes[number]}-{attempt}"
