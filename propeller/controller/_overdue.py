"""How long to wait for the end of resources in other clusters that are being deleted, by this process' own clock.

Guarantees
    A `deletionTimestamp` is by the clock of another cluster, which may be hours off: what counts is for how long this
    process has seen that a resource is being deleted. After a restart it is waited for anew.
    Memory is in proportion to what is being deleted.
"""

from __future__ import annotations

import math

from propeller.clock import Clock
from propeller.controller._finalizers import OVERDUE
from propeller.handlers.plugins import AttemptObserver
from propeller.kube import KubeObject

KEPT = 3600.0
"""Seconds that an overdue resource is remembered; then, if it is still there, it is waited for once more."""


class Overdue:
    """One for all clusters."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}
        """By uid, in the order in which they were seen, times of the monotonic clock."""

    def left(self, plugin: AttemptObserver, obj: KubeObject) -> float:
        """Return the seconds until nothing more will be heard of a resource: 0 if it has ended, or is `OVERDUE` seconds
        past its grace; infinity if it is not being deleted.
        """
        metadata, now = obj.metadata, self._clock.monotonic()
        if plugin.has_ended(obj):
            return 0.0
        if metadata.deletion_timestamp is None:
            return math.inf
        if (due := self._due.get(metadata.uid)) is None:
            self._forget(now)
            due = self._due[metadata.uid] = now + (metadata.deletion_grace_period_seconds or 0) + OVERDUE
        return max(0.0, due - now)

    def _forget(self, now: float) -> None:
        while self._due:
            first = next(iter(self._due))
            if self._due[first] > now - KEPT:
                return
            del self._due[first]
