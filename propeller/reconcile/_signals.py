"""The end of a controller's process, asked for by a signal.

Guarantees
    On SIGTERM, which Kubernetes sends, and on SIGINT, the main coroutine is cancelled and awaited: workers get their
    grace, a lease is released, connections are closed. A second signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_until_signal(main: Coroutine[Any, Any, None]) -> None:
    """As `asyncio.run`, and return in order when the process is asked to end. Exceptions of `main` are raised."""
    with asyncio.Runner() as runner:
        runner.run(_until_signal(main))


async def _until_signal(main: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main)
    asked = False

    def end() -> None:
        nonlocal asked
        asked = True
        for number in SIGNALS:
            loop.remove_signal_handler(number)  # the next one acts as signals do
        task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, end)
    try:
        await task
    except asyncio.CancelledError:
        if not asked:
            raise
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
