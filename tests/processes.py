"""Processes that a test starts: each is told to end when the test leaves it, and its log is shown with a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SECONDS_TO_END = 30


@asynccontextmanager
async def told_to_end(process: asyncio.subprocess.Process) -> AsyncIterator[asyncio.subprocess.Process]:
    """Terminate the process when the block is left, and print what it has written to stderr."""
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        _, log = await asyncio.wait_for(process.communicate(), SECONDS_TO_END)
        print(log.decode())  # pytest shows it with a failure
