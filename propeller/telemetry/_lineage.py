"""Metrics of the events of lineage."""

from __future__ import annotations

from propeller.telemetry._families import Counters, Family, Gauges, Reader


class LineageMetrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.events = Counters(
            "propeller_lineage_events",
            "OpenLineage events that were sent, dropped as the queue was full or the process ended, or refused by the "
            "receiver; and failed tries, which are repeated.",
            "outcome",
        )
        self._queued = Gauges("propeller_lineage_queued", "OpenLineage events that wait to be sent.")
        self.families: tuple[Family, ...] = (self.events, self._queued)

    def watch(self, queued: Reader) -> None:
        """Report this when scraped."""
        self._queued.read(queued)
