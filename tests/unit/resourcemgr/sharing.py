"""Tenants that want more than there is, each with claims of its own sizes: what each holds, by its weight."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from propeller.resourcemgr import Claim

Durations = Callable[[random.Random], float]
Sizes = Sequence[int]


class Keeper(Protocol):
    """What keeps the tokens. `now` is in seconds; `held` is what has its tokens."""

    now: float

    @property
    def held(self) -> Mapping[str, Claim]: ...

    def acquire(self, tenant: str, *needs: tuple[str, int]) -> str: ...

    def release(self, name: str) -> None: ...


class Found(msgspec.Struct):
    """Of each tenant, slot seconds relative to what its weight gives it; and the part of all that was idle."""

    shares: list[float]
    idle: float

    @property
    def off(self) -> float:
        """The largest distance from the ideal."""
        return max(abs(share - 1) for share in self.shares)

    @property
    def jain(self) -> float:
        return sum(self.shares) ** 2 / len(self.shares) / sum(share**2 for share in self.shares)


def share(
    keeper: Keeper,
    slots: int,
    weights: Sequence[float],
    sizes: Sequence[Sizes],
    durations: Durations,
    *,
    seed: int = 1,
    seconds: float = 2000.0,
) -> Found:
    """Tenants `t0`, `t1`... share the pool `slots`, which came free at once. Each has three times as many claims that
    wait as there are slots, and another one comes for each that ends.
    """
    rng = random.Random(seed)

    def ask(number: int) -> None:
        keeper.acquire(f"t{number}", ("slots", rng.choice(sizes[number])))

    block = keeper.acquire("block", ("slots", slots))
    for number in range(len(weights)):
        for _ in range(3 * slots):
            ask(number)
    keeper.release(block)
    began = last = keeper.now
    busy: Counter[str] = Counter()
    ends: list[tuple[float, str]] = []
    known: set[str] = set()
    while last - began < seconds:
        held = {name: claim for name, claim in keeper.held.items() if claim.needs[0][0] == "slots"}
        for name in sorted(held.keys() - known):
            heapq.heappush(ends, (keeper.now + durations(rng), name))
        known = set(held)
        at = ends[0][0]
        for claim in held.values():
            busy[claim.tenant[0]] += round(1000 * claim.needs[0][1] * (at - last))
        keeper.now = last = at
        while ends and ends[0][0] == at:
            name = heapq.heappop(ends)[1]
            tenant = held[name].tenant[0]
            keeper.release(name)
            ask(int(tenant[1:]))
    ideal = [busy.total() * weight / sum(weights) for weight in weights]
    shares = [busy[f"t{number}"] / of for number, of in enumerate(ideal)]
    return Found(shares, 1 - busy.total() / 1000 / slots / (last - began))
