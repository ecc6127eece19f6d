"""What the executors of a controller work with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from propeller.catalog import Catalog, store_of
from propeller.clock import Clock
from propeller.config import Settings
from propeller.connectors import Directory, MayAct, fenced
from propeller.controller._checkpointer import Checkpointer
from propeller.controller._clusters import Clusters
from propeller.controller._duty import Shared
from propeller.controller._left_jobs import LeftJobRecords
from propeller.controller._remote_jobs import JobFinalizers, JobNews
from propeller.controller._resource import FlyteWorkflow
from propeller.handlers import (
    ChildClosures,
    Gates,
    Holder,
    Inputs,
    LaunchPlans,
    LaunchTokens,
    RemoteJobs,
    Services,
    TaskCache,
)
from propeller.handlers.plugins import Plugins, PodSettings
from propeller.kube import ObjectMeta
from propeller.storage import Storage
from propeller.telemetry import CatalogMetrics

Tell = Callable[[Holder], bool]


def services_of(
    settings: Settings,
    storage: Storage,
    clusters: Clusters,
    plugins: Plugins,
    clock: Clock,
    tokens: LaunchTokens | None,
    tell: Tell,
    metrics: CatalogMetrics,
    find: Callable[[str], FlyteWorkflow | None],
    launch_plans: LaunchPlans,
    jobs: RemoteJobs,
) -> Services:
    """The services of one controller; `tell` lets an attempt that waits ask again, `find` looks a workflow up in the
    cache.
    """
    inputs = Inputs(storage)

    def metadata_of(key: str) -> ObjectMeta | None:
        return found.metadata if (found := find(key)) is not None else None

    return Services(
        clusters.of_attempt,
        plugins,
        storage,
        inputs,
        PodSettings.of(settings),
        Gates(settings.launches, clock),
        launch_plans,
        ChildClosures(storage, settings.controller.child_closure_bytes),
        settings.effects,
        tokens,
        _task_cache(settings, storage, inputs, clock, tell, metrics),
        metadata_of,
        settings.controller.nesting_limit,
        jobs,
    )


def remote_jobs_of(
    shared: Shared, checkpointer: Checkpointer, plugins: Plugins, tokens: LaunchTokens | None, may_act: MayAct
) -> RemoteJobs:
    """The jobs of remote services of one controller; `may_act` raises once it may change none of them."""
    options = shared.settings.connectors
    directory = Directory(options, fenced(may_act)) if options.services else None
    tell, finalizers = JobNews(shared.executions).tell, JobFinalizers(shared.client)
    given = tokens, tell, finalizers.hold, may_act
    records = LeftJobRecords(checkpointer, finalizers)
    return RemoteJobs(plugins, directory, options, shared.storage, shared.clock, *given, records=records)


def _task_cache(
    settings: Settings, storage: Storage, inputs: Inputs, clock: Clock, tell: Tell, metrics: CatalogMetrics
) -> TaskCache | None:
    options = settings.catalog
    if not options.enabled:
        return None
    catalog = Catalog(store_of(storage, options), storage, options, clock, metrics)
    return TaskCache(catalog, inputs, storage, clock, tell)


@asynccontextmanager
async def cache_running(services: Services) -> AsyncIterator[None]:
    """Renew the reservations of the cache until the block is left, and close what it has opened."""
    if services.cache is None:
        yield
        return
    catalog = services.cache.catalog
    try:
        async with catalog.reservations.running():
            yield
    finally:
        await catalog.close()
