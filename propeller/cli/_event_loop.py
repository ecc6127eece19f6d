"""The event loop of a command: uvloop, ended in order by Ctrl-C and by SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

from propeller.cli._exit_codes import Terminated

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end. Ctrl-C cancels `main`, waits until it has cleaned up, and raises KeyboardInterrupt; SIGTERM
    does the same and raises Terminated.
    """
    terminated = False

    async def until_terminated() -> T:
        task = asyncio.ensure_future(main)

        def terminate() -> None:
            nonlocal terminated
            terminated = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        try:
            return await task
        finally:
            if not task.done():  # we are cancelled ourselves, by Ctrl-C
                task.cancel()
                await asyncio.wait([task])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(until_terminated())
        except asyncio.CancelledError:
            if terminated:
                raise Terminated from None
            raise
