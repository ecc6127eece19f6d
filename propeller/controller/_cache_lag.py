"""Make executions wait while their workflow in the cache is older than what the controller knows.

Guarantees
    The next event of the workflow triggers a reconcile. Caches lag by milliseconds, so the server is asked after
    `LOOK_SECONDS`, and again after pauses that grow to `queue.backoff_cap`: a restore, or a recreated resource type,
    may have removed the version.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from propeller.controller._checkpointer import Checkpointer
from propeller.controller._duty import Shared
from propeller.controller._resource import HEADS, FlyteWorkflow, Head
from propeller.controller._session import Ended, MinResourceVersion, Running
from propeller.errors import NotFound, PropellerError
from propeller.informers import AnyInformer
from propeller.reconcile import Result

_log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""Seconds until the server is asked for an object whose version the cache lacks."""


class CacheLag:
    """See the module's text."""

    def __init__(self, shared: Shared, checkpointer: Checkpointer, workflows: AnyInformer[FlyteWorkflow]) -> None:
        self._checkpointer = checkpointer
        self._workflows = workflows
        self._client = shared.client
        self._executions = shared.executions
        self._lane = shared.lanes.observe
        self._causes = shared.causes
        self._clock = shared.clock
        self._pause_cap = shared.settings.queue.backoff_cap
        self._next_looks: dict[str, tuple[float, float]] = {}
        """By key, epoch seconds when the server is asked whether what is waited for will come, and the pause in seconds
        before that.
        """

    def wait_to_load(self, workflow: FlyteWorkflow) -> Result | None:
        """Return when to reconcile again if the cache lacks the last write, as loading would lead to a conflict, or if
        that write is under way, or may have been made without an answer: what it says is decided. None if the execution
        may be loaded.
        """
        key = workflow.key
        if (dropped := self._executions.unsure(key)) is not None:
            if dropped.writing:
                return Result()  # its end reconciles
            return self._look_later(key, lambda: self._look_for_write(key, dropped), first=0.0)
        wanted = self._executions.stale_until(key)
        if wanted is None:
            return None
        if wanted.is_newer_than(workflow.metadata) and not self._workflows.has_reached(wanted.version):
            return self._look_later(key, lambda: self._look_for_version(key, wanted))
        self._executions.caught_up(key)
        self._next_looks.pop(key, None)
        return None

    def wait_for_end(self, session: Ended) -> Result:
        """Return when to reconcile again: the cache lacks the end that was written."""
        return self._look_later(session.key, lambda: self._look_for_end(session))

    def forget(self, key: str) -> None:
        """Stop waiting."""
        self._next_looks.pop(key, None)

    def _look_later(self, key: str, look: Callable[[], Awaitable[None]], first: float = LOOK_SECONDS) -> Result:
        now = self._clock.now()
        due, pause = self._next_looks.setdefault(key, (now + first, LOOK_SECONDS))
        if now >= due or due > now + pause:  # or the clock was set back
            pause = max(LOOK_SECONDS, min(2 * pause, self._pause_cap))
            due = now + pause
            self._next_looks[key] = due, pause
            self._lane.submit(key, look)
        return Result(requeue_after=due - now)

    async def _look_for_version(self, key: str, wanted: MinResourceVersion) -> None:
        """Check whether the version can still arrive."""
        head = await self._head(key)
        lost = head is not None and (head.metadata.uid != wanted.uid or wanted.is_newer_than(head.metadata))
        if lost and self._executions.stale_until(key) == wanted:
            _log.warning(
                "%s: the server does not have version %s any more: it goes on from what is there", key, wanted.version
            )
            self._executions.caught_up(key)
            self._executions.reconcile(key)

    async def _look_for_write(self, key: str, dropped: Running) -> None:
        """Find out what the server has after a write without an answer. An object that is gone, the cache hears of."""
        if (head := await self._head(key)) is not None:
            self._executions.resolve(dropped, MinResourceVersion(head.metadata.uid, head.metadata.resource_version))

    async def _look_for_end(self, session: Ended) -> None:
        """Check whether the server has the end that was written."""
        head = await self._head(session.key)
        if head is None or not self._executions.is_current(session) or head.metadata.uid != session.uid:
            return
        if head.fingerprint != session.fingerprint:
            _log.warning("%s: its end was written, and the server does not have it: it is loaded again", session.key)
            await self._checkpointer.look_for_subresource()
            self._executions.reload(session, head.metadata.resource_version)
            self._executions.reconcile(session.key)

    async def _head(self, key: str) -> Head | None:
        namespace, _, name = key.partition("/")
        try:
            return await self._client.get(HEADS, name, namespace)
        except PropellerError as error:
            if not isinstance(error, NotFound):  # else the cache will hear of it
                self._causes.report(error, "%s: it could not be looked at, trying again", key)
            return None
