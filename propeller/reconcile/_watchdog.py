"""Watchdog: names the line of code that blocks the event loop.

A callback on the loop notes the time every half threshold. A thread looks at that note; when it grows older than the
threshold, the thread samples the loop thread's stack, which at that moment shows the culprit. While the loop has little
to do both look five times more rarely: to wake a process that sleeps costs it 0.2 ms, twenty times a second 0.4% of a
core and a tenth of a moderate load.

Guarantees
    Each site (file, line) is logged once, with the stack that led to it; every block counts, and so does its length.
    Off if the clock is not the machine's: under virtual time a loop that stands still is not blocked.
Caveats
    A block shorter than the threshold passes unseen, one shorter than four may after an idle time, and one that runs
    through several lines is named by the line it was at when looked at. Code that holds the GIL all the time hides its
    stack; its lag is counted all the same.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from propeller.clock import SYSTEM_CLOCK, Clock, SystemClock
from propeller.reconcile._options import WatchdogOptions

BUSY_SHARE = 0.3
"""Share of a core that the loop takes from which on it is busy."""

IDLE_FACTOR = 5
"""How much more rarely a loop is looked at that is not."""

log = logging.getLogger(__name__)


class Watchdog:
    """`async with Watchdog():` watches the running loop. `on_block` is called on the loop with a block's seconds;
    `on_lag` at each look, with the seconds by which it was late: samples of the delay of due callbacks. `cpu` gives the
    seconds of processor time that the loop's thread has taken.
    """

    def __init__(
        self,
        settings: WatchdogOptions | None = None,
        *,
        on_block: Callable[[float], None] = lambda seconds: None,
        on_lag: Callable[[float], None] = lambda seconds: None,
        clock: Clock = SYSTEM_CLOCK,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._threshold = (settings or WatchdogOptions()).threshold
        self._on_block = on_block
        self._on_lag = on_lag
        self._clock = clock
        self._cpu_time = cpu
        self._ended = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._loop_thread = 0
        self._ticked = 0.0
        self.interval = self._threshold / 2
        """Seconds until the next look: more while the loop rests."""
        self._cpu = 0.0
        self.max_lag = 0.0
        """Seconds of the longest block so far."""
        self.blocks = 0
        """How often the loop was blocked for longer than the threshold."""
        self.sites: Counter[str] = Counter()
        """How often each `file:line function` was found blocking."""

    async def __aenter__(self) -> Watchdog:
        if isinstance(self._clock, SystemClock):
            self._loop_thread = threading.get_ident()
            self._ticked = self._clock.monotonic()
            self._cpu = self._cpu_time()
            self._timer = asyncio.get_running_loop().call_later(self.interval, self._tick)
            self._thread = threading.Thread(target=self._watch, name="loop watchdog", daemon=True)
            self._thread.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.join()

    def _tick(self) -> None:
        """On the loop: note the time, and take stock of a block that has just ended."""
        now, cpu = self._clock.monotonic(), self._cpu_time()
        passed, taken = now - self._ticked, cpu - self._cpu
        self._ticked, self._cpu = now, cpu
        lag = max(passed - self.interval, 0.0)
        self.max_lag = max(self.max_lag, lag)
        self._on_lag(lag)
        if lag > self._threshold:
            self.blocks += 1
            self._on_block(lag)
        self.interval = self._threshold / 2 * (1 if taken > passed * BUSY_SHARE else IDLE_FACTOR)
        self._timer = asyncio.get_running_loop().call_later(self.interval, self._tick)

    def _watch(self) -> None:
        """On the thread: look as often as the loop's callback is due, and sample each block once."""
        sampled = 0.0
        while not self._ended.wait(self.interval):
            ticked = self._ticked
            # the callback itself is due only once an interval
            if ticked != sampled and self._clock.monotonic() - ticked > self.interval + self._threshold:
                sampled = ticked
                self._sample()

    def _sample(self) -> None:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the documented way to another thread's stack
        if frame is None:
            return
        stack = traceback.extract_stack(frame)
        last = stack[-1]
        site = f"{last.filename}:{last.lineno} {last.name}"
        self.sites[site] += 1
        if self.sites[site] == 1:
            calls = "".join(traceback.format_list(stack[-8:]))
            log.warning("the event loop has been blocked for over %.3f s at %s\n%s", self._threshold, site, calls)
