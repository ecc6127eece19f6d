"""Several FairQueues over the settings' limits: which of them are in force, and what they say together.

Guarantees
    Pure. The outcome depends on the objects alone, with what their statuses say was accepted before: another process,
    or this one after a restart, finds the same.
    A change is accepted whole or refused whole. A refused one leaves in force what was accepted of that FairQueue
    before. What is accepted together holds no contradiction.
Rules
    A FairQueue goes before the settings: its pools replace pools of the same name, its tenants' weights, limits,
    borrowing and lending replace those of the same tenant and pool, and its rules come after theirs (of one pool, the
    amount of the last rule counts).
    A pool belongs to one FairQueue: to that which has it, and of several that declare it at once, to the oldest. So
    does a tenant's weight, unless they say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from propeller.errors import Invalid
from propeller.fairqueues._kind import FairQueue
from propeller.fairqueues._spec import Declaration, decode
from propeller.resourcemgr import Pool, ResourceOptions, Tenant, check_options, with_borrowing


class Accepted(msgspec.Struct, frozen=True):
    """A spec that is in force; `generation` is the FairQueue's when it had that spec."""

    generation: int
    spec: Any
    declares: Declaration


class Verdict(msgspec.Struct, frozen=True):
    """What came of a FairQueue. `refused` is why its spec is not in force, None if it is; `replaces` are pools of the
    settings that it replaces.
    """

    accepted: Accepted | None
    refused: Invalid | None = None
    replaces: tuple[str, ...] = ()


class Merged(msgspec.Struct, frozen=True):
    options: ResourceOptions
    """With borrowing made limits."""

    verdicts: Mapping[str, Verdict]
    """By uid of the FairQueue."""


class Collision(Invalid):
    """Two FairQueues say different things of one pool or tenant."""


Check = Callable[[ResourceOptions], None]
"""Raises Invalid for limits that cannot be in force here, although they do not contradict each other."""


def merge(
    settings: ResourceOptions, queues: Iterable[FairQueue], before: Mapping[str, Accepted], check: Check | None = None
) -> Merged:
    """The limits in force. `before` has by uid what was accepted of FairQueues; of others their status says it. A
    FairQueue whose limits fail the `check` is refused.
    """
    ordered = sorted(queues, key=lambda queue: queue.age)
    trial = _Trial(settings, check)
    for queue in ordered:
        earlier = before.get(queue.metadata.uid) or _from_status(queue)
        if earlier is not None:
            trial.accept(queue.metadata.name, earlier)
    refused: dict[str, Invalid | None] = {}
    for queue in (*ordered, *ordered):  # what one no longer declares, another may have, though it comes before
        if not trial.has(queue):
            refused[queue.metadata.uid] = trial.try_spec(queue)
    names = [pool.name for pool in settings.pools]
    verdicts = {}
    for queue in ordered:
        accepted = trial.accepted.get(queue.metadata.name)
        owned = {pool.name for pool in accepted.declares.pools} if accepted is not None else set()
        replaced = tuple(name for name in names if name in owned)
        verdicts[queue.metadata.uid] = Verdict(accepted, refused.get(queue.metadata.uid), replaced)
    in_force = [(queue.metadata.name, trial.accepted.get(queue.metadata.name)) for queue in ordered]
    options = _together(settings, [(name, found.declares) for name, found in in_force if found is not None])
    return Merged(with_borrowing(options), verdicts)


class _Trial:
    """Which specs can be in force beside each other."""

    def __init__(self, settings: ResourceOptions, check: Check | None) -> None:
        self._settings = settings
        self._check = check
        self.accepted: dict[str, Accepted] = {}

    def has(self, queue: FairQueue) -> bool:
        """Whether the FairQueue's present spec is accepted."""
        found = self.accepted.get(queue.metadata.name)
        return found is not None and (found.generation, found.spec) == (queue.metadata.generation, queue.spec)

    def try_spec(self, queue: FairQueue) -> Invalid | None:
        """Accept the FairQueue's present spec, or return why not."""
        try:
            declares = decode(queue.spec)
        except Invalid as error:
            return error
        return self.accept(queue.metadata.name, Accepted(queue.metadata.generation, queue.spec, declares))

    def accept(self, name: str, new: Accepted) -> Invalid | None:
        """Accept a spec in the place of that FairQueue's earlier one, or return why not."""
        others = [(other, found.declares) for other, found in self.accepted.items() if other != name]
        try:
            together = _together(self._settings, [*others, (name, new.declares)])
            check_options(together)
            if self._check is not None:
                self._check(together)
        except Invalid as error:
            return error
        self.accepted[name] = new
        return None


def _from_status(queue: FairQueue) -> Accepted | None:
    """What a controller has accepted before, as it wrote into the status."""
    try:
        found = msgspec.convert(queue.status["accepted"], type=_Written)
        return Accepted(found.generation, found.spec, decode(found.spec))
    except (KeyError, TypeError, msgspec.ValidationError, Invalid):
        return None  # there is none, or one of a version with other fields


class _Written(msgspec.Struct):
    generation: int
    spec: dict[str, Any]


def _together(settings: ResourceOptions, declared: Sequence[tuple[str, Declaration]]) -> ResourceOptions:
    """The settings with what FairQueues declare, by name, the oldest first. Raises Collision."""
    pools: dict[str, Pool] = {pool.name: pool for pool in settings.pools}
    tenants: dict[str, Tenant] = {tenant.name: tenant for tenant in settings.tenants}
    owner_of_pool: dict[str, str] = {}
    owner_of_weight: dict[str, str] = {}
    rules = list(settings.rules)
    for name, declares in declared:
        for pool in declares.pools:
            if (owner := owner_of_pool.setdefault(pool.name, name)) != name:
                raise Collision(f"pool {pool.name!r} belongs to FairQueue {owner!r}: rename it, or remove it from one")
            pools[pool.name] = pool
        for tenant in declares.tenants:
            known = tenants.get(tenant.name, Tenant(name=tenant.name))
            weight = known.weight
            if tenant.name in declares.weighted:
                weight = tenant.weight
                owner = owner_of_weight.setdefault(tenant.name, name)
                if owner != name and weight != known.weight:
                    raise Collision(
                        f"tenant {tenant.name!r} has weight {weight:g}, and {known.weight:g} by FairQueue {owner!r}: "
                        "give the weight in one of them"
                    )
            tenants[tenant.name] = Tenant(
                name=tenant.name,
                weight=weight,
                limits={**known.limits, **tenant.limits},
                borrowing={**known.borrowing, **tenant.borrowing},
                lending={**known.lending, **tenant.lending},
            )
        rules += declares.rules
    return msgspec.structs.replace(
        settings, pools=tuple(pools.values()), tenants=tuple(tenants.values()), rules=tuple(rules)
    )
