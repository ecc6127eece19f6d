"""Claims of one tenant that wait for one pool, in the order of their places.

Guarantees
    `add`, `remove` and `ahead_of` cost O(sqrt(n)), nearly all of it in list operations that are C; `first` costs O(1).
Assumptions
    No two claims of a ledger have the same place.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from propeller.resourcemgr._waiter import Waiter

_SPLIT = 512
"""Claims of a block at least before it is split: to shift as many costs less than to keep another block."""


class Lane:
    """See the module's text. The claims are in blocks: their places, which are sorted, and beside each the claim."""

    __slots__ = ("_lasts", "_places", "_size", "_waiters")

    def __init__(self) -> None:
        self._places: list[list[int]] = []
        self._waiters: list[list[Waiter]] = []
        self._lasts: list[int] = []
        """Of each block: not before its last place, and before the first one of the next block."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def first(self) -> Waiter:
        """The claim that goes first. Raises IndexError if none waits."""
        return self._waiters[0][0]

    def add(self, waiter: Waiter) -> None:
        """Let a claim wait that does not yet."""
        place, lasts = waiter.place, self._lasts
        self._size += 1
        if lasts and place > lasts[-1] and len(self._places[-1]) < _SPLIT:  # nearly always
            self._places[-1].append(place)
            self._waiters[-1].append(waiter)
            lasts[-1] = place
            return
        number = bisect_left(lasts, place)
        if number == len(lasts):  # after all others
            if not lasts or len(self._places[-1]) >= max(_SPLIT, len(lasts)):
                self._places.append([])
                self._waiters.append([])
                lasts.append(place)
            else:
                number -= 1
            lasts[number] = place
        index = bisect_left(self._places[number], place)
        self._places[number].insert(index, place)
        self._waiters[number].insert(index, waiter)
        if len(self._places[number]) > max(_SPLIT, len(lasts)):
            self._halve(number)

    def _halve(self, number: int) -> None:
        places, waiters = self._places[number], self._waiters[number]
        half = len(places) // 2
        self._places.insert(number + 1, places[half:])
        self._waiters.insert(number + 1, waiters[half:])
        self._lasts.insert(number, places[half - 1])
        del places[half:], waiters[half:]

    def pop(self) -> Waiter:
        """Let the claim wait no more that goes first. Raises IndexError if none waits."""
        waiter = self._waiters[0].pop(0)
        del self._places[0][0]
        self._size -= 1
        if not self._places[0]:
            del self._places[0], self._waiters[0], self._lasts[0]
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Let a claim wait no more that does."""
        number, index = self._find(waiter.place)
        assert self._waiters[number][index] is waiter
        self._size -= 1
        del self._places[number][index], self._waiters[number][index]
        if not self._places[number]:
            del self._places[number], self._waiters[number], self._lasts[number]

    def ahead_of(self, waiter: Waiter) -> int:
        """Claims that go before this one, which is here."""
        number, index = self._find(waiter.place)
        return sum(map(len, self._places[:number])) + index

    def _find(self, place: int) -> tuple[int, int]:
        number = bisect_left(self._lasts, place)
        return number, bisect_left(self._places[number], place)
