"""Fairness in numbers: who held how much of the slots, Jain's index, quantiles of waits. Pure.

Source: Jain, Chiu and Hawe, "A quantitative measure of fairness and discrimination", DEC-TR-301, 1984.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec


class Span(msgspec.Struct, frozen=True):
    """One pod of a tenant ran from `began` to `ended`, seconds of one clock."""

    tenant: str
    began: float
    ended: float

    def within(self, begin: float, end: float) -> float:
        """Seconds of it between two times."""
        return max(0.0, min(self.ended, end) - max(self.began, begin))


def busy(spans: Iterable[Span], begin: float, end: float) -> dict[str, float]:
    """Slot seconds of each tenant between two times."""
    found: dict[str, float] = {}
    for span in spans:
        if seconds := span.within(begin, end):
            found[span.tenant] = found.get(span.tenant, 0.0) + seconds
    return found


def distances(held: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """By how much each tenant's share of the whole differs from its ideal, relative to that."""
    total, weight = sum(held.get(name, 0.0) for name in weights), sum(weights.values())
    return {name: held.get(name, 0.0) / total / (own / weight) - 1 if total else -1.0 for name, own in weights.items()}


def jain(held: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Jain's index of what each got by its weight: 1 if all got the same, 1/n if one got all, 0 if none got any."""
    got = [held.get(name, 0.0) / weight for name, weight in weights.items()]
    squares = sum(one**2 for one in got)
    return sum(got) ** 2 / (len(got) * squares) if squares else 0.0


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least that share of all is not above; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def over_time(spans: Sequence[Span], weights: Mapping[str, float], end: float, step: float) -> dict[str, list[float]]:
    """Each tenant's share of what runs, for each `step` from 0 to `end`, for the picture."""
    buckets: list[dict[str, float]] = [{} for _ in range(max(1, round(end / step)))]
    for span in spans:
        for number in range(max(0, int(span.began / step)), min(len(buckets), int(span.ended / step) + 1)):
            seconds = span.within(number * step, (number + 1) * step)
            buckets[number][span.tenant] = buckets[number].get(span.tenant, 0.0) + seconds
    totals = [sum(held.get(name, 0.0) for name in weights) for held in buckets]
    return {
        name: [held.get(name, 0.0) / total if total else 0.0 for held, total in zip(buckets, totals, strict=True)]
        for name in weights
    }
