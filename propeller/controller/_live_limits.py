"""The limits in force: those of the settings and of FairQueues, as they change, for the launches of a controller.

Guarantees
    Before anything is launched, the FairQueues that there are have been read. Later changes are in force at once.
    What is wrong with a FairQueue is in its condition, the log, and an Event. A controller of one namespace follows
    FairQueues if it may, and writes no status. Of several controllers that share tokens one writes statuses.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from propeller.clock import Clock
from propeller.config import RedisOptions, Settings
from propeller.controller._events import Recorder, Subject
from propeller.controller._pool_metrics import watch_pools
from propeller.errors import Invalid, Unavailable
from propeller.fairqueues import FAIR_QUEUES, FairQueue, FairQueues
from propeller.handlers import Asked, Holder, LaunchTokens
from propeller.handlers.plugins import PodSettings
from propeller.kube import Client
from propeller.recording import WARNING
from propeller.resourcemgr import Path, ResourceOptions, path_of, with_borrowing
from propeller.resourcemgr.shared import backend_of
from propeller.telemetry import Causes, PoolMetrics

_PER_PROCESS = (
    "resources.pools and shards.count are set, and redis.url is not: each process would count for itself, and together "
    "they would grant a pool as many times as there are processes. Set redis.url, so that they share the pools"
)


_LEASES_OF_TOKENS = 2
"""How many durations of a Lease the tokens of a controller that has died stay out. It may have renewed them a third of
their time before, and what takes its shards over waits for one duration, and lists them.
"""


def _store_of(settings: Settings) -> RedisOptions:
    """Return the options of the store of tokens, with the TTL in force. Raises Invalid if tokens would come back before
    the shards of a process that has died are taken over.
    """
    redis, least = settings.redis, float(_LEASES_OF_TOKENS * settings.election.duration)
    if not redis.ttl:
        return msgspec.structs.replace(redis, ttl=least)
    if redis.url and settings.shards.count and redis.ttl < least:
        raise Invalid(
            f"redis.ttl is {redis.ttl:g}, and election.duration {settings.election.duration}: the tokens of a process "
            f"that has died would come back before another one has its shards, and pools would be exceeded. Set "
            f"redis.ttl to at least {least:g}, or to 0, which follows election.duration"
        )
    return redis


def _refuse_pools(options: ResourceOptions) -> None:
    """Processes that divide the workflows and count in their own memory cannot keep a pool. Raises Invalid."""
    if options.pools:
        raise Invalid(
            f"pool {options.pools[0].name!r}: the controllers divide the workflows (shards.count), and cannot keep a "
            "pool in the memory of each: set redis.url in their settings"
        )


class LiveLimits:
    """`tokens` are what launches ask; None if nothing can limit them."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        clock: Clock,
        granted: Callable[[Holder], bool],
        causes: Causes,
        *,
        namespace: str | None,
        recorder: Recorder | None,
    ) -> None:
        """Raises Invalid for limits of the settings that contradict themselves."""
        resources = settings.resources
        per_process = settings.shards.count > 0 and not settings.redis.url
        if per_process and resources.pools:
            raise Invalid(_PER_PROCESS)
        redis = _store_of(settings)
        self.tokens: LaunchTokens | None = None
        self._weights = {path_of(tenant.name): tenant.weight for tenant in resources.tenants}
        self._followed: FairQueues | None = None
        self._deadline = settings.client.deadline
        self._recorder = recorder
        self._clock = clock
        if resources.pools or resources.fair_queues:
            self.tokens = LaunchTokens(
                with_borrowing(resources),
                clock,
                granted,
                causes,
                backend_of(redis),
                PodSettings.of(settings),
            )
        if self.tokens is not None and resources.fair_queues:
            self._followed = FairQueues(
                client,
                resources,
                settings.informers,
                clock,
                apply=self.tokens.configure,
                check=_refuse_pools if per_process else None,
                usage=self.tokens.report_for_all if namespace is None else None,
                refused=self._refused,
            )

    def weight_of(self, tenant: Path) -> float:
        """A tenant's weight among its siblings."""
        return (self._weights if self.tokens is None else self.tokens.weights).get(tenant, 1.0)

    def named_tenants(self) -> frozenset[Path]:
        """Tenants that the limits in force name."""
        return frozenset(self._weights) if self.tokens is None else self.tokens.named_tenants

    def given_up(self, holder: Holder) -> None:
        """An attempt that had its tokens waits for nothing any more."""
        if self.tokens is not None:
            self.tokens.given_up(holder)

    def watch(self, metrics: PoolMetrics) -> None:
        """Have scrapes read what pools hold, and count how long launches wait for them."""
        if self.tokens is not None:
            watch_pools(metrics, self.tokens, self._clock)

    def queue(self, asked: Asked) -> dict[str, Any]:
        """Who holds and waits for which tokens, for JSON. Raises Invalid for a pool that is none, Unavailable if
        nothing limits launches.
        """
        if self.tokens is None:
            raise Unavailable("nothing limits launches: the settings have no pools")
        return self.tokens.queue(asked)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have tokens, and follow FairQueues, until the block is left. Raises Unavailable."""
        async with contextlib.AsyncExitStack() as stack:
            if self.tokens is not None:
                await stack.enter_async_context(self.tokens.running())
            if self._followed is not None:
                await stack.enter_async_context(self._followed.following(self._deadline))
            yield

    def _refused(self, queue: FairQueue, error: Invalid) -> None:
        if self._recorder is not None:
            metadata = queue.metadata
            subject = Subject("", metadata.name, metadata.uid, FAIR_QUEUES.api_version, FAIR_QUEUES.kind)
            self._recorder.record(subject, WARNING, "Refused", str(error))
