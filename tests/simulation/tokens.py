"""A pool that all tasks of a world share, and that none of its controllers may take more of than there is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from propeller.controller import WorkflowController
from propeller.resourcemgr import Claim, Pool, PoolUsage, ResourceOptions, Rule, Tenant, kept_of
from tests.simulation.event_log import EventLog
from tests.simulation.shared import SharedPools

POOL = "slots"

PROJECT = "ns"
"""That all workflows are of."""

ABSENT = "absent"
"""A tenant without workflows."""


class Tokens:
    """In some worlds every attempt takes a token. Each controller counts for itself: those attempts that it began, and
    those that were there when it started. In half of them, `live`, the pool's capacity and other limits change while it
    works (`limits`). In most of the others two controllers `share` the pool in a store (`shared`). In a third of those
    whose limits do not change the pool is twice as large, and a tenant that has no tasks lends nothing of its half.
    """

    always: ClassVar[bool] = False
    """Whether controllers that divide the workflows share tokens in every world."""

    def __init__(self, seed: int, event_log: EventLog) -> None:
        self._seed = seed
        rng = random.Random(f"tokens {seed}")
        self.used = rng.random() < 0.15
        self.capacity = rng.choice((1, 2, 4))
        self.live = self.used and random.Random(f"live limits {seed}").random() < 0.5
        self._is_kept = random.Random(f"lending {seed}").random() < 1 / 3
        is_shared = self.used and not self.live and random.Random(f"shared tokens {seed}").random() < 0.7
        self.shared: SharedPools | None = SharedPools(seed, event_log) if is_shared else None
        self._event_log = event_log
        self._started: dict[str, float] = {}
        self._views: dict[str, View] = {}

    def divided(self) -> None:
        """Have none in this world whose controllers divide the workflows, or, in a third of them, shared ones."""
        rng = random.Random(f"tokens of shards {self._seed}")
        self.live = False
        self.used = rng.random() < 1 / 3 or self.always
        self.shared = SharedPools(self._seed, self._event_log) if self.used else None

    @property
    def options(self) -> ResourceOptions:
        """Settings of this world's controllers. Tokens in doubt stay out for longer than any watch is late."""
        if not self.used:
            return ResourceOptions(fair_queues=False)
        is_kept = self._is_kept and not self.live
        tenants = Tenant(name=PROJECT), Tenant(name=ABSENT, lending={POOL: 0})
        return ResourceOptions(
            pools=(Pool(name=POOL, capacity=self.capacity * (2 if is_kept else 1)),),
            tenants=tenants if is_kept else (),
            rules=(Rule(pools={POOL: 1}),),
            unused_grant=3600.0,
            fair_queues=self.live,
        )

    def starts(self, who: str) -> None:
        """A controller starts, or starts anew."""
        self._started[who] = self._event_log.time()

    def follow(self, who: str, controller: WorkflowController) -> None:
        """Look into that controller's tokens from now on."""
        if self.live:
            self._views[who] = View(controller)

    def capacity_in_force(self, who: str) -> int | None:
        """That a controller has."""
        return self._views[who].pool.capacity

    def created(self, who: str, name: str, others: Iterable[tuple[str, float]]) -> None:
        """A pod was created beside others that have not stopped: who created each of them, and when."""
        if not self.used:
            return
        since = self._started.get(who, 0.0)
        if self.shared is not None and who in self.shared.out:
            return  # others may have got its tokens: it has no more than it had
        count = 1 + sum(creator == who or at < since or self._are_counted(creator) for creator, at in others)
        if not self.live:
            if count > self.capacity:
                self._event_log.violation(f"{name} is one of {count} pods at once, and {POOL} has {self.capacity}")
        elif error := self._views[who].error(count):
            self._event_log.violation(f"{name}: {who} {error}")

    def _are_counted(self, creator: str) -> bool:
        """Whether the store has counted what another controller has created, all the time."""
        return self.shared is not None and creator not in self.shared.out

    def is_out(self, who: str) -> None:
        """A controller stands still, or was killed."""
        if self.shared is not None:
            self.shared.out.add(who)

    def used_by(self, who: str) -> AbstractContextManager[Any]:
        """Have a controller that is made within this block use the world's tokens."""
        return nullcontext() if self.shared is None else self.shared.backend(who)


class View:
    """What one controller's tokens may do while limits change: every pod has a token, and above a limit, or of what a
    tenant without tasks does not lend, nothing is granted. What is found running is counted all the same.
    """

    def __init__(self, controller: WorkflowController) -> None:
        tokens: Any = controller.limits.tokens
        followed: Any = controller.limits._followed
        self._report = tokens.report
        self._ledger = tokens._tokens.ledger
        self._left = 0
        """The most that may be out above the capacity: what a lowered limit has left, and what was found running."""
        tokens._tokens.restore = self._then_look(tokens._tokens.restore)
        followed._apply = self._then_look(followed._apply)

    @property
    def pool(self) -> PoolUsage:
        found: PoolUsage = next(pool for pool in self._report().pools if pool.name == POOL)
        return found

    def _then_look(self, function: Callable[[Any], None]) -> Callable[[Claim | ResourceOptions], None]:
        def call(argument: Claim | ResourceOptions) -> None:
            function(argument)
            self._left = self.pool.held

        return call

    def error(self, count: int) -> str:
        """What is wrong, with so many pods at once; "" if nothing is."""
        pool, left = self.pool, self._left
        self._left = min(left, pool.held)
        if count > pool.held:
            return f"has {count} pods at once, and counts {pool.held} tokens of {POOL}"
        kept = kept_of(self._ledger._registry.limits).get(POOL, {}).get((ABSENT,), 0)
        if pool.capacity is not None and pool.held > max(pool.capacity - kept, left):
            most = f"{pool.capacity}, of which {ABSENT} keeps {kept}"
            return f"has {pool.held} tokens of {POOL} out, whose capacity is {most}; {left} were left"
        return ""
