"""A group of members seen from outside: who they are, what they do, and the rollout that a person starts or ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from propeller.errors import Conflict, NotFound
from propeller.kube import LEASES, Client
from propeller.reconcile.rollouts import Counts, Rollout, decode_counts
from propeller.reconcile.shards._map_store import GROUP_LABEL, MapStore
from propeller.reconcile.shards._members import COUNTS_ANNOTATION, LOAD_ANNOTATION
from propeller.reconcile.shards._shard_map import ShardMap, loads_of

TRIES = 20
"""Of a change beside those that members make."""

PAUSE = 0.1  # seconds


class GroupView(msgspec.Struct, frozen=True):
    """The map, and by member what its Lease says: the process' name, and what it has done in a rollout."""

    map: ShardMap
    identities: Mapping[str, str] = {}
    counts: Mapping[str, Counts] = {}
    loads: Mapping[int, float] = {}


async def view_group(client: Client, namespace: str, name: str) -> GroupView:
    """Raises NotFound if no member has joined yet, Invalid, and what the client raises."""
    return (await _view(client, namespace, name))[0]


async def change_rollout(
    client: Client, namespace: str, name: str, change: Callable[[GroupView], Rollout | None]
) -> Rollout | None:
    """Write the rollout that `change` makes of the group; members follow it at once. `change` may be called again, if
    another has written meanwhile. Raises what `change` raises, and as `view_group`; Conflict if others always write.
    """
    for _ in range(TRIES):
        view, store = await _view(client, namespace, name)
        after = msgspec.structs.replace(view.map, rollout=change(view))
        if after == view.map or await store.write(after):
            return after.rollout
        await asyncio.sleep(PAUSE)
    raise Conflict(f"the shard map {namespace}/{name} changes all the time: try again")


async def _view(client: Client, namespace: str, name: str) -> tuple[GroupView, MapStore]:
    store = MapStore(client, namespace, name, 0)
    await store.read()
    if not store.map.count:
        raise NotFound(
            f"no controller has joined the group {namespace}/{name}: are they run with --shards or --processes?"
        )
    leases = {
        lease.metadata.name: lease
        async for page in client.pages(LEASES, namespace, label_selector=f"{GROUP_LABEL}={name}")
        for lease in page.items
        if lease.metadata.name != name
    }
    texts = {member: lease.metadata.annotations or {} for member, lease in leases.items()}
    counts = {member: decode_counts(text.get(COUNTS_ANNOTATION, "")) for member, text in texts.items()}
    view = GroupView(
        store.map,
        {member: lease.spec.holder_identity or "" for member, lease in leases.items()},
        {member: found for member, found in counts.items() if found is not None},
        loads_of([text.get(LOAD_ANNOTATION, "") for text in texts.values()]),
    )
    return view, store
