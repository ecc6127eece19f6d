"""Delete jobs of remote services.

Guarantees
    A job is deleted once, however many ask for that at the same time.
    A service that answers with an error is asked again: it may have answered so just then, and the job would go on.
    A job that no snapshot will have is deleted again and again, with growing pauses, until it is gone, its service has
    answered `connectors.max_failures` times in a row with an error, or `connectors.delete_limit` seconds are over. Its
    id is recorded (`DeleteRecords`) before the first of these calls, so that another process goes on with it.
Caveats
    A record is not waited for: while the API server takes none, the deletes go on, and a process that ends then forgets
    the job. So it does with an id that is too long for a record.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol, TypeVar

from propeller.clock import Clock
from propeller.connectors import ConnectorOptions, MayAct
from propeller.errors import Denied, PropellerError, Retryable, Unavailable
from propeller.handlers.plugins import RemotePlugin
from propeller.telemetry import Causes
from propeller.workflow import MAX_ID_BYTES, Job

_log = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Deleted jobs that are remembered, so that none is deleted twice; and those that could not be deleted."""

V = TypeVar("V")


class DeleteRecords(Protocol):
    """Where jobs are recorded that have to be deleted and that no snapshot has, by the uid of their execution."""

    async def keep(self, uid: str, job: Job) -> None:
        """Record a job. Raises PropellerError."""
        ...

    async def drop(self, uid: str, job: Job) -> None:
        """Remove the record of a job that is deleted. Raises PropellerError."""
        ...


class NoRecords:
    """Implements `DeleteRecords` and records nothing: a process that ends forgets these jobs."""

    async def keep(self, uid: str, job: Job) -> None:
        return

    async def drop(self, uid: str, job: Job) -> None:
        return


_Key = tuple[str, int, int, bytes]


UNRECORDED = NoRecords()


class JobDeletes:
    """See the module's text. `plugin_of` raises Unavailable for a job that no plugin knows, `may_act` LeaseLost once
    this process may delete nothing any more.
    """

    def __init__(
        self,
        plugin_of: Callable[[Job], RemotePlugin],
        options: ConnectorOptions,
        clock: Clock,
        may_act: MayAct,
        records: DeleteRecords,
    ) -> None:
        self._plugin_of = plugin_of
        self._options = options
        self._clock = clock
        self._may_act = may_act
        self._records = records
        self._tasks: dict[_Key, asyncio.Task[None]] = {}
        self._abandoned: dict[_Key, asyncio.Task[None]] = {}
        self._deleted: OrderedDict[_Key, None] = OrderedDict()
        self._refused: OrderedDict[_Key, int] = OrderedDict()
        """How often in a row a delete was answered with an error."""
        self._causes = Causes(_log)

    @property
    def under_way(self) -> Collection[asyncio.Task[None]]:
        return [*self._tasks.values(), *self._abandoned.values()]

    async def delete(self, uid: str, job: Job) -> None:
        """Delete a job; one that was deleted already, or is being deleted, costs no call. Raises Unavailable if it can
        be tried again, and if no plugin knows it; what the plugin raises if that was the last of `max_failures` errors.
        """
        key = _key_of(uid, job)
        if key in self._deleted:
            return
        if (task := self._tasks.get(key)) is None:
            task = self._tasks[key] = asyncio.create_task(self._delete(key, job), name="delete a job")
            task.add_done_callback(functools.partial(self._was_deleted, key))
        await asyncio.shield(task)

    def abandon(self, uid: str, job: Job) -> None:
        """Delete a job that no snapshot will have, however often that has to be tried."""
        key = _key_of(uid, job)
        if key not in self._deleted and key not in self._abandoned:
            task = self._abandoned[key] = asyncio.create_task(self._until_deleted(uid, job), name="delete a left job")
            task.add_done_callback(lambda _: self._abandoned.pop(key, None))

    def are_left(self, uid: str) -> bool:
        """Whether jobs of an execution that were abandoned are not deleted yet."""
        return any(key[0] == uid for key in self._abandoned)

    async def _until_deleted(self, uid: str, job: Job) -> None:
        pause, end = self._options.poll_shortest, self._clock.monotonic() + self._options.delete_limit
        is_kept = False
        while True:
            is_kept = is_kept or await self._recorded(self._records.keep, uid, job)
            try:
                await self.delete(uid, job)
                if is_kept:
                    await self._recorded(self._records.drop, uid, job)
                return
            except (Retryable, Denied) as error:
                after = max(pause, (isinstance(error, Retryable) and error.after) or 0.0) * random.uniform(0.75, 1.25)
                if self._clock.monotonic() + after > end:
                    _log.error("a job of execution %s may go on: %s", uid, error)
                    return
            except PropellerError as error:
                _log.error("a job of execution %s may go on: %s", uid, error)
                return
            await asyncio.sleep(after)
            pause = min(2 * pause, self._options.poll_longest)

    async def _recorded(self, change: Callable[[str, Job], Awaitable[None]], uid: str, job: Job) -> bool:
        """Change the record of a job; returns whether that was done."""
        if len(job.id) > MAX_ID_BYTES:
            return False
        try:
            await change(uid, job)
        except PropellerError as error:
            self._causes.report(error, "a job of execution %s that has to be deleted is not recorded", uid)
            return False
        return True

    def _was_deleted(self, key: _Key, task: asyncio.Task[None]) -> None:
        self._tasks.pop(key, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._causes.report(error, "a job of execution %s could not be deleted", key[0])

    async def _delete(self, key: _Key, job: Job) -> None:
        try:
            plugin = self._plugin_of(job)
            self._may_act()
            await plugin.delete(job)
        except (Retryable, Denied):
            raise
        except PropellerError as error:
            refusals = self._refused.pop(key, 0) + 1
            if refusals >= self._options.max_failures:
                raise
            _remember(self._refused, key, refusals)
            raise Unavailable(str(error)) from error
        self._refused.pop(key, None)
        _remember(self._deleted, key, None)


def _key_of(uid: str, job: Job) -> _Key:
    """Return what a job is remembered by. Ids are the services': they may have megabytes, and an earlier attempt, or a
    job of another service, may have the same.
    """
    short = job.id if len(job.id) <= hashlib.sha256().digest_size else hashlib.sha256(job.id).digest()
    return uid, job.node, job.attempt, short


def _remember(among: OrderedDict[_Key, V], key: _Key, value: V) -> None:
    among[key] = value
    if len(among) > REMEMBERED:
        among.popitem(last=False)
