"""Tell whether a candidate version has done enough to be judged: time proves nothing where nothing happens. Pure.

On a starved machine, or in a shard without work, a stage's time passes while the candidate does a handful of things, of
which the test in `judge` could not find the worst version. So a stage needs evidence besides time:

- The test has power: of everything that both versions do `least` times, and of one thing at least, a version that
  fails at `detectable` of what goes well with the version that runs would be found with a probability of 95 %, by the
  look that is about to be made.
- The candidate keeps pace: of everything that the version that runs does, it has done `pace` of what that did for each
  of its shards, or as much as would be needed to find such a version. So one that reconciles, and launches or ends
  nothing, does not pass.

Caveats
    A shard may have less work than others of the same kind: then the stage lasts longer, and in the end a person
    decides. Things that always fail for the version that runs tell nothing, and are not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import ceil, exp, floor, lgamma, log, sqrt

from propeller.reconcile.rollouts._judge import LAG, LATE, Share, by_chance
from propeller.reconcile.rollouts._options import RolloutTerms

POWER = 0.95
"""Probability with which a version that fails at `detectable` is found."""

EXACT = 2000
"""Up to so many trials the binomial distribution is summed; beyond, it is the normal one for all that matters here."""

_PASSIVE = frozenset({LATE, LAG})
"""Come with time or with other things, and are no work of their own."""


def work_in(shares: Mapping[str, Share]) -> dict[str, Share]:
    """The things that are work."""
    return {what: share for what, share in shares.items() if what not in _PASSIVE}


def lacking(
    candidate: Mapping[str, Share],
    current: Mapping[str, Share],
    options: RolloutTerms,
    *,
    alpha: float,
    portion: float,
) -> str:
    """What the candidate has to have done before it can be judged; "" if it has.

    `alpha` is that of the next look. `portion` is the number of the candidate's shards for each of the version that
    runs.
    """
    ours, theirs = work_in(candidate), work_in(current)
    most, what = max(((share.total, what) for what, share in ours.items()), default=(0, "anything"))
    if most < options.least:
        return f"{options.least} {what}, of which there are {most}"
    alpha /= max(1, len(candidate.keys() & current.keys()))
    tells = False
    for name in sorted(ours.keys() & theirs.keys()):
        mine, other = ours[name], theirs[name]
        if not _can_tell(other, options):
            continue
        found = _is_found(mine.total, other, options, alpha)
        due = ceil(options.pace * portion * other.total - 1e-9)
        if mine.total < due and not found:
            return (
                f"{due} {name} or enough to judge by, of which there are {mine.total}: the version that runs "
                f"had {other.total}"
            )
        if min(mine.total, other.total) < options.least:
            continue
        if not found:
            return f"more {name} than {mine.total} beside {other.total} of the version that runs, to tell them apart"
        tells = True
    return "" if tells else f"{options.least} things that both versions do, and that seldom fail with the one that runs"


def _rate(theirs: Share, options: RolloutTerms) -> float:
    """Of the failures of a version that has to be found."""
    return theirs.rate + options.detectable * (1 - theirs.rate)


def _can_tell(theirs: Share, options: RolloutTerms) -> bool:
    """Whether any number of failures at that rate would be found."""
    return theirs.total > 0 and _rate(theirs, options) > options.tolerance * theirs.rate


def _is_found(total: int, theirs: Share, options: RolloutTerms, alpha: float) -> bool:
    bad = fewest(total, _rate(theirs, options))
    if not bad or bad / total <= options.tolerance * theirs.rate:
        return False
    return by_chance(Share(bad, total), theirs) < alpha


@lru_cache(maxsize=256)
def fewest(total: int, rate: float) -> int:
    """How many of `total` fail at least, with a probability of `POWER`, if each does with a probability of `rate`."""
    if rate >= 1:
        return total
    if total > EXACT:
        return max(0, floor(total * rate - 1.645 * sqrt(total * rate * (1 - rate))))
    below = 0.0
    for bad in range(total + 1):
        logarithm = lgamma(total + 1) - lgamma(bad + 1) - lgamma(total - bad + 1)
        below += exp(logarithm + bad * log(rate) + (total - bad) * log(1 - rate))
        if below > 1 - POWER:
            return bad
    return total
