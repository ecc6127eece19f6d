"""Judge a candidate version against the one that runs: the stated test of a staged rollout. Pure.

Each thing that is watched is a share: bad ones of all. The candidate is worse at it if its share is larger than
`tolerance` times the other's, and a difference as large, or larger, would be chance with a probability below `alpha`:
Fisher's exact test, one-sided (R. A. Fisher, Statistical Methods for Research Workers, section 21.02), with `alpha`
divided by the number of things watched (Bonferroni). Latency is such a share, too: of reconciles that take longer than
95 % of the other version's.

Guarantees
    Exact for few as for many: no minimum number of failures is assumed. Counts whose spread by chance is over `EXACT`
    are judged by the normal distribution, which is within 2 % of it there, so that no count takes long.
    Two versions that are equally good are told apart with a probability below `alpha`.
Caveats
    A look at each of many moments finds more by chance than one: who looks repeatedly divides `alpha` among the looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import erfc, exp, lgamma, sqrt

import msgspec

LATE = "late reconciles"
LAG = "late turns of the event loop"
"""Names of what is compared by time."""

EXACT = 1000.0
"""Standard deviation, in bad things, up to which the hypergeometric distribution is summed: some 10,000 terms."""

PROMPT = 0.95
"""Share of the other version's reconciles that are not called late."""


class Share(msgspec.Struct, frozen=True, array_like=True):
    """`bad` of `total`, 0 <= bad <= total."""

    bad: int = 0
    total: int = 0

    @property
    def rate(self) -> float:
        return self.bad / self.total if self.total else 0.0

    def __add__(self, other: Share) -> Share:
        return Share(self.bad + other.bad, self.total + other.total)


class Worse(msgspec.Struct, frozen=True):
    """What the candidate is worse at, with both shares and the probability that this is chance."""

    what: str
    candidate: Share
    current: Share
    probability: float

    def __str__(self) -> str:
        ours, theirs = self.candidate, self.current
        return (
            f"{self.what}: {ours.bad} of {ours.total} ({ours.rate:.2%}) against {theirs.bad} of {theirs.total} "
            f"({theirs.rate:.2%}) of the version that runs; by chance with p = {self.probability:.2g}"
        )


def judge(
    candidate: Mapping[str, Share], current: Mapping[str, Share], *, alpha: float, tolerance: float
) -> Worse | None:
    """What the candidate is worst at, None if it is not worse at anything. Things that one of them lacks are left out.

    `alpha` is the probability with which equally good versions may be told apart, over everything that is watched.
    """
    both = candidate.keys() & current.keys()
    found: list[Worse] = []
    for what in sorted(both):
        ours, theirs = candidate[what], current[what]
        if ours.rate <= tolerance * theirs.rate or not ours.bad:
            continue
        probability = by_chance(ours, theirs)
        if probability < alpha / len(both):
            found.append(Worse(what, ours, theirs, probability))
    return min(found, key=lambda worse: worse.probability, default=None)


def by_chance(candidate: Share, current: Share) -> float:
    """The probability that, of all that went wrong, chance gives the candidate as much or more."""
    bad, total = candidate.bad + current.bad, candidate.total + current.total
    expected = bad * candidate.total / max(1, total)
    deviation = sqrt(expected * (current.total / max(1, total)) * ((total - bad) / max(1, total - 1)))
    if deviation > EXACT:
        return 0.5 * erfc((candidate.bad - 0.5 - expected) / deviation / sqrt(2))
    most = min(bad, candidate.total)
    scale = _log_choose(total, bad)
    terms = 0.0
    for drawn in range(candidate.bad, most + 1):
        term = exp(_log_choose(candidate.total, drawn) + _log_choose(current.total, bad - drawn) - scale)
        terms += term
        if drawn > expected and term < 1e-12 * terms:
            break  # beyond the mode terms only become smaller
    return min(1.0, terms)


def late_shares(candidate: Sequence[int], current: Sequence[int]) -> tuple[Share, Share]:
    """How many are late, of histograms with the same buckets (counts, the last of them without a bound): longer than
    `PROMPT` of the current version's, in whole buckets.
    """
    total = sum(current)
    sums = list(accumulate(current))
    first = bisect_left(sums, PROMPT * total) + 1
    return tuple(Share(sum(counts[first:]), sum(counts)) for counts in (candidate, current))  # type: ignore[return-value]


def _log_choose(n: int, k: int) -> float:
    if not 0 <= k <= n:
        return float("-inf")
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
