"""Try again what the object store did not do, and do several things at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from propeller.errors import PropellerError, StorageError

T = TypeVar("T")

_log = logging.getLogger(__name__)

AT_ONCE = 4
"""Blobs that are copied at once: enough to hide a store's latency, few enough for a small container."""

DOWNLOAD_PATIENCE = 60.0
"""Seconds for which a download is tried again: another attempt of the task costs little, as its program has not begun.
"""

UPLOAD_PATIENCE = 900.0
"""Seconds for which an upload is tried again: all that the program has computed would be lost."""

_FIRST_PAUSE, _MAX_PAUSE = 0.5, 30.0
"""Seconds between two tries: the first pause, and where doubling it ends."""


async def insist(operation: Callable[[], Awaitable[T]], patience: float) -> T:
    """Return the operation's result, tried again while it raises StorageError; raises the last one after `patience`
    seconds of pauses.
    """
    pause, paused = _FIRST_PAUSE, 0.0
    while True:
        try:
            return await operation()
        except StorageError as error:
            if paused >= patience:
                raise
            _log.warning("%s; trying again in %g s", error, pause)
        await asyncio.sleep(pause)
        paused += pause
        pause = min(pause * 2, _MAX_PAUSE)


async def together(operations: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all, `AT_ONCE` at a time. Raises the first PropellerError or OSError, after the others were cancelled."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(operation: Coroutine[Any, Any, None]) -> None:
        async with room:
            await operation

    try:
        async with asyncio.TaskGroup() as group:
            for operation in operations:
                group.create_task(one(operation))
    except* (PropellerError, OSError) as errors:
        raise _first(errors) from None


def _first(group: BaseExceptionGroup[PropellerError | OSError]) -> PropellerError | OSError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
