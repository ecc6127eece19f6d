"""Evict executions without events, so that memory holds only those that something happens to.

Guarantees
    An execution is evicted after `controller.idle` seconds without events, and only if the checkpoint and the resources
    of its attempts say all there is to know: no effect is under way, no timer is due, and no attempt waits for tokens
    or a quota. The next event or timer loads it again.
"""

from __future__ import annotations

from collections.abc import Callable

from propeller.controller._duty import Shared
from propeller.controller._loading import Loader
from propeller.controller._session import Running
from propeller.reconcile import Result
from propeller.workflow import Execution


class Idleness:
    """`waits` says whether an attempt of the execution with that uid waits for a grant."""

    def __init__(self, shared: Shared, loader: Loader, waits: Callable[[str], bool]) -> None:
        self._clock = shared.clock
        self._executions = shared.executions
        self._loader = loader
        self._waits = waits
        self._clusters = shared.clusters
        self._idle = shared.settings.controller.idle

    def evict_if_due(self, session: Running) -> Result | None:
        """Evict an execution that has been idle; returns when to reconcile it again, None if it stays."""
        now, execution = self._clock.now(), session.execution
        wake = execution.timers[0][0] if execution.timers else None
        idle = self._timeout(execution)
        if (
            not idle
            or now < session.last_activity + idle
            or not session.is_at_rest
            or self._waits(session.uid)
            or not self._clusters.are_ready(execution.placements)
            or (wake is not None and wake <= now)
        ):
            return None
        self._loader.keep(session.uid, execution.plan)
        self._executions.evict(session)
        return Result(requeue_after=None if wake is None else wake - now)

    def left(self, session: Running, now: float) -> float | None:
        """Return the seconds until an execution may be evicted: more if something runs then, None if it never is."""
        idle = self._timeout(session.execution)
        if not idle or session.has_ended:
            return None
        return max(session.last_activity + idle - now, idle / 4)

    def _timeout(self, execution: Execution) -> float:
        """Seconds without events until an execution is evicted: reloading one of many nodes costs more."""
        return self._idle * (1 + len(execution.phases) // 1000)
