"""Decide when an execution's status is written, and continue after the write.

Guarantees
    The status is written when the execution ends, and before that at most every `checkpoint.max_lag` seconds; less
    often if it is large or if many executions run. One write of an execution at a time.
    Effects that wait for a status start once it is written, and not before. A failed write delays nothing else: work
    continues, and the retry waits, longer each time, and at least as long as the server asked for.
Errors
    None: a status by another client or a deleted workflow leads to a reload; all other errors are retried.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from propeller.controller import _settled
from propeller.controller._checkpointer import Checkpointer, Deleted, ExternalModification
from propeller.controller._duty import Shared
from propeller.controller._effects import EffectRunner
from propeller.controller._finalizers import is_held, next_stop
from propeller.controller._holds import Holds
from propeller.controller._session import Ended, Running
from propeller.errors import PropellerError, Retryable
from propeller.reconcile import backoff
from propeller.status import is_own_snapshot, supersede
from propeller.workflow import Effect, WorkflowPhase

_log = logging.getLogger(__name__)


class Checkpoints:
    """See the module's text."""

    def __init__(self, shared: Shared, checkpointer: Checkpointer, effects: EffectRunner, holds: Holds) -> None:
        self._checkpointer = checkpointer
        self._effects = effects
        self._holds = holds
        self._executions = shared.executions
        self._lanes = shared.lanes
        self._clusters = shared.clusters
        self._storage = shared.storage
        self._settings = shared.settings
        self._milestones = shared.milestones
        self._causes = shared.causes
        self._clock = shared.clock

    def begin_if_due(self, session: Running, now: float) -> float | None:
        """Start a write if one is due; returns the seconds until then, None if nothing is to be written."""
        due = session.checkpoint_due(self._lag(session))
        if due is None:
            return None
        if due > now:
            return due - now
        self._begin(session)
        return None

    def begin(self, session: Running) -> None:
        """Start a write now if there is anything to write, and none runs."""
        if session.dirty_since is not None and not session.writing:
            self._begin(session)

    def _begin(self, session: Running) -> None:
        session.writing = True
        self._lanes.checkpoint.submit(session.key, lambda: self._write(session))

    def _lag(self, session: Running) -> float:
        """Return the seconds that progress may wait: more if the status is large, if many executions run, and if this
        one only waits.
        """
        settings = self._settings.checkpoint
        longest = settings.longest_wait_lag if session.only_waits else settings.longest_lag
        shared = min(len(self._executions.sessions) / settings.progress_rate, longest)
        return max(settings.max_lag, session.status_bytes / settings.pace, shared)

    async def _write(self, session: Running) -> None:
        since, deferred = session.begin_checkpoint()
        execution, began = session.execution, self._clock.monotonic()
        placements = execution.placements
        version = 0 if placements is None else placements.version
        hits, jobs = execution.cache.unwritten(), execution.jobs.unwritten()
        over, settled, session.unanswered = self._holds.over(session), _settled.take(session), True
        try:
            written = await self._checkpointer.write(
                execution,
                session.version,
                session.fingerprint,
                self._to_release(session, deferred),
                session.generation,
            )
        except Deleted as error:
            _log.info("%s", error)
            self._executions.forget(session)
            self._executions.failed(session.key)
        except ExternalModification as error:
            _log.info("%s", error)
            self._executions.begun.keep(execution)
            self._executions.reload(session, error.version)
            self._executions.failed(session.key, once_free=True)
        except PropellerError as error:
            self._milestones.not_written()
            session.settled += settled
            session.abandon_checkpoint(since, deferred, self._clock.now() + self._pause(session, error))
            self._causes.report(error, "%s: its status could not be written, trying again", session.key)
        else:
            before = session.offloaded_to
            session.write_failures = 0
            session.record(written.metadata, written.status)
            session.unanswered = False
            if placements is not None:
                placements.written(version)
            execution.cache.written(hits)
            execution.jobs.written(jobs)
            self._milestones.written(self._clock.monotonic() - began, session.status_bytes)
            self._discard_earlier(session, before)
            self._holds.written(session.key, over)
            _settled.drop(session, settled, self._clusters)
            for effect in deferred:
                self._effects.start(session, effect)
            if WorkflowPhase(written.status["phase"]).ended:
                self._milestones.ended(execution)
                if self._executions.is_current(session):
                    self._executions.put(Ended(session))
            elif not session.has_ended and session.dirty_since is None:
                return  # there has been nothing new meanwhile
        finally:
            session.writing = False
            self._executions.write_ended(session)
        self._executions.reconcile(session.key)

    def _pause(self, session: Running, error: PropellerError) -> float:
        """Return the seconds until the retry."""
        pause = backoff(self._settings.queue, session.write_failures, random.uniform)
        after = error.after if isinstance(error, Retryable) else None
        return max(after or 0.0, pause)

    def _discard_earlier(self, session: Running, uri: str) -> None:
        """Delete a snapshot in the object store that the status no longer refers to."""
        directory, newer = session.execution.info.directory, session.offloaded_to
        if uri != newer and is_own_snapshot(uri, directory):
            self._lanes.stop.submit(session.key, lambda: self._discard(uri, newer, directory))

    async def _discard(self, uri: str, newer: str, directory: str) -> None:
        try:
            await supersede(uri, newer, directory, self._storage)
        except PropellerError as error:
            self._causes.report(error, "an old status stays at %s", uri)

    def _to_release(self, session: Running, deferred: Sequence[Effect]) -> tuple[str, ...]:
        """Return the finalizers of an execution that has ended and of which nothing runs, otherwise ()."""
        execution = session.execution
        if not is_held(session) or not execution.phase.ended or deferred or session.in_flight or execution.jobs:
            return ()
        if not self._clusters.are_ready(execution.placements):
            return ()
        left = self._clusters.resources_of(session.uid)
        stopped = next_stop(left, self._clock.now()) is None and not any(is_held(one.metadata) for one in left)
        return session.finalizers if stopped else ()
