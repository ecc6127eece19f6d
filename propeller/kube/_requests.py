"""Counts of one client's requests by verb and status code, for metrics and probes."""

from __future__ import annotations

from collections import Counter

from propeller.clock import Clock
from propeller.errors import Denied, PropellerError

NO_ANSWER = "none"
"""The code of requests that were not answered, or not sent for want of credentials or of a slot in their flow."""


class Requests:
    """Counts by verb (Kubernetes' word: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`) and HTTP code.
    A read that is tried again counts each time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.counts: Counter[tuple[str, int | str]] = Counter()
        self.refused_since: float | None = None
        """Time of the monotonic clock, seconds, since when no response but 401 has come, or no credentials could be
        obtained; None while they are accepted, and before the first such answer. A server that is away or unwell says
        nothing about credentials."""

    def answered(self, verb: str, status: int) -> None:
        self.counts[verb, status] += 1
        if status == 401:
            self._refused()
        elif status < 500:
            self.refused_since = None

    def failed(self, verb: str, error: PropellerError) -> None:
        """There was no response."""
        self.counts[verb, NO_ANSWER] += 1
        if isinstance(error, Denied):
            self._refused()

    def _refused(self) -> None:
        if self.refused_since is None:
            self.refused_since = self._clock.monotonic()
