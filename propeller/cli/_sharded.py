"""Have a controller work on the shards that this process holds, among other processes."""

from __future__ import annotations

import logging
import platform
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from propeller.cli._probes import Probes
from propeller.cli._versions import counts_of, version_of
from propeller.clusters import Opener
from propeller.config import Settings, group_beside
from propeller.controller import WorkflowController
from propeller.kube import Client
from propeller.reconcile import LeaseLost
from propeller.reconcile.shards import FencedTransport, Membership, NoLeader
from propeller.routing import Access
from propeller.telemetry import Metrics
from propeller.workflow import key_of_cluster

_log = logging.getLogger(__name__)


class Fence:
    """Whether this process may change anything: once it has joined, while its Lease is valid."""

    def __init__(self) -> None:
        self.check: Callable[[], None] = _has_not_joined

    def around(self, client: Client) -> Client:
        """A client through the same connections that changes nothing while this process may not act."""
        return Client(FencedTransport(client.transport, self.may_act), client.settings)

    def may_act(self) -> None:
        """Raises LeaseLost unless this process may change something now."""
        self.check()


class FencedOpener:
    """Opens the clusters of a routing table through clients that change nothing while this process may not act."""

    def __init__(self, opener: Opener, fence: Fence) -> None:
        self._opener = opener
        self._fence = fence

    @asynccontextmanager
    async def open(self, access: Access) -> AsyncIterator[Client | None]:
        async with self._opener.open(access) as client:
            yield None if client is None else self._fence.around(client)

    async def has_changed(self, access: Access) -> bool:
        return await self._opener.has_changed(access)


def _has_not_joined() -> None:
    raise LeaseLost("this process has not joined the others yet")


def group_of(settings: Settings) -> str:
    """The name of the group of processes, and of its Lease."""
    return group_beside(settings.election.lease_name)


async def join(
    stack: AsyncExitStack,
    client: Client,
    controller: WorkflowController,
    fence: Fence,
    settings: Settings,
    metrics: Metrics,
    probes: Probes,
    name: str = "",
) -> Membership:
    """Join the group of processes, until the stack is left; the loss of the Lease ends it. `name` says which of the
    processes of its machine it is.
    """
    assert controller.shards is not None
    chosen = settings.election
    membership = Membership(
        client,
        chosen.lease_namespace,
        group_of(settings),
        settings.shards.count + 1 + len(settings.shards.clusters),
        controller.shards,
        settings.shards,
        chosen,
        identity="_".join(filter(None, (platform.node(), name))),
        informers=settings.informers,
        version=version_of(settings),
        counts=lambda: counts_of(metrics),
        note=controller.shards.note,
        met=controller.shards.met,
        named=tuple(map(key_of_cluster, settings.shards.clusters)),
        confine=controller.shards.confine,
        interlock=NoLeader(client, chosen.lease_namespace, chosen.lease_name, chosen),
    )
    probes.election = membership.election
    probes.membership = membership
    leadership = await stack.enter_async_context(membership.joined())
    fence.check = leadership.check
    probes.leads = True
    metrics.watch_lease(membership.election.lease, lambda: leadership.remaining() > 0)
    metrics.watch_shards(lambda: len(membership.ready))
    return membership
