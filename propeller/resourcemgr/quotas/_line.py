"""Launches of one namespace that wait for room in its quotas, in the order in which they began to wait.

Guarantees
    The one that has waited longest is first. Others that need less, or something else, may go before it while it does
    not fit, `max_bypass` of them; then what it needs is saved up for it.
    A launch that comes back keeps its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

Needs = tuple[tuple[str, str, int], ...]
"""Quota, resource and amount."""


class Waiter:
    """A launch that waits."""

    __slots__ = ("bypassed", "id", "needs", "since")

    def __init__(self, id_: str, needs: Needs, since: float) -> None:
        self.id = id_
        self.needs = needs
        self.since = since
        self.bypassed = 0


class _Entry(NamedTuple):
    since: float
    number: int
    waiter: Waiter


class Line:
    """Launches that need the same stand in one lane: if the first has no room, none of them has."""

    def __init__(self, max_bypass: int) -> None:
        self._max_bypass = max_bypass
        self._waiters: dict[str, Waiter] = {}
        self._lanes: dict[Needs, list[_Entry]] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._waiters)

    def __contains__(self, name: object) -> bool:
        return name in self._waiters

    def __iter__(self) -> Iterator[Waiter]:
        return iter(self._waiters.values())

    def add(self, name: str, needs: Needs, since: float) -> None:
        """Have a launch wait; one that waits already needs something else from now on."""
        known = self._waiters.get(name)
        if known is not None and known.needs == needs:
            return
        waiter = self._waiters[name] = Waiter(name, needs, since if known is None else known.since)
        waiter.bypassed = 0 if known is None else known.bypassed
        self._number += 1
        heappush(self._lanes.setdefault(needs, []), _Entry(waiter.since, self._number, waiter))

    def remove(self, name: str) -> bool:
        """Have a launch wait no more; whether it did."""
        return self._waiters.pop(name, None) is not None

    def next(self, fits: Callable[[Needs], bool], can_fit: Callable[[Needs], bool]) -> Waiter | None:
        """Take the launch whose turn it is, if one fits. What can never fit as things are holds up nothing."""
        saved_up: set[tuple[str, str]] = set()
        passed: list[Waiter] = []
        for waiter in sorted(self._firsts(), key=lambda waiter: waiter.since):
            takes = {(quota, resource) for quota, resource, _ in waiter.needs}
            if takes.isdisjoint(saved_up) and fits(waiter.needs):
                for other in passed:
                    other.bypassed += 1
                del self._waiters[waiter.id]
                return waiter
            if can_fit(waiter.needs):
                passed.append(waiter)
                if waiter.bypassed >= self._max_bypass:
                    saved_up |= takes
        return None

    def _firsts(self) -> list[Waiter]:
        found = [self._first(needs, lane) for needs, lane in tuple(self._lanes.items())]
        return [waiter for waiter in found if waiter is not None]

    def _first(self, needs: Needs, lane: list[_Entry]) -> Waiter | None:
        while lane and self._waiters.get(lane[0].waiter.id) is not lane[0].waiter:
            heappop(lane)
        if not lane:
            self._lanes.pop(needs, None)
            return None
        return lane[0].waiter
