"""What each run of a task comes to, drawn before it runs, so that a model can say what must become of its node."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

SYSTEM_RETRIES = 3


class Outcome(enum.Enum):
    """How one run ends."""

    OK = "ends well"
    EXIT = "exits 1"
    USER = "writes a USER error"
    FATAL = "writes an error that no retry mends"
    OOM = "is OOMKilled"
    NO_OUTPUTS = "writes no outputs"
    IMAGE = "never gets its image"
    HANG = "never ends"
    SYSTEM = "writes a SYSTEM error"
    EVICTED = "is evicted"
    KILLED = "is killed"
    VANISHES = "vanishes"
    LOST = "is lost with its node"
    DRAINED = "is killed by a drain"
    SPARED = "ends well in the grace that a drain has left it"

    @property
    def is_system(self) -> bool:
        return self in _SYSTEM

    @property
    def is_well(self) -> bool:
        return self in {Outcome.OK, Outcome.SPARED}


_SYSTEM = {Outcome.SYSTEM, Outcome.EVICTED, Outcome.KILLED, Outcome.VANISHES, Outcome.LOST, Outcome.DRAINED}
UNSEEN = {Outcome.VANISHES, Outcome.LOST, Outcome.DRAINED}
"""Ends that leave nothing behind that proves them: after a crash the same attempt may be launched again."""

_FAILURES = [
    outcome
    for outcome in Outcome
    if outcome not in {Outcome.OK, Outcome.HANG, Outcome.DRAINED, Outcome.SPARED}  # a module of their own has these
]


@dataclass(frozen=True)
class Script:
    """The runs of one task node, in order; after the last one it ends well."""

    outcomes: tuple[Outcome, ...]
    user_attempts: int

    def outcome(self, run: int) -> Outcome:
        return self.outcomes[run] if run < len(self.outcomes) else Outcome.OK

    def end(self) -> tuple[bool, int]:
        """Whether the node succeeds, and at which attempt (USER and SYSTEM failures have budgets of their own)."""
        system = 0
        for attempt, outcome in enumerate((*self.outcomes, Outcome.OK)):
            if outcome.is_well:
                return True, attempt
            if outcome is Outcome.FATAL:
                return False, attempt
            if outcome.is_system:
                if system >= SYSTEM_RETRIES:
                    return False, attempt
                system += 1
            elif attempt + 1 - system >= self.user_attempts:
                return False, attempt
        raise AssertionError


def draw_script(rng: random.Random, user_attempts: int, *, hangs: bool, unseen: bool, trouble: float) -> Script:
    """`hangs` where the task has a deadline; `unseen` where an attempt may be launched twice without harm."""
    outcomes: list[Outcome] = []
    while rng.random() < trouble and len(outcomes) < 6:
        outcome = Outcome.HANG if hangs and rng.random() < 0.3 else rng.choice(_FAILURES)
        system = sum(earlier.is_system for earlier in outcomes)
        if outcome in UNSEEN and (not unseen or system >= SYSTEM_RETRIES):
            outcome = Outcome.EVICTED
        if outcome.is_system and system >= SYSTEM_RETRIES and not UNSEEN.isdisjoint(outcomes):
            continue  # how much of the budget a run took that nobody saw is not known
        outcomes.append(outcome)
    return Script(tuple(outcomes), user_attempts)
