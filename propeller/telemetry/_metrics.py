"""Every metric of a process, declared in one place, in Prometheus' naming (base units, `_total` on counters).

The rooms below take plain callables and know nothing of Prometheus; whoever wires them hands them methods of `Metrics`.
What exists anyway (queue depths, lag) is read when it is scraped, and costs nothing in between.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

_ROUND_BUCKETS = (
    0.0001,
    0.0005,
    0.001,
    0.005,
    0.01,
    0.05,
    0.1,
    0.5,
    1.0,
    5.0,
    30.0,
)  # seconds; a round should be < 5 ms
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)  # seconds; few should wait for over 50 ms
_MAX_TENANTS = 100  # label values for tenants: more are summed up, so one scrape stays small


class Metrics:
    """The registry and what is counted in it. Make one per process, or per test."""

    def __init__(self) -> None:
        # Imported here: 0.1 s that no user of informers and queues alone should pay.
        from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
        from prometheus_client.gc_collector import GCCollector
        from prometheus_client.platform_collector import PlatformCollector
        from prometheus_client.process_collector import ProcessCollector

        disable_created_metrics()  # type: ignore[no-untyped-call] # upstream leaves this function without types
        self.registry: CollectorRegistry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._rounds = _Rounds()
        self._blocks = Counter(
            "propeller_loop_blocks", "Times the event loop was blocked over the threshold.", registry=self.registry
        )
        self._lags = Histogram(
            "propeller_loop_lag_seconds",
            "How late the event loop was for what was due, sampled by the watchdog.",
            registry=self.registry,
            buckets=_LAG_BUCKETS,
        )
        self._undecodable = Counter(
            "propeller_undecodable_objects",
            "Objects that the API server sent and that could not be decoded, each time they came.",
            ["kind"],
            registry=self.registry,
        )
        self._leading = _Gauges("propeller_leading", "1 while this process holds the lease.", "lease")
        self._waiting = _Gauges(
            "propeller_queue_waiting", "Keys that wait for a round now, by tenant.", "tenant", "queue"
        )
        self._lag = _Gauges("propeller_loop_lag_max_seconds", "Longest time that the event loop was blocked.")
        self._not_understood = _Gauges(
            "propeller_not_understood",
            "Objects whose state this version does not understand, and leaves.",
            "controller",
        )
        for family in (self._rounds, self._leading, self._waiting, self._not_understood, self._lag):
            self.registry.register(family)

    def rounds_of(self, controller: str) -> Callable[[str, float], None]:
        """The `on_round` of a controller: counts (outcome, seconds)."""
        return self._rounds.of(controller)

    def watch_queue(self, queue: str, depths: Callable[[], Mapping[Hashable, int]]) -> None:
        """Report `depths` (by tenant) under the name `queue`; the smallest tenants over 100 as one, `(others)`."""

        def read() -> Iterable[tuple[tuple[str, ...], float]]:
            ordered = sorted(depths().items(), key=lambda item: -item[1])
            for tenant, waiting in ordered[:_MAX_TENANTS]:
                yield (str(tenant), queue), waiting
            if len(ordered) > _MAX_TENANTS:
                yield ("(others)", queue), sum(waiting for _, waiting in ordered[_MAX_TENANTS:])

        self._waiting.read(read)

    def watch_not_understood(self, controller: str, count: Callable[[], int]) -> None:
        """Report of how many objects the state is left as it is, for another version."""
        self._not_understood.read(lambda: [((controller,), float(count()))])

    def undecodable_of(self, kind: str) -> Callable[[object], None]:
        """Returns what to call with each object of `kind` that could not be decoded."""
        counter = self._undecodable.labels(kind)
        return lambda found: counter.inc()

    def watch_lease(self, lease: str, leading: Callable[[], bool]) -> None:
        """Report whether this process holds `lease`."""
        self._leading.read(lambda: [((lease,), float(leading()))])

    def watch_lag(self, max_lag: Callable[[], float]) -> Callable[[float], None]:
        """Report `max_lag` (seconds); returns what to call with the seconds of each time the loop was blocked."""
        self._lag.read(lambda: [((), max_lag())])
        return lambda seconds: self._blocks.inc()

    def lagged(self, seconds: float) -> None:
        """Count a sample of the loop's lag: the watchdog's `on_lag`."""
        self._lags.observe(seconds)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)


class _RoundsOf:
    """What one controller's rounds came to. There are thousands a second: prometheus_client's own would cost more than
    a tenth of them, for it counts across threads.
    """

    def __init__(self) -> None:
        self.outcomes: Counts[str] = Counts()
        self.buckets = [0] * (len(_ROUND_BUCKETS) + 1)
        self.seconds = 0.0

    def count(self, outcome: str, seconds: float) -> None:
        self.outcomes[outcome] += 1
        self.buckets[bisect_left(_ROUND_BUCKETS, seconds)] += 1
        self.seconds += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Buckets in Prometheus' form: each with all that are smaller."""
        found, total = [], 0
        for bound, count in zip((*map(str, _ROUND_BUCKETS), "+Inf"), self.buckets, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class _Rounds:
    """Counts and times of rounds, by controller."""

    def __init__(self) -> None:
        self._of: dict[str, _RoundsOf] = {}

    def of(self, controller: str) -> Callable[[str, float], None]:
        """The `on_round` of a controller."""
        return self._of.setdefault(controller, _RoundsOf()).count

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

        ended = CounterMetricFamily("propeller_rounds", "Rounds that have ended.", labels=["controller", "outcome"])
        times = HistogramMetricFamily("propeller_round_seconds", "Time of a round.", labels=["controller"])
        for controller, rounds in self._of.items():
            for outcome, count in rounds.outcomes.items():
                ended.add_metric([controller, outcome], count)
            times.add_metric([controller], rounds.cumulative(), rounds.seconds)
        yield ended
        yield times


class _Gauges:
    """A family of gauges that are read when scraped."""

    def __init__(self, name: str, documentation: str, *labels: str) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._readers: list[Callable[[], Iterable[tuple[tuple[str, ...], float]]]] = []

    def read(self, reader: Callable[[], Iterable[tuple[tuple[str, ...], float]]]) -> None:
        """Add what yields label values and value."""
        self._readers.append(reader)

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        family = GaugeMetricFamily(self._name, self._documentation, labels=self._labels)
        for reader in self._readers:
            for labels, value in reader():
                family.add_metric(labels, value)
        yield family
