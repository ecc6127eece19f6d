"""Changes of one tenant's limits and weight in FairQueues, as a person asks for them.

Guarantees
    Pure. A changed spec is right by itself; all that is not of the tenant stays as it was.
Errors
    Invalid, saying what there is instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from propeller.errors import Invalid
from propeller.fairqueues._kind import FairQueue
from propeller.fairqueues._spec import decode
from propeller.resourcemgr import path_of


class Edit(msgspec.Struct, frozen=True):
    """A FairQueue, and the tenants that its spec should have."""

    queue: FairQueue
    tenants: Sequence[Mapping[str, Any]]


def edits(
    queues: Iterable[FairQueue],
    tenant: str,
    limits: Mapping[str, int | None],
    weight: float | None = None,
    only: str = "",
) -> list[Edit]:
    """The FairQueues that have to change such that the tenant has these limits (None: no limit) and this weight.

    A limit belongs to the FairQueue that has the pool; a weight to the one that gives the tenant one already, to the
    only one that is changed, or to the only one that there is. `only` names one FairQueue; the others are left alone.
    """
    path_of(tenant)
    found = sorted((queue for queue in queues if only in ("", queue.metadata.name)), key=lambda queue: queue.age)
    if not found:
        raise Invalid(f"there is no FairQueue {only!r}" if only else "there is no FairQueue: create one with the pools")
    wanted: dict[str, dict[str, int | None]] = {}
    for pool, amount in limits.items():
        wanted.setdefault(_owner(found, pool), {})[pool] = amount
    weighing = "" if weight is None else _weighing(found, tenant, wanted)
    names = {*wanted, *([weighing] if weighing else [])}
    return [
        _edit(queue, tenant, wanted.get(queue.metadata.name, {}), weight if queue.metadata.name == weighing else None)
        for queue in found
        if queue.metadata.name in names
    ]


def _items(queue: FairQueue, field: str) -> list[Mapping[str, Any]]:
    """A list of the spec, as far as it is one."""
    items = queue.spec.get(field) if isinstance(queue.spec, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _owner(queues: Sequence[FairQueue], pool: str) -> str:
    owners = [queue.metadata.name for queue in queues if any(one.get("name") == pool for one in _items(queue, "pools"))]
    if not owners:
        known = sorted(str(one.get("name")) for queue in queues for one in _items(queue, "pools"))
        raise Invalid(f"no FairQueue has pool {pool!r}; there are {', '.join(known[:20]) or 'none'}")
    return owners[0]


def _weighing(queues: Sequence[FairQueue], tenant: str, changed: Mapping[str, Any]) -> str:
    names = [queue.metadata.name for queue in queues]
    weighted = [
        queue.metadata.name
        for queue in queues
        if any(one.get("name") == tenant and "weight" in one for one in _items(queue, "tenants"))
    ]
    for candidates in (weighted, list(changed), names):
        if candidates:
            if len(candidates) == 1 or candidates is weighted:
                return candidates[0]
            break
    raise Invalid(f"the weight of {tenant!r} can be given by each of {', '.join(names)}: name one with --queue")


def _edit(queue: FairQueue, tenant: str, limits: Mapping[str, int | None], weight: float | None) -> Edit:
    tenants = [dict(one) for one in _items(queue, "tenants")]
    mine = next((one for one in tenants if one.get("name") == tenant), None)
    if mine is None:
        tenants.append(mine := {"name": tenant})
    merged = {**(mine.get("limits") or {}), **limits}
    mine["limits"] = {pool: amount for pool, amount in merged.items() if amount is not None}
    if not mine["limits"]:
        del mine["limits"]
    if weight is not None:
        mine["weight"] = weight
    tenants = [one for one in tenants if set(one) != {"name"}]
    decode({**queue.spec, "tenants": tenants})
    return Edit(queue, tenants)
