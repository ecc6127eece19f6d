"""Tokens of the resource manager in one process: what a claim costs, alone and among a thousand tenants that wait;
memory of a million that wait; and how fair shares are when tenants flood it, in virtual time.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator

from loadtest import _killed_tokens, _redis_tokens
from loadtest._line import Line
from propeller.errors import Invalid
from propeller.resourcemgr import Claim, Ledger, Limits, MemoryTokens, Pool, Tenant

PAIRS, TENANTS, SLOTS = 200_000, 1000, 80
WEIGHTS = {"one": 1.0, "two": 2.0, "four": 4.0}
FAIR_SLOTS, TASK_SECONDS = 40, 20
_NEEDS = (("hive", 1),)


def measure(scale: float, backend: str = "memory", peer: str | None = None) -> Iterator[Line]:
    if peer is not None and backend != "redis":
        raise Invalid(f"--peer {peer} shares its tokens in Redis: give --backend redis, too")
    if backend == "redis":
        yield from _redis_tokens.measure(scale) if peer is None else _killed_tokens.measure(scale)
        return
    pairs, waiting = max(1000, round(PAIRS * scale)), max(10_000, round(1_000_000 * scale))
    yield Line(name="acquire and release, three pools, nobody waits", value=_alone(pairs), unit="us", budget=5)
    yield Line(name="the same while 1,000 tenants wait", value=_contended(pairs // 4), unit="us", budget=20)
    wake = asyncio.run(_wakes(200))
    yield Line(name="from a release to the call of the next one, median", value=wake * 1e3, unit="ms", budget=1)
    memory = _memory(waiting)
    yield Line(name=f"{waiting:,} claims that wait", value=memory, unit="MiB", budget=500 * waiting / 1_000_000)
    yield from _fairness(max(1000, round(50_000 * scale)))


def _ledger(granted: list[str]) -> Ledger:
    pools = (
        Pool(name="all", capacity=1000),
        Pool(name="cluster", capacity=500, parent="all"),
        Pool(name="hive", capacity=SLOTS, parent="cluster"),
    )
    return Ledger(Limits(pools=pools), 0.0, granted.append, lambda *_: None)


def _claim(number: int, tenants: int) -> Claim:
    return Claim(f"execution-{number // 100}/n{number}-0", (f"project-{number % tenants}", "production"), _NEEDS)


def _alone(pairs: int) -> float:
    """Microseconds."""
    ledger, claims = _ledger([]), [_claim(number, 60) for number in range(60)]
    began = time.perf_counter()
    for _ in range(pairs // len(claims)):
        for claim in claims:
            ledger.acquire(claim, 0.0)
        for claim in claims:
            ledger.release(claim.id, 0.0)
    return (time.perf_counter() - began) * 1e6 / pairs


def _contended(pairs: int) -> float:
    """Microseconds. Each release grants one of those that wait, and another claim comes."""
    granted: list[str] = []
    ledger = _ledger(granted)
    number = 20 * TENANTS
    claims = [_claim(one, TENANTS) for one in range(number)]
    running = deque(claim.id for claim in claims if ledger.acquire(claim, 0.0))
    began = time.perf_counter()
    for _ in range(pairs):
        ledger.release(running.popleft(), 0.0)
        running.extend(granted)
        granted.clear()
        number += 1
        ledger.acquire(_claim(number * 7919, TENANTS), 0.0)
    return (time.perf_counter() - began) * 1e6 / pairs


async def _wakes(count: int) -> float:
    """Seconds, at the median."""
    tokens = MemoryTokens(Limits(pools=(Pool(name="hive", capacity=1),)))
    took: list[float] = []
    tokens.request(_claim(0, 1), lambda: None, lambda _: None)
    for number in range(1, count):
        called = asyncio.Event()
        tokens.request(_claim(number, 1), called.set, lambda _: None)
        began = time.perf_counter()
        tokens.release(_claim(number - 1, 1).id)
        await called.wait()
        took.append(time.perf_counter() - began)
        tokens.use(_claim(number, 1).id)
    tokens.close()
    return statistics.median(took)


def _memory(count: int) -> float:
    """MiB that they add, measured in a process of its own."""
    code = f"from loadtest._tokens import fill; print(fill({count}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def fill(count: int) -> float:
    """MiB that so many claims add to this process that wait."""
    ledger = _ledger([])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        ledger.acquire(_claim(number, TENANTS), 0.0)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


class _Cluster:
    """Slots on which tasks of `TASK_SECONDS` run, in virtual seconds."""

    def __init__(self, tenants: tuple[Tenant, ...]) -> None:
        self.now = 0
        self.waited: dict[str, list[int]] = {}
        self.busy: Counter[str] = Counter()
        """Slot seconds of each tenant."""
        self._began: dict[str, tuple[str, int]] = {}
        self._ends: deque[tuple[int, str, str]] = deque()
        self._number = 0
        pools = (Pool(name="slots", capacity=FAIR_SLOTS),)
        self._ledger = Ledger(Limits(pools=pools, tenants=tenants), 0.0, self._granted, lambda *_: None)

    def submit(self, tenant: str, owner: str, count: int) -> None:
        """Tasks of `owner`, whose turn is that of `tenant`."""
        for _ in range(count):
            self._number += 1
            name = f"{owner}-{self._number}"
            self._began[name] = owner, self.now
            if self._ledger.acquire(Claim(name, (tenant,), (("slots", 1),)), self.now):
                self._granted(name)

    def _granted(self, name: str) -> None:
        owner, since = self._began.pop(name)
        self.waited.setdefault(owner, []).append(self.now - since)
        self._ends.append((self.now + TASK_SECONDS, name, owner))

    def run(self, seconds: int) -> None:
        """Tasks that began together end together: their slots come free at once."""
        for _ in range(seconds):
            self.now += 1
            while self._ends and self._ends[0][0] <= self.now:
                self._ledger.release(self._ends.popleft()[1], self.now)
            self.busy.update(owner for _, _, owner in self._ends)


def _fairness(flood: int) -> Iterator[Line]:
    weighted = _Cluster(tuple(Tenant(name=name, weight=weight) for name, weight in WEIGHTS.items()))
    weighted.submit("before", "before", FAIR_SLOTS)  # all slots come free at once, when each has thousands that wait
    for name in WEIGHTS:
        weighted.submit(name, name, flood // 3)
    weighted.run(TASK_SECONDS - 1)
    weighted.busy.clear()
    weighted.run(min(2000, flood // 3 * TASK_SECONDS // FAIR_SLOTS // 2))
    held, total = weighted.busy, sum(WEIGHTS.values())
    shares = [held[name] / held.total() / (weight / total) for name, weight in WEIGHTS.items()]
    jain = sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
    off = round(100 * max(abs(share - 1) for share in shares), 6)
    yield Line(name="weights 1:2:4, shares: largest distance from the ideal", value=off, unit="%", budget=1)
    yield Line(name="  that Jain's index is below 1 by", value=1 - jain, unit="", budget=0.01)
    fair, fifo = (_waits_beside_a_flood(flood, is_fair=is_fair) for is_fair in (True, False))
    yield Line(name=f"5 tasks beside {flood:,} of 20 s: longest wait", value=fair, unit="s", budget=TASK_SECONDS)
    yield Line(name="  the same, first come first served", value=fifo, unit="s")


def _waits_beside_a_flood(flood: int, *, is_fair: bool) -> float:
    """Virtual seconds that the last of a small tenant's tasks waits."""
    cluster = _Cluster(())
    cluster.submit("flood", "flood", flood)
    cluster.run(3)
    cluster.submit("small" if is_fair else "flood", "small", 5)
    cluster.run(TASK_SECONDS * (1 if is_fair else flood // FAIR_SLOTS + 2))
    return float(max(cluster.waited["small"]))
