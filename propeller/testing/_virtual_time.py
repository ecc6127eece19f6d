"""An event loop whose time jumps to the next timer: hours of waiting take no time, and order is exact.

With pytest-asyncio all tests of a directory run on it if its conftest says so:

    def pytest_asyncio_loop_factories(item):
        return {"virtual": VirtualTimeLoop}
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    """Moves time on by `timeout` seconds instead of waiting for them."""

    elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(timeout if timeout is None else 0)
        if not events and timeout is not None:
            self.elapsed = round(self.elapsed + timeout, 9)  # timers are exact to the nanosecond in this world
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time. Sockets do not work on it: time passes while one is awaited."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.elapsed

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads however long they take: a deadline (Python 3.12) would pass at once on this clock."""
        await super().shutdown_default_executor()


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def now() -> float:
    """The running loop's time, seconds."""
    return asyncio.get_running_loop().time()
