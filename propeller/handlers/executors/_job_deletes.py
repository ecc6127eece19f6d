"""Delete jobs of remote services.

Guarantees
    A job is deleted once, however many ask for that at the same time.
    A service that answers with an error is asked again: it may have answered so just then, and the job would go on.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import TypeVar

from propeller.errors import Denied, PropellerError, Retryable, Unavailable
from propeller.handlers.plugins import RemotePlugin
from propeller.telemetry import Causes
from propeller.workflow import Job

_log = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Deleted jobs that are remembered, so that none is deleted twice; and those that could not be deleted."""

V = TypeVar("V")
_Key = tuple[str, bytes]


class JobDeletes:
    """See the module's text. `plugin_of` raises Unavailable for a job that no plugin knows; `most` is how often in a
    row a service may answer with an error.
    """

    def __init__(self, plugin_of: Callable[[Job], RemotePlugin], most: int) -> None:
        self._plugin_of = plugin_of
        self._most = most
        self._tasks: dict[_Key, asyncio.Task[None]] = {}
        self._deleted: OrderedDict[_Key, None] = OrderedDict()
        self._refused: OrderedDict[_Key, int] = OrderedDict()
        """How often in a row a delete was answered with an error."""
        self._causes = Causes(_log)

    @property
    def under_way(self) -> Collection[asyncio.Task[None]]:
        return self._tasks.values()

    async def delete(self, uid: str, job: Job) -> None:
        """Delete a job; one that was deleted already, or is being deleted, costs no call. Raises Unavailable if it can
        be tried again, and if no plugin knows it; what the plugin raises if that was the last of `most` errors.
        """
        if (task := self.begin(uid, job)) is not None:
            await asyncio.shield(task)

    def begin(self, uid: str, job: Job) -> asyncio.Task[None] | None:
        key = (uid, job.id)
        if key in self._deleted:
            return None
        if (task := self._tasks.get(key)) is None:
            task = self._tasks[key] = asyncio.create_task(self._delete(key, job), name="delete a job")
            task.add_done_callback(functools.partial(self._was_deleted, key))
        return task

    def _was_deleted(self, key: _Key, task: asyncio.Task[None]) -> None:
        self._tasks.pop(key, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._causes.report(error, "a job of execution %s could not be deleted", key[0])

    async def _delete(self, key: _Key, job: Job) -> None:
        try:
            await self._plugin_of(job).delete(job)
        except (Retryable, Denied):
            raise
        except PropellerError as error:
            refusals = self._refused.pop(key, 0) + 1
            if refusals >= self._most:
                raise
            _remember(self._refused, key, refusals)
            raise Unavailable(str(error)) from error
        self._refused.pop(key, None)
        _remember(self._deleted, key, None)


def _remember(among: OrderedDict[_Key, V], key: _Key, value: V) -> None:
    among[key] = value
    if len(among) > REMEMBERED:
        among.popitem(last=False)
