"""Begin to divide shards otherwise, once all members that divided them in another way have ended.

Guarantees
    Members that left in order are none any more. One that the map names has ended once its Lease, unchanged for its
    duration by this process' own monotonic clock, was deleted in that version; or once that was missing for as long.
Caveats
    The map is begun anew: a rollout that it had is forgotten, as its shards were others.
"""

from __future__ import annotations

import asyncio
import contextlib

from propeller.clock import Clock
from propeller.errors import Conflict, NotFound
from propeller.kube import LEASES, Client, Lease
from propeller.reconcile._options import ElectionOptions
from propeller.reconcile.shards._map_store import MapStore
from propeller.reconcile.shards._members import Members
from propeller.reconcile.shards._shard_map import OtherDivision, ShardMap


async def read_or_succeed(
    store: MapStore, client: Client, namespace: str, name: str, election: ElectionOptions, clock: Clock
) -> None:
    """Read the map of the group `namespace/name` into `store`. If it divides shards otherwise, wait until its members
    have been silent for long enough, and begin anew. Raises OtherDivision as soon as one shows that it lives, and what
    the client raises.
    """
    members = Members(election.duration)
    known: dict[str, str] = {}
    while True:
        try:
            return await store.read()
        except OtherDivision as refusal:
            before = MapStore(client, namespace, name, 0)
            await before.read()
            names = before.map.names
            leases = await _leases(client, namespace, names)
            versions = {member: lease.metadata.resource_version for member, lease in leases.items()}
            if any(known.get(member, version) != version for member, version in versions.items()):
                raise refusal
            known = dict.fromkeys(names, "") | versions
            now = clock.monotonic()
            members.observe(leases, names, now)
            if names <= set(members.silent(now)):
                await _bury(client, namespace, versions, refusal)
                await before.write(ShardMap(before.map.count, named=before.map.named))
                continue
        await asyncio.sleep(election.retry)


async def _leases(client: Client, namespace: str, names: frozenset[str]) -> dict[str, Lease]:
    found = {}
    for name in sorted(names):
        with contextlib.suppress(NotFound):
            found[name] = await client.get(LEASES, name, namespace)
    return found


async def _bury(client: Client, namespace: str, versions: dict[str, str], refusal: OtherDivision) -> None:
    for name, version in versions.items():
        try:
            await client.delete(LEASES, name, namespace, resource_version=version)
        except NotFound:
            continue
        except Conflict:
            raise refusal from None
