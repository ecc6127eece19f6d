"""Track the executions of this process: which are in memory, which are evicted, and what each key waits for.

All duties of the controller (pod events, effects, checkpoints, retention) build on this module, and none on another one
through it.

Guarantees
    One session per key. A forgotten session is never found again, and its execution counts as dropped: effects that
    still run for it have no result.
    If something fails for an execution as a whole, it is retried after a growing pause, whatever triggers a reconcile
    meanwhile. Failures of effects and of status writes are counted where they are retried.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from propeller.clock import Clock
from propeller.controller._begun import Begun
from propeller.controller._session import MinResourceVersion, Running, Session
from propeller.pauses import PausesByKey
from propeller.reconcile import QueueOptions, WorkQueue
from propeller.workflow import AttemptObserved, AttemptPhase, Launched, NodeEvent


class Executions:
    """By key, `namespace/name`; see the module's text.

    More than 15 methods: each is one question about, or one change of, the table that all duties share.
    """

    def __init__(self, queue: WorkQueue[str], settings: QueueOptions, clock: Clock, event_delay: float) -> None:
        self._queue = queue
        self._clock = clock
        self._event_delay = event_delay  # see controller.event_delay
        self._sessions: dict[str, Session] = {}
        self._evicted: set[str] = set()
        self._stale: dict[str, MinResourceVersion] = {}
        self._unsure: dict[str, Running] = {}
        """Sessions that were dropped while a status of theirs was under way, or had no answer: until what the server
        has is known.
        """
        self._pauses = PausesByKey(settings.backoff, settings.backoff_cap)
        self.begun = Begun()

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The sessions in memory."""
        return self._sessions

    @property
    def evicted(self) -> Collection[str]:
        """Keys of executions that left memory until their next event."""
        return self._evicted

    def get(self, key: str) -> Session | None:
        return self._sessions.get(key)

    def is_current(self, session: Session) -> bool:
        """Whether the session is the one in memory: an answer may arrive after it was forgotten."""
        return self._sessions.get(session.key) is session

    def put(self, session: Session) -> None:
        """Hold a session in memory; it replaces its earlier stage."""
        self._sessions[session.key] = session
        self._evicted.discard(session.key)

    def forget(self, session: Session) -> None:
        """Drop a session from memory."""
        if isinstance(session, Running):
            session.execution.dropped = True
        if self.is_current(session):
            del self._sessions[session.key]

    def evict(self, session: Session) -> None:
        """Drop a session from memory until its execution's next event."""
        self.reload(session)
        self._evicted.add(session.key)

    def reload(self, session: Session, version: str | None = None) -> None:
        """Drop a session from memory. Its execution is loaded again once the cache has `version`, which the server has;
        by default that of our last read or write, or of a write of which that is not known yet.
        """
        self.forget(session)
        self._stale[session.key] = MinResourceVersion(session.uid, session.version if version is None else version)
        if version is None and isinstance(session, Running) and (session.writing or session.unanswered):
            self._unsure[session.key] = session
        else:
            self._unsure.pop(session.key, None)

    def unsure(self, key: str) -> Running | None:
        """Return the dropped session of which it is not known whether its last status is written: what is loaded now
        could lack what that says.
        """
        return self._unsure.get(key)

    def resolve(self, session: Running, written: MinResourceVersion) -> None:
        """Let the execution of such a session be loaded once the cache has what the server has."""
        if self._unsure.get(session.key) is session:
            del self._unsure[session.key]
            self._stale[session.key] = written
            self.reconcile(session.key)

    def write_ended(self, session: Running) -> None:
        """A write of a status has ended. If its session was dropped meanwhile, its execution may be loaded, once the
        cache has what was written.
        """
        if not session.unanswered:
            self.resolve(session, MinResourceVersion(session.uid, session.version))
        elif self._unsure.get(session.key) is session:
            self.reconcile(session.key)

    def stale_until(self, key: str) -> MinResourceVersion | None:
        """Return the version that the cache has to reach before the execution may be loaded; None if it may be."""
        return self._stale.get(key)

    def caught_up(self, key: str) -> None:
        """Stop waiting for the cache: it has the version, or the version will never come."""
        self._stale.pop(key, None)

    def start_over(self) -> int:
        """Drop all sessions and all knowledge of caches. Returns the number of executions."""
        keys = {*self._sessions, *self._evicted, *self._stale}
        for session in tuple(self._sessions.values()):
            self.forget(session)
        self._stale.clear()
        self._unsure.clear()
        self.begun.clear()
        return len(keys)

    def deleted(self, key: str) -> None:
        """Forget a deleted workflow."""
        self._stale.pop(key, None)
        self._unsure.pop(key, None)
        self._pauses.forget(key)
        self._evicted.discard(key)
        self.begun.forget(key)

    def ended(self, key: str) -> None:
        """Forget an ended workflow: it is not brought back."""
        self._evicted.discard(key)
        self.begun.forget(key)

    def reconcile(self, key: str) -> None:
        self._queue.add(key)

    def reconcile_after(self, key: str, seconds: float) -> None:
        self._queue.add_after(key, seconds)

    def notify(self, session: Running, node: int, *events: NodeEvent) -> None:
        """Add events of a node to the session's inbox, and requeue its key."""
        session.inbox.extend((node, event) for event in events)
        if all(map(_can_wait, events)):
            self._queue.add_after(session.key, self._event_delay)
        else:
            self._queue.add(session.key)

    def retry_later(self, key: str) -> None:
        """Requeue after a pause, as something failed for the execution as a whole."""
        self._queue.add_after(key, self.failed(key))

    def failed(self, key: str, *, once_free: bool = False) -> float:
        """Count a failure of the execution as a whole; returns the pause before the retry. With `once_free` the first
        failure in a row costs no pause.
        """
        return self._pauses.failed(key, self._clock.monotonic(), once_free=once_free)

    def pause_left(self, key: str) -> float:
        """Return the seconds left of that pause."""
        return self._pauses.left(key, self._clock.monotonic())

    def job_raised(self, key: str, error: Exception) -> None:
        """For workers: a job raised, and may have done half of its work. The execution is reloaded."""
        if (session := self._sessions.get(key)) is not None:
            self.reload(session)
        self.retry_later(key)


def _can_wait(event: NodeEvent) -> bool:
    return isinstance(event, Launched) or (
        isinstance(event, AttemptObserved) and (event.phase is AttemptPhase.RUNNING or event.gated)
    )
