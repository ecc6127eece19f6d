"""How often a loop of retries may ask in a time: what tests hold counts of requests against."""

from __future__ import annotations

import math


def most_tries(seconds: float, first: float, cap: float, *, anew: bool = True) -> int:
    """Tries in `seconds` of a loop whose pauses double from `first` to `cap` seconds, half of each being jitter.

    `anew`: they may begin anew whenever two `cap` have gone by without a failure.
    """
    steps = math.ceil(math.log2(cap / first)) + 2
    begun = seconds / (2 * cap) + 1 if anew else 1
    return math.ceil(begun * steps + seconds / (cap / 2))
