"""How the cost of a function grows with its input: the ratio of two costs in one run, never a time.

A busy machine may disturb one comparison. What really grows too fast does so in each of `COMPARISONS`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

COMPARISONS = 3

MIN_SECONDS = 1e-4
"""Of CPU in one measurement: what is cheaper than that is repeated, for the clock is coarse."""


def cpu_seconds(action: Callable[[], object]) -> float:
    """CPU time of one call, the best of three measurements, with the garbage collector off.

    The collector's cost depends on what else the process holds.
    """
    best = float("inf")
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(3):
            times, taken = 0, 0.0
            start = time.process_time()
            while taken < MIN_SECONDS:
                action()
                times += 1
                taken = time.process_time() - start
            best = min(best, taken / times)
    finally:
        if enabled:
            gc.enable()
    return best


def grows_beyond(most: float, small: Callable[[], object], large: Callable[[], object]) -> bool:
    """Return whether `large` costs more than `most` times what `small` does, in each of several comparisons."""
    return all(cpu_seconds(large) > most * cpu_seconds(small) for _ in range(COMPARISONS))
