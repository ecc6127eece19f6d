"""Families of counters, histograms and gauges that cost next to nothing until they are scraped.

prometheus_client's own count across threads, which costs 1 to 2 us each time; one of these costs 0.1 to 0.3. They are
counted on one event loop alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

Reader = Callable[[], Iterable[tuple[tuple[str, ...], float]]]
"""Yields label values and value, when a scrape asks."""


class Family(ABC):
    """Name, help and labels of a metric, as a scrape and docs/metrics.md show them."""

    type = ""
    suffix = ""

    def __init__(self, name: str, documentation: str, *labels: str) -> None:
        self._name = name
        self.documentation = documentation
        self.labels = labels

    @property
    def name(self) -> str:
        """As Prometheus stores it."""
        return self._name + self.suffix

    @abstractmethod
    def collect(self) -> Iterable[Metric]:
        """Yield the metrics for a scrape."""


class _ReadFamily(Family):
    """A family whose values are kept elsewhere and read when scraped."""

    def __init__(self, name: str, documentation: str, *labels: str) -> None:
        super().__init__(name, documentation, *labels)
        self._readers: list[Reader] = []

    def read(self, reader: Reader) -> None:
        """Add a function that yields label values and value."""
        self._readers.append(reader)

    def _read(self) -> Iterable[tuple[tuple[str, ...], float]]:
        for reader in self._readers:
            yield from reader()


class Counters(_ReadFamily):
    """A family of counters: `counts[label values] += 1`, or values that exist anyway and are read when scraped."""

    type = "counter"
    suffix = "_total"

    def __init__(self, name: str, documentation: str, *labels: str) -> None:
        super().__init__(name, documentation, *labels)
        self.counts: Counter[tuple[str, ...]] = Counter() if labels else Counter({(): 0})

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily

        family = CounterMetricFamily(self._name, self.documentation, labels=self.labels)
        for labels, count in self.counts.items():
            family.add_metric(labels, count)
        for labels, value in self._read():
            family.add_metric(labels, value)
        yield family


class Gauges(_ReadFamily):
    """A family of gauges."""

    type = "gauge"

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        family = GaugeMetricFamily(self._name, self.documentation, labels=self.labels)
        for labels, value in self._read():
            family.add_metric(labels, value)
        yield family


class Histogram:
    """One of a family: how often values fell at or below each bound."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def counts(self) -> list[int]:
        """Of each bucket, the last of them without a bound."""
        return self._counts

    def cumulative(self) -> list[tuple[str, float]]:
        """Buckets in Prometheus' form: each with all that are smaller."""
        found, total = [], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Histograms(Family):
    """A family of histograms with the same bounds."""

    type = "histogram"

    def __init__(self, name: str, documentation: str, bounds: tuple[float, ...], *labels: str) -> None:
        super().__init__(name, documentation, *labels)
        self._bounds = bounds
        self._of: dict[tuple[str, ...], Histogram] = {}

    def of(self, *labels: str) -> Histogram:
        """The one with these label values."""
        found = self._of.get(labels)
        if found is None:
            found = self._of[labels] = Histogram(self._bounds)
        return found

    def counts(self) -> tuple[int, ...]:
        """Of each bucket, of all of them; the last bucket has no bound."""
        return tuple(map(sum, zip(*(one.counts for one in self._of.values()), strict=True)))

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.metrics_core import HistogramMetricFamily

        family = HistogramMetricFamily(self._name, self.documentation, labels=self.labels)
        for labels, histogram in self._of.items():
            family.add_metric(labels, histogram.cumulative(), histogram.total)
        yield family
