"""Follow the ResourceQuotas and LimitRanges of the namespaces that the controller sees, for its launches.

Guarantees
    Those that there are have been read before anything is launched. If they may not be read, one line in the log says
    what to grant, the controller runs all the same, and refusals teach instead; once it is granted, they are followed.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from propeller.clock import Clock
from propeller.config import Settings
from propeller.errors import PropellerError
from propeller.handlers import Holder, LaunchQuotas
from propeller.handlers.plugins import PodSettings
from propeller.informers import Change, Informer
from propeller.kube import LIMIT_RANGES, RESOURCE_QUOTAS, Client, Raw, Resource
from propeller.resourcemgr import Path

_log = logging.getLogger(__name__)


class QuotaInformers:
    """`launches` are what launches ask; None if the settings say that quotas are not followed."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        clock: Clock,
        granted: Callable[[Holder], bool],
        weight_of: Callable[[Path], float],
        pods: PodSettings,
        *,
        namespace: str | None,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._deadline = settings.client.deadline
        follows = settings.launches.quotas
        self.launches = LaunchQuotas(settings.launches, clock, granted, weight_of, pods) if follows else None
        self.informers: tuple[Informer[Raw], ...] = ()
        if self.launches is not None:
            self.informers = tuple(
                Informer(client, resource, namespace=namespace, settings=settings.informers)
                for resource in (RESOURCE_QUOTAS, LIMIT_RANGES)
            )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow them until the block is left."""
        launches = self.launches
        if launches is None:
            yield
            return
        of_quotas, of_limit_ranges = self.informers
        async with AsyncExitStack() as stack:
            for informer in self.informers:
                may_read = await self._may_read(informer.resource)
                await stack.enter_async_context(informer)
                if may_read:
                    await informer.wait_for_sync(self._deadline)
            of_limit_ranges.subscribe(lambda change: launches.limit_range_changed(*_named(change)))
            of_quotas.subscribe(lambda change: launches.quota_changed(*_named(change)))
            stack.callback(launches.close)
            yield

    async def _may_read(self, resource: Resource[Raw]) -> bool:
        try:
            await self._client.list(resource.metadata_only(), self._namespace, limit=1)
        except PropellerError as error:
            _log.warning(
                "%s are not followed, so that pods beyond a quota are known by their refusals only: grant list and "
                "watch on %s, as `propeller install` does, or set launches.quotas to false: %s",
                resource.kind + "s",
                resource.plural,
                error,
            )
            return False
        return True


def _named(change: Change[Raw]) -> tuple[str, str, Raw | None]:
    obj = change.new or change.old or {}
    metadata = obj.get("metadata") or {}
    return metadata.get("namespace", ""), metadata.get("name", ""), change.new
