"""Metrics of the cache of task outputs."""

from __future__ import annotations

from propeller.telemetry._families import Counters, Family, Gauges, Histograms, Reader
from propeller.telemetry._pools import WAIT_SECONDS


class CatalogMetrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.lookups = Counters(
            "propeller_cache_lookups",
            "Looks into the cache: hit, miss, stale (an entry's files are gone), invalid, failure, or skipped (the "
            "store is down).",
            "outcome",
        )
        self.puts = Counters("propeller_cache_puts", "Outputs that were cached (ok), or could not be.", "outcome")
        self.reservations = Counters(
            "propeller_cache_reservations",
            "Reservations that were acquired, taken over from an owner that is gone, lost, released, or failed.",
            "outcome",
        )
        self._waiting = Gauges("propeller_cache_waiting", "Tasks that wait for another one that computes the same.")
        self._held = Gauges("propeller_cache_reservations_held", "Reservations that this process holds.")
        self._wait_seconds = Histograms(
            "propeller_cache_wait_seconds",
            "Time that tasks waited for another one that computes the same, of those that had to wait.",
            WAIT_SECONDS,
        )
        self.families: tuple[Family, ...] = (
            *(self.lookups, self.puts, self.reservations, self._held, self._waiting, self._wait_seconds),
        )

    def watch(self, held: Reader, waiting: Reader) -> None:
        """Report these when scraped."""
        self._held.read(held)
        self._waiting.read(waiting)

    def waited(self, seconds: float) -> None:
        """A task that waited for so long goes on."""
        self._wait_seconds.of().observe(seconds)
