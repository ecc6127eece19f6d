"""Every metric of a process, declared in one place, in Prometheus' naming (base units, `_total` on counters).

The packages below take plain callables and do not depend on Prometheus; the wiring code passes them methods of
`Metrics`. Values that exist anyway (queue depths, lag) are read when scraped, and cost nothing in between.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from propeller.telemetry._catalog import CatalogMetrics
from propeller.telemetry._clusters import ClusterMetrics
from propeller.telemetry._executions import ExecutionMetrics
from propeller.telemetry._families import Counters, Family, Gauges, Histograms
from propeller.telemetry._launches import LaunchMetrics
from propeller.telemetry._lineage import LineageMetrics
from propeller.telemetry._pools import PoolMetrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_RECONCILE_BUCKETS = (
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
)  # seconds; a reconcile should take < 5 ms
LATE_TURN = 0.1
"""Seconds that a turn of the event loop takes at most before it counts as late."""

_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)  # seconds; few should wait for over 50 ms
_MAX_TENANTS = 100  # label values for tenants: more are summed up, so one scrape stays small

_CODES = range(100, 600)  # of HTTP; other codes are counted as none


class Cache(Protocol):
    """The counts of an informer that are reported."""

    @property
    def objects(self) -> int:
        """Objects in the store."""

    @property
    def lists(self) -> int:
        """Begun, since the start."""

    @property
    def watches(self) -> int:
        """Begun, since the start."""

    @property
    def failures(self) -> int:
        """Lists and watches that failed."""


class Metrics:
    """The registry and its metrics. Make one per process, or per test."""

    def __init__(self) -> None:
        # Imported here: 0.1 s that no user of informers and queues alone should pay.
        from prometheus_client import CollectorRegistry, disable_created_metrics
        from prometheus_client.gc_collector import GCCollector
        from prometheus_client.platform_collector import PlatformCollector
        from prometheus_client.process_collector import ProcessCollector

        disable_created_metrics()  # type: ignore[no-untyped-call] # upstream leaves this function without types
        self.registry: CollectorRegistry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.executions = ExecutionMetrics()
        self.pools = PoolMetrics()
        self.launches = LaunchMetrics()
        self.clusters = ClusterMetrics()
        self.catalog = CatalogMetrics()
        self.lineage = LineageMetrics()
        self._reconciles = Counters("propeller_rounds", "Reconciles that have ended.", "controller", "outcome")
        self._reconcile_seconds = Histograms(
            "propeller_round_seconds", "Time of a reconcile.", _RECONCILE_BUCKETS, "controller"
        )
        self._requests = Counters(
            "propeller_requests",
            "Requests to the API server by verb and HTTP code; the code is none without a response.",
            *("verb", "code"),
        )
        self._objects = Gauges("propeller_cache_objects", "Objects in a cache.", "kind")
        self._lists = Counters("propeller_lists", "Lists that filled a cache.", "kind")
        self._watches = Counters("propeller_watches", "Watches that kept a cache up to date.", "kind")
        self._follow_failures = Counters("propeller_list_watch_failures", "Lists and watches that failed.", "kind")
        self._blocks = Counters("propeller_loop_blocks", "Times the event loop was blocked over the threshold.")
        self._lags = Histograms(
            "propeller_loop_lag_seconds",
            "Lag of the event loop's timers, sampled by the watchdog.",
            _LAG_BUCKETS,
        )
        self._undecodable = Counters(
            "propeller_undecodable_objects",
            "Objects from the API server that could not be decoded, counted each time.",
            "kind",
        )
        self._events = Counters(
            "propeller_events", "Kubernetes Events that were sent, dropped by the limits, or failed.", "outcome"
        )
        self._leading = Gauges("propeller_leading", "1 while this process holds the lease.", "lease")
        self._shards = Gauges("propeller_shards", "Shards that this process works on.")
        self._waiting = Gauges(
            "propeller_queue_waiting", "Keys that wait for a reconcile now, by tenant.", "tenant", "queue"
        )
        self._lag = Gauges("propeller_loop_lag_max_seconds", "Longest time that the event loop was blocked.")
        self._not_understood = Gauges(
            "propeller_not_understood",
            "Objects that are left unchanged because this version does not understand their state.",
            "controller",
        )
        self.families: tuple[Family, ...] = (
            *self.executions.families,
            *self.pools.families,
            *self.launches.families,
            *self.clusters.families,
            *self.catalog.families,
            *self.lineage.families,
            *(self._requests, self._objects, self._lists, self._watches, self._follow_failures, self._undecodable),
            *(
                self._events,
                self._not_understood,
                self._waiting,
                self._reconciles,
                self._reconcile_seconds,
                self._leading,
                self._shards,
            ),
            *(self._lags, self._lag, self._blocks),
        )
        """All families of propeller, in the order of docs/metrics.md."""
        for family in self.families:
            self.registry.register(family)

    def reconciles_of(self, controller: str) -> Callable[[str, float], None]:
        """Return the `on_reconcile` of a controller, which counts (outcome, seconds)."""
        outcomes, times = self._reconciles.counts, self._reconcile_seconds.of(controller)

        def count(outcome: str, seconds: float) -> None:
            outcomes[controller, outcome] += 1
            times.observe(seconds)

        return count

    def reconciled(self) -> tuple[dict[str, int], tuple[int, ...]]:
        """How many reconciles there were by outcome, and by time: of each bucket, the last of them without a bound."""
        outcomes: dict[str, int] = {}
        for (_, outcome), count in self._reconciles.counts.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
        return outcomes, self._reconcile_seconds.counts()

    def watch_requests(self, counts: Mapping[tuple[str, int | str], int]) -> None:
        """Report a client's requests, by verb and code."""

        def read() -> Iterable[tuple[tuple[str, ...], float]]:
            for (verb, code), count in counts.items():
                yield (verb, str(code) if isinstance(code, str) or code in _CODES else "other"), count

        self._requests.read(read)

    def watch_cache(self, kind: str, cache: Cache) -> None:
        """Report a cache's objects, lists, watches and failures."""
        self._objects.read(lambda: [((kind,), float(cache.objects))])
        self._lists.read(lambda: [((kind,), float(cache.lists))])
        self._watches.read(lambda: [((kind,), float(cache.watches))])
        self._follow_failures.read(lambda: [((kind,), float(cache.failures))])

    def watch_queue(self, queue: str, depths: Callable[[], Mapping[Hashable, int]]) -> None:
        """Report `depths` (by tenant) under the name `queue`; tenants beyond the 100 largest add up to `(others)`."""

        def read() -> Iterable[tuple[tuple[str, ...], float]]:
            ordered = sorted(depths().items(), key=lambda item: -item[1])
            for tenant, waiting in ordered[:_MAX_TENANTS]:
                yield (str(tenant), queue), waiting
            if len(ordered) > _MAX_TENANTS:
                yield ("(others)", queue), sum(waiting for _, waiting in ordered[_MAX_TENANTS:])

        self._waiting.read(read)

    def watch_not_understood(self, controller: str, count: Callable[[], int]) -> None:
        """Report how many objects are left unchanged because this version does not understand their state."""
        self._not_understood.read(lambda: [((controller,), float(count()))])

    def undecodable_of(self, kind: str) -> Callable[[object], None]:
        """Return a function to call with each object of `kind` that could not be decoded."""
        counts = self._undecodable.counts

        def count(_: object) -> None:
            counts[kind,] += 1

        return count

    def watch_events(self, counts: Mapping[str, int]) -> None:
        """Report Events by outcome."""
        self._events.read(lambda: [((outcome,), count) for outcome, count in counts.items()])

    def watch_lease(self, lease: str, leading: Callable[[], bool]) -> None:
        """Report whether this process holds `lease`."""
        self._leading.read(lambda: [((lease,), float(leading()))])

    def watch_shards(self, count: Callable[[], int]) -> None:
        """Report how many shards this process works on."""
        self._shards.read(lambda: [((), float(count()))])

    def watch_lag(self, max_lag: Callable[[], float]) -> Callable[[float], None]:
        """Report `max_lag` (seconds); return a function to call with the seconds of each time that the loop was
        blocked.
        """
        self._lag.read(lambda: [((), max_lag())])
        counts = self._blocks.counts

        def count(_: float) -> None:
            counts[()] += 1

        return count

    def lagged(self, seconds: float) -> None:
        """Count a sample of the loop's lag: the watchdog's `on_lag`."""
        self._lags.of().observe(seconds)

    def late_turns(self) -> tuple[int, int]:
        """How many samples of the loop's lag were over `LATE_TURN`, and how many there were."""
        counts = self._lags.counts()
        return sum(counts[_LAG_BUCKETS.index(LATE_TURN) + 1 :]), sum(counts)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)
