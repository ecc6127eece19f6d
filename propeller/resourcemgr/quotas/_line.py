"""Launches of one namespace that wait for room in its quotas: tenants take turns, each by who began to wait first.

Guarantees
    Turns are by weight and by the largest part of a quota that a launch takes, at every level of the tenants' tree
    (`TenantTurns`). Of a tenant, the one that has waited longest is first.
    Others that need less, or something else, may go before one whose turn it is while it does not fit, `max_bypass` of
    them; then what it needs is saved up for it, whosever turn it is.
    A launch that comes back keeps its place.
Caveats
    A tenant whose launches need more than what comes free at once gets less than its part: smaller ones go first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from propeller.resourcemgr._limits import Path
from propeller.resourcemgr._tenant_turns import Start, TenantTurns

Needs = tuple[tuple[str, str, int], ...]
"""Quota, resource and amount."""


class Waiter:
    """A launch that waits."""

    __slots__ = ("bypassed", "id", "needs", "since", "tenant")

    def __init__(self, id_: str, needs: Needs, since: float, tenant: Path) -> None:
        self.id = id_
        self.needs = needs
        self.since = since
        self.tenant = tenant
        self.bypassed = 0


class _Entry(NamedTuple):
    since: float
    number: int
    waiter: Waiter


class Line:
    """Launches of a tenant that need the same stand in one lane: if the first has no room, none of them has."""

    def __init__(self, max_bypass: int, weight_of: Callable[[Path], float] = lambda tenant: 1.0) -> None:
        self._max_bypass = max_bypass
        self._turns = TenantTurns(weight_of)
        self._waiters: dict[str, Waiter] = {}
        self._lanes: dict[tuple[Needs, Path], list[_Entry]] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._waiters)

    def __contains__(self, name: object) -> bool:
        return name in self._waiters

    def __iter__(self) -> Iterator[Waiter]:
        return iter(self._waiters.values())

    def add(self, name: str, needs: Needs, since: float, tenant: Path = ()) -> None:
        """Have a launch wait; one that waits already needs something else from now on."""
        known = self._waiters.get(name)
        if known is not None and known.needs == needs:
            return
        waiter = self._waiters[name] = Waiter(name, needs, since if known is None else known.since, tenant)
        waiter.bypassed = 0 if known is None else known.bypassed
        self._number += 1
        heappush(self._lanes.setdefault((needs, tenant), []), _Entry(waiter.since, self._number, waiter))

    def remove(self, name: str) -> bool:
        """Have a launch wait no more; whether it did."""
        return self._waiters.pop(name, None) is not None

    def next(
        self, fits: Callable[[Needs], bool], can_fit: Callable[[Needs], bool], part_of: Callable[[Needs], float]
    ) -> Waiter | None:
        """Take the launch whose turn it is, if one fits. What can never fit as things are holds up nothing. `part_of`
        says what a turn is worth.
        """
        saved_up: set[tuple[str, str]] = set()
        passed: list[Waiter] = []
        for waiter in sorted(self._firsts(), key=self._place):
            takes = {(quota, resource) for quota, resource, _ in waiter.needs}
            if takes.isdisjoint(saved_up) and fits(waiter.needs):
                for other in passed:
                    other.bypassed += 1
                del self._waiters[waiter.id]
                self._turns.served(waiter.tenant, part_of(waiter.needs))
                return waiter
            if can_fit(waiter.needs):
                passed.append(waiter)
                if waiter.bypassed >= self._max_bypass:
                    saved_up |= takes
        return None

    def _place(self, waiter: Waiter) -> tuple[bool, Start, float]:
        return waiter.bypassed < self._max_bypass, self._turns.start(waiter.tenant), waiter.since

    def _firsts(self) -> list[Waiter]:
        found = [self._first(key, lane) for key, lane in tuple(self._lanes.items())]
        return [waiter for waiter in found if waiter is not None]

    def _first(self, key: tuple[Needs, Path], lane: list[_Entry]) -> Waiter | None:
        while lane and self._waiters.get(lane[0].waiter.id) is not lane[0].waiter:
            heappop(lane)
        if not lane:
            self._lanes.pop(key, None)
            return None
        return lane[0].waiter
