"""Metrics of pools of tokens and of the tenants that share them.

Guarantees
    Label values are names of the limits: tenants that they do not name count as `(others)`.
    What pools hold is read when scraped. A claim that never waits costs nothing.
"""

from __future__ import annotations

from propeller.telemetry._families import Family, Gauges, Histograms, Reader

WAIT_SECONDS = (0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0)
"""Behind a second's tasks, and behind a flood that takes a day."""


class PoolMetrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._held = Gauges("propeller_pool_held", "Tokens of a pool that are held.", "pool")
        self._capacity = Gauges(
            "propeller_pool_capacity",
            "Tokens of a pool that may be held at once; absent if it has a rate alone.",
            "pool",
        )
        self._waiting = Gauges("propeller_pool_waiting", "Attempts that wait for tokens of a pool.", "pool")
        self._wait_seconds = Histograms(
            "propeller_pool_wait_seconds",
            "Time that attempts waited until they had their tokens, of those that had to wait.",
            WAIT_SECONDS,
            "tenant",
        )
        self._share = Gauges(
            "propeller_tenant_share", "The largest part of any pool that a tenant of the limits holds.", "tenant"
        )
        self._ideal = Gauges(
            "propeller_tenant_share_ideal",
            "The part that its weight gives it beside the tenants that hold or wait for tokens now.",
            "tenant",
        )
        self.families: tuple[Family, ...] = (
            *(self._held, self._capacity, self._waiting, self._wait_seconds, self._share, self._ideal),
        )

    def watch(self, held: Reader, capacity: Reader, waiting: Reader, share: Reader, ideal: Reader) -> None:
        """Report these when scraped, by pool and by tenant."""
        self._held.read(held)
        self._capacity.read(capacity)
        self._waiting.read(waiting)
        self._share.read(share)
        self._ideal.read(ideal)

    def waited(self, tenant: str, seconds: float) -> None:
        """A claim has its tokens after so long."""
        self._wait_seconds.of(tenant).observe(seconds)
