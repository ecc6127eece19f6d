"""A pool that all tasks of a world share, and that none of its controllers may take more of than there is."""

from __future__ import annotations

import random
from collections.abc import Iterable

from propeller.resourcemgr import Pool, ResourceOptions, Rule
from tests.simulation.event_log import EventLog

POOL = "slots"


class Tokens:
    """In some worlds every attempt takes a token. Each controller counts for itself: those attempts that it began, and
    those that were there when it started.
    """

    def __init__(self, seed: int, event_log: EventLog) -> None:
        rng = random.Random(f"tokens {seed}")
        self.used = rng.random() < 0.15
        self.capacity = rng.choice((1, 2, 4))
        self._event_log = event_log
        self._started: dict[str, float] = {}

    @property
    def options(self) -> ResourceOptions:
        """Settings of this world's controllers. Tokens in doubt stay out for longer than any watch is late."""
        if not self.used:
            return ResourceOptions(fair_queues=False)
        rules = (Rule(pools={POOL: 1}),)
        return ResourceOptions(
            pools=(Pool(name=POOL, capacity=self.capacity),), rules=rules, unused_grant=3600.0, fair_queues=False
        )

    def starts(self, who: str) -> None:
        """A controller starts, or starts anew."""
        self._started[who] = self._event_log.time()

    def created(self, who: str, name: str, others: Iterable[tuple[str, float]]) -> None:
        """A pod was created beside others that have not stopped: who created each of them, and when."""
        if not self.used:
            return
        since = self._started.get(who, 0.0)
        count = 1 + sum(creator == who or at < since for creator, at in others)
        if count > self.capacity:
            self._event_log.violation(f"{name} is one of {count} pods at once, and {POOL} has {self.capacity}")
