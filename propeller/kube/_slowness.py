"""Whether answers have become slow: the median of a round, against the fastest answers of late.

Guarantees
    Pure. A round is at least `ROUND_SECONDS` long and has as many answers as may be under way at once, but no more than
    `MAX_SAMPLES` of them are kept. Single slow answers mean nothing, nor does a server that is far away: its fastest
    answers are slow as well.
Caveats
    A server that is slow from the beginning is known as slow only over `ALWAYS_SLOW` seconds.
"""

from __future__ import annotations

from statistics import median

ROUND_SECONDS = 1.0
"""Longer than a burst, and short enough to react before requests meet their deadline."""

MIN_SAMPLES, MAX_SAMPLES = 3, 64

FLOOR_SECONDS = 300.0
"""The fastest answer is that of one to two times this time: a server that has moved is known within minutes."""

ALWAYS_SLOW = 5.0
"""Seconds. kube-apiserver's own objective is one; whatever was normal before, this is not."""

MIN_FACTOR, MAX_FACTOR = 0.5, 0.9
"""By which a slow round shrinks the limit: at most as much as a 429, and noticeably."""


class Slowness:
    """`slow`: seconds below which no answer is slow; `ratio`: to the fastest one, below which none is."""

    __slots__ = ("_began", "_floor", "_floor_before", "_floor_since", "_ratio", "_samples", "_slow")

    def __init__(self, slow: float, ratio: float) -> None:
        self._slow = slow
        self._ratio = ratio
        self._samples: list[float] = []
        self._began = self._floor_since = 0.0
        self._floor = self._floor_before = float("inf")

    @property
    def slow(self) -> float:
        """Seconds from which on an answer is slow now."""
        floor = min(self._floor, self._floor_before)
        return (
            min(max(self._slow, floor * self._ratio), max(ALWAYS_SLOW, self._slow))
            if floor < float("inf")
            else (self._slow)
        )

    def answered(self, seconds: float, now: float, at_once: int) -> float | None:
        """An answer came after so long, while so many may be under way. Returns the median if a round is over."""
        samples = self._samples
        if not samples:
            self._began = now
        if len(samples) < MAX_SAMPLES:
            samples.append(seconds)
        if seconds < self._floor:
            self._floor = seconds
        if now - self._began < ROUND_SECONDS or len(samples) < min(max(at_once, MIN_SAMPLES), MAX_SAMPLES):
            return None
        if now - self._floor_since >= FLOOR_SECONDS:
            self._floor_before, self._floor, self._floor_since = self._floor, min(samples), now
        found = median(samples)
        samples.clear()
        return found

    def factor(self, seconds: float) -> float | None:
        """By which factor the limit should shrink after a round with this median; None if it was not slow."""
        return max(MIN_FACTOR, min(self.slow / seconds, MAX_FACTOR)) if seconds > self.slow else None
