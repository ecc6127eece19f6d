"""Try attempts elsewhere whose cluster has been unhealthy for longer than `clusters.grace`.

Guarantees
    The next attempt has another number, and so other outputs, and is launched only once a status says so: whatever the
    lost attempt still does, its result does not count. It is stopped once its cluster is back, by its fixed name.
    One that is back before the grace is over has lost nothing but time. No retry is used up, however often clusters go.
    While the cluster of the FlyteWorkflows cannot be reached, nothing of this takes effect: no status can be written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from propeller.clock import Clock
from propeller.controller._clusters import Clusters, Member
from propeller.controller._executions import Executions
from propeller.controller._session import Running
from propeller.errors import ErrorKind
from propeller.workflow import BackingOff, Failure, Launching, Lost, Stopped
from propeller.workflow import Running as RunningState

CODE = "ClusterLost"


class Failover:
    """See the module's text."""

    def __init__(self, clusters: Clusters, executions: Executions, clock: Clock, grace: float) -> None:
        self._clusters = clusters
        self._executions = executions
        self._clock = clock
        self._grace = grace
        self._awake: set[str] = set()
        """Clusters whose executions were brought back into memory."""
        self.given_up: Counter[str] = Counter()
        """Attempts by cluster."""

    def lost(self) -> list[Member]:
        """Return the clusters whose attempts are waited for no longer."""
        now = self._clock.monotonic()
        return [
            member
            for member in self._clusters.members.values()
            if not member.circuit.healthy and now - member.circuit.since >= self._grace
        ]

    def run(self) -> None:
        """Give up the attempts of all executions in clusters that are lost, and load those that are not in memory."""
        lost = self.lost()
        if not lost:
            self._awake.clear()
            return
        for session in tuple(self._executions.sessions.values()):
            if isinstance(session, Running) and session.begun and not session.has_ended:
                self.give_up(session, lost)
        names = {member.name for member in lost}
        if names - self._awake:
            for key in tuple(self._executions.evicted):
                self._executions.reconcile(key)
        self._awake = names

    def give_up(self, session: Running, lost: Iterable[Member]) -> None:
        """Give up the attempts of one execution in these clusters."""
        execution = session.execution
        placements = execution.placements
        if placements is None:
            return
        by_name = {member.name: member for member in lost}
        for node, state in tuple(execution.states.items()):
            if not isinstance(state, Launching | RunningState | BackingOff):
                continue  # what else an attempt waits for is in the object store
            attempt = state.attempt
            if execution.jobs.of(node, attempt) is not None:
                continue  # it runs in none of them
            member = by_name.get(placements.cluster_of(node, attempt) or "")
            if member is not None and placements.is_placed(node, attempt):
                placements.hold(node, attempt)
                self.given_up[member.name] += 1
                why = f"cluster {member.name} has been unhealthy for over {self._grace:g} s: {member.trouble}"
                failure = Failure(CODE, why, ErrorKind.SYSTEM, recoverable=True, attempt=attempt, evicted=True)
                self._executions.notify(session, node, Lost(attempt, failure), Stopped(attempt))
        for node, attempts in tuple(execution.stops.pods.items()):
            for attempt in tuple(attempts):
                if placements.cluster_of(node, attempt) in by_name:
                    self._executions.notify(session, node, Stopped(attempt))
