"""The pauses of a loop of retries: they grow while it goes on failing, and a success alone does not shorten them.

Guarantees
    Each pause is twice the one before, up to `cap` seconds; up to half of each is taken off at random. They are reset
    after two `cap` without a failure, as with client-go's BackoffManager: a target that succeeds and fails by turns is
    asked no more often than one that only fails.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection


class Pauses:
    """Of one loop; `first` and `cap` in seconds. Times are of any clock that does not go back."""

    __slots__ = ("_cap", "_first", "_next", "_uniform", "until")

    def __init__(self, first: float, cap: float, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._first = first
        self._cap = cap
        self._uniform = uniform
        self._next = first
        self.until = -math.inf
        """When the last pause is over."""

    def failed(self, now: float, *, once_free: bool = False) -> float:
        """It failed at `now`: returns the seconds to wait before the next try. With `once_free` the first of a row of
        failures costs no pause.
        """
        anew = now - self.until >= 2 * self._cap
        if anew:
            self._next = self._first
        if anew and once_free:
            pause = 0.0
        else:
            pause = self._next * self._uniform(0.5, 1.0)
            self._next = min(self._next * 2, self._cap)
        self.until = now + pause
        return pause

    def left(self, now: float) -> float:
        """Seconds until the next try may be made; 0 within a millisecond of it, as timers may ring a trifle early."""
        left = self.until - now
        return left if left > 1e-3 else 0.0


class PausesByKey:
    """Of many loops, by a key each. What never failed costs nothing."""

    def __init__(self, first: float, cap: float) -> None:
        self._first = first
        self._cap = cap
        self._of: dict[str, Pauses] = {}

    def failed(self, key: str, now: float, *, once_free: bool = False) -> float:
        """As `Pauses.failed`, of that key's loop."""
        if (pauses := self._of.get(key)) is None:
            pauses = self._of[key] = Pauses(self._first, self._cap)
        return pauses.failed(now, once_free=once_free)

    def left(self, key: str, now: float) -> float:
        """As `Pauses.left`, of that key's loop."""
        pauses = self._of.get(key)
        return 0.0 if pauses is None else pauses.left(now)

    def forget(self, key: str) -> None:
        """That loop is over."""
        self._of.pop(key, None)

    def keep(self, keys: Collection[str]) -> None:
        """All other loops are over."""
        self._of = {key: pauses for key, pauses in self._of.items() if key in keys}
