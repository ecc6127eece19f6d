"""Metrics of the pools that launches take tokens of.

Guarantees
    Tenants are a label if the limits in force name them: a claim counts for the innermost that they name, others for
    `(others)`. A scrape looks at pools and tenants once, whatever it reads of them. Of controllers that share pools
    each has what is its own, so that they can be added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from propeller.clock import Clock
from propeller.handlers import LaunchTokens
from propeller.resourcemgr import SEPARATOR, Path, TenantUsage, Usage, ideals_of, share_of
from propeller.telemetry import PoolMetrics

OTHERS = "(others)"

_FRESH = 0.1
"""Seconds for which one look serves the families of a scrape."""

_Values = Iterator[tuple[tuple[str, ...], float]]


def watch_pools(metrics: PoolMetrics, tokens: LaunchTokens, clock: Clock) -> None:
    """Have scrapes read what pools and tenants hold, and count how long claims wait."""
    look = _Look(tokens, clock)
    metrics.watch(look.held, look.capacity, look.waiting, look.share, look.ideal)
    tokens.on_waited = lambda tenant, seconds: metrics.waited(label_of(tenant, tokens.named_tenants), seconds)


def label_of(tenant: Path, named: frozenset[Path]) -> str:
    """The innermost tenant above or at this path that is named."""
    return next(
        (SEPARATOR.join(tenant[:length]) for length in range(len(tenant), 0, -1) if tenant[:length] in named), OTHERS
    )


class _Look:
    """What there was when it was looked at last."""

    def __init__(self, tokens: LaunchTokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._usage = Usage()
        self._at = -_FRESH

    def _now(self) -> Usage:
        now = self._clock.monotonic()
        if not 0 <= now - self._at < _FRESH:
            self._usage, self._at = self._tokens.report(own=True), now
        return self._usage

    def held(self) -> _Values:
        return (((pool.name,), float(pool.held)) for pool in self._now().pools)

    def capacity(self) -> _Values:
        return (((pool.name,), float(pool.capacity)) for pool in self._now().pools if pool.capacity is not None)

    def waiting(self) -> _Values:
        return (((pool.name,), float(pool.waiting)) for pool in self._now().pools)

    def share(self) -> _Values:
        usage = self._now()
        capacities = {pool.name: pool.capacity for pool in usage.pools}
        return self._by_label((tenant, share_of(tenant, capacities)) for tenant in usage.tenants)

    def ideal(self) -> _Values:
        tenants = self._now().tenants
        ideals = ideals_of(tenants)
        return self._by_label((tenant, ideals[tenant.path]) for tenant in tenants)

    def _by_label(self, values: Iterable[tuple[TenantUsage, float]]) -> _Values:
        """Of tenants that are named, and the sum of projects that are not."""
        named, others = self._tokens.named_tenants, 0.0
        for tenant, value in values:
            if tenant.path in named:
                yield (SEPARATOR.join(tenant.path),), value
            elif len(tenant.path) == 1:
                others += value
        yield (OTHERS,), others
