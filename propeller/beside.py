"""A task that runs beside a block."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

_log = logging.getLogger(__name__)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, object], name: str) -> AsyncIterator[None]:
    """Run it until the block is left, however that is: then it is cancelled, and awaited. It reports its own errors;
    one that it lets out, a defect, is logged at once, as the block goes on without it.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_report_defect)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _report_defect(task: asyncio.Task[object]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error(
            "a defect has ended %r: it is missing until this process is restarted", task.get_name(), exc_info=error
        )
