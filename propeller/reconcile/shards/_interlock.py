"""Keep a leader that does everything and members that divide the same objects from acting at once, as when one setting
becomes the other in a rolling update.

Each side first shows itself (the leader by its Lease, a member in the shard map), and then looks for the other: of two
that do so at once, one at least sees the other. A leader that sees members gives its lease up and waits; members that
see a leader wait for it to end.

Guarantees
    A leader acts only once the map had no living member after it had the lease; a member begins only once the lease was
    free after the map had it.
    Who is dead is waited for as in an election: until its Lease has not changed for its duration, by this process' own
    monotonic clock.
Errors
    What the client raises: who cannot look does not begin. `lead_alone` looks again, for as long as it has the lease.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.errors import NotFound, PropellerError
from propeller.kube import LEASES, Client, Lease
from propeller.reconcile._lease import Election, Leadership
from propeller.reconcile._options import ElectionOptions
from propeller.reconcile.shards._map_store import MapStore
from propeller.reconcile.shards._members import Members
from propeller.telemetry import Causes

_log = logging.getLogger(__name__)


class Interlock(Protocol):
    """Looks for others, who may not act at the same time."""

    async def obstacle(self) -> str:
        """Return who acts now, or may, "" if nobody does. Raises what the client raises."""


class _Watch:
    """Looks at the Leases of `namespace/name`, and remembers since when each has been silent."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        settings: ElectionOptions | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._seen = Members((settings or ElectionOptions()).duration)

    async def _lease(self, name: str) -> Lease | None:
        try:
            return await self._client.get(LEASES, name, self._namespace)
        except NotFound:
            return None

    def _living(self, names: Collection[str], leases: Mapping[str, Lease]) -> list[str]:
        """Those of `names` that are not silent."""
        now = self._clock.monotonic()
        self._seen.observe(leases, names, now)
        silent = set(self._seen.silent(now))
        return [name for name in names if name not in silent]


class NoLeader(_Watch):
    """For members: whether a leader holds the lease `namespace/name`.

    `NoLeader(client, namespace, name, settings=None, clock=SYSTEM_CLOCK)`; `settings` are those of the election.
    """

    async def obstacle(self) -> str:
        """See `Interlock`."""
        lease = await self._lease(self._name)
        if lease is None or not lease.spec.holder_identity or not self._living([self._name], {self._name: lease}):
            return ""
        return (
            f"{lease.spec.holder_identity} has lease {self._namespace}/{self._name} and does everything: it has to end"
        )


class NoMembers(_Watch):
    """For a leader: whether the group `namespace/name` has members.

    `NoMembers(client, namespace, name, settings=None, clock=SYSTEM_CLOCK)`, as `NoLeader`.
    """

    async def obstacle(self) -> str:
        """See `Interlock`."""
        store = MapStore(self._client, self._namespace, self._name, 0)
        await store.read()
        names = sorted(store.map.names)
        leases = {name: lease for name in names if (lease := await self._lease(name)) is not None}
        if not (living := self._living(names, leases)):
            return ""
        return (
            f"{len(living)} controllers divide the work, as lease {self._namespace}/{self._name} says: they have to end"
        )


@asynccontextmanager
async def lead_alone(election: Election, others: Interlock, retry: float) -> AsyncIterator[Leadership]:
    """Hold the lease while the body runs, which begins once none of the `others` acts. While one does, the lease is
    given up, and asked for again every `retry` seconds. As `Election.lead`, raises LeaseLost.
    """
    while True:
        async with election.lead() as leadership:
            if not (obstacle := await _found(others, retry)):
                yield leadership
                return
        _log.warning("waiting: %s", obstacle)
        await asyncio.sleep(retry)


async def _found(others: Interlock, retry: float) -> str:
    causes = Causes(_log)
    while True:
        try:
            return await others.obstacle()
        except PropellerError as error:
            causes.report(error, "it cannot be known who else acts, looking again")
        await asyncio.sleep(retry)
