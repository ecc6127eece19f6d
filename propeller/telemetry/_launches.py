"""Metrics of launches that wait for the platform: for an API server under load, for quotas, for a namespace's limits.

Guarantees
    Label values are few: clusters, causes that propeller knows, tenants that the limits name, and of namespaces those
    `_MAX_NAMESPACES` in which most wait; others add up to `(others)`.
    A launch that never waits costs nothing here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from propeller.telemetry._families import Counters, Family, Gauges, Histograms, Reader
from propeller.telemetry._pools import WAIT_SECONDS

_MAX_NAMESPACES = 100
"""Label values: one scrape stays small."""

_OTHERS = "(others)"


class LaunchMetrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._limit = Gauges(
            "propeller_launch_limit",
            "Creates that may be under way at once on an API server: client.writes_at_once, and less under load.",
            "cluster",
        )
        self._under_way = Gauges(
            "propeller_launches_under_way", "Launches that send their create, or get ready for it.", "cluster"
        )
        self._held = Gauges(
            "propeller_launches_held", "Launches that wait because an API server is under load.", "cluster"
        )
        self._load = Counters(
            "propeller_launch_load",
            "Signs of an API server's load that made launches fewer: answers by code, and rounds of slow creates.",
            *("cluster", "cause"),
        )
        self._waiting = Gauges(
            "propeller_launches_waiting",
            "Launches that wait for room in a namespace: in its quotas, or in a limit that only refusals tell.",
            *("cluster", "namespace", "limit"),
        )
        self._quota_seconds = Histograms(
            "propeller_quota_wait_seconds",
            "Time that attempts waited until they had room in their quotas, of those that had to wait.",
            WAIT_SECONDS,
            "tenant",
        )
        self.families: tuple[Family, ...] = (
            *(self._limit, self._under_way, self._held, self._load),
            *(self._waiting, self._quota_seconds),
        )

    def watch(
        self,
        *,
        limit: Reader,
        under_way: Reader,
        held: Reader,
        load: Callable[[], Mapping[tuple[str, str], int]],
        waiting: Callable[[], Mapping[tuple[str, str, str], int]],
    ) -> None:
        """Report these when scraped: by cluster, cause, namespace and kind of limit, as the labels are."""

        def most_waiting() -> Iterable[tuple[tuple[str, ...], float]]:
            others: Counter[tuple[str, str]] = Counter()
            for number, (labels, count) in enumerate(Counter(waiting()).most_common()):
                if number < _MAX_NAMESPACES:
                    yield labels, float(count)
                else:
                    others[labels[0], labels[2]] += count
            for (cluster, kind), count in others.items():
                yield (cluster, _OTHERS, kind), float(count)

        self._limit.read(limit)
        self._under_way.read(under_way)
        self._held.read(held)
        self._load.read(lambda: [(labels, float(count)) for labels, count in load().items()])
        self._waiting.read(most_waiting)

    def waited_for_quota(self, tenant: str, seconds: float) -> None:
        """An attempt has room after so long."""
        self._quota_seconds.of(tenant).observe(seconds)
