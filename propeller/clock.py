"""Time, passed in: nothing else in the package reads a clock.

Guarantees
    `now` is wall time for people and for other machines; `monotonic` never goes back and is for measuring.
    On a simulated loop, `LoopClock` makes both follow the loop's virtual time, so a run is the same at any speed.
"""

from __future__ import annotations

import asyncio
import datetime
import functools
import math
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class LoopClock:
    """The running loop's time, beginning at `epoch` seconds: virtual if the loop's is."""

    def __init__(self, epoch: float = 1_700_000_000.0) -> None:
        self._epoch = epoch

    def now(self) -> float:
        return self._epoch + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


SYSTEM_CLOCK = SystemClock()


def rfc3339(seconds: float, *, microseconds: bool = False) -> str:
    """Epoch seconds in Kubernetes' forms: metav1.Time (whole seconds) or, with `microseconds`, metav1.MicroTime."""
    if not microseconds:
        return f"{_whole_second(math.floor(seconds))}Z"
    second, micro = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_whole_second(second)}.{micro:06}Z"


@functools.lru_cache(maxsize=64)
def _whole_second(seconds: int) -> str:
    """Cached, as statuses and log lines name the same few seconds again and again."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds").removesuffix("+00:00")


def parse_rfc3339(text: str) -> float:
    """Epoch seconds of an RFC 3339 time; raises ValueError on anything else."""
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.timestamp()
