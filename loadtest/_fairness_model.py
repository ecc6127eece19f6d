"""A flood of tasks on a ledger of tokens, in virtual time: shares of tenants, and waits of a small one, exactly."""

from __future__ import annotations

import heapq
from collections import deque

from loadtest._flood import SMALL, WEIGHTS
from loadtest._shares import Span
from propeller.resourcemgr import Claim, Ledger, Limits, Pool, Tenant

POOL = "slots"


class Cluster:
    """Slots on which tasks run, in virtual seconds. `spans` are of tasks that have begun; `waits` of the small one."""

    def __init__(self, slots: int, seconds: float) -> None:
        self.now = 0.0
        self.spans: list[Span] = []
        self.waits: list[float] = []
        self._seconds = seconds
        self._submitted: dict[str, tuple[str, float]] = {}
        self._ends: list[tuple[float, int, str]] = []
        self._numbers = 0
        self._granted: deque[str] = deque()
        tenants = tuple(Tenant(name=name, weight=weight) for name, weight in WEIGHTS.items())
        limits = Limits(pools=(Pool(name=POOL, capacity=slots),), tenants=tenants)
        self._ledger = Ledger(limits, 0.0, self._granted.append, lambda *_: None)

    def submit(self, tenant: str, count: int, *, turn_of: str = "") -> None:
        """Tasks of a tenant, which take turns as those of another if `turn_of` says so."""
        for _ in range(count):
            self._numbers += 1
            name = f"{tenant}-{self._numbers}"
            self._submitted[name] = tenant, self.now
            if self._ledger.acquire(Claim(name, (turn_of or tenant,), ((POOL, 1),)), self.now):
                self._begin(name, self._seconds)

    def stagger(self) -> None:
        """Have those that run now end one after the other, as if they had begun so."""
        count = len(self._ends)
        ends = [(self.now + self._seconds * (at + 1) / count, at, name) for at, (_, _, name) in enumerate(self._ends)]
        self.spans = [Span(one.tenant, one.began, end) for one, (end, _, _) in zip(self.spans, ends, strict=True)]
        self._ends = ends
        heapq.heapify(self._ends)

    def run(self, until: float) -> None:
        while self._ends and self._ends[0][0] <= until:
            self.now = self._ends[0][0]
            while self._ends and self._ends[0][0] <= self.now:
                self._ledger.release(heapq.heappop(self._ends)[2], self.now)
            while self._granted:
                self._begin(self._granted.popleft(), self._seconds)
        self.now = until

    def _begin(self, name: str, seconds: float) -> None:
        tenant, since = self._submitted.pop(name)
        if tenant == SMALL:
            self.waits.append(self.now - since)
        self._numbers += 1
        self.spans.append(Span(tenant, self.now, self.now + seconds))
        heapq.heappush(self._ends, (self.now + seconds, self._numbers, name))


def flooded(flood: int, slots: int, seconds: float, *, together: bool) -> Cluster:
    """Tenants of weight 1:2:4, each with `flood // 3` tasks, run until the first has half of them left."""
    cluster = Cluster(slots, seconds)
    cluster.submit("before", slots)  # so that all that begins is a turn, and not who came first
    if not together:
        cluster.stagger()
    for name in WEIGHTS:
        cluster.submit(name, flood // len(WEIGHTS))
    heaviest = max(WEIGHTS.values()) / sum(WEIGHTS.values())
    cluster.run(flood / len(WEIGHTS) / 2 / (slots * heaviest) * seconds)
    return cluster


def small_waits(flood: int, slots: int, seconds: float, *, is_fair: bool, probes: int = 200) -> list[float]:
    """Waits of a small tenant's single tasks beside a flood of one tenant, in turns or first come, first served."""
    cluster = Cluster(slots, seconds)
    cluster.submit("before", slots)
    cluster.stagger()
    cluster.submit("flood", flood)
    lasts = flood / slots * seconds
    for probe in range(probes):
        cluster.run(lasts * probe / probes)
        cluster.submit(SMALL, 1, turn_of="" if is_fair else "flood")
    cluster.run(lasts * 2)
    return cluster.waits
