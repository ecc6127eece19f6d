"""What the limits in force mean for a claim: its pools with their parents, and its tenant's own limits.

Guarantees
    Claims of one tenant that need the same share one `Need`, resolved once. What no claim uses is forgotten now and
    then: tenants and needs come from strangers.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from propeller.errors import Invalid
from propeller.resourcemgr._claims import Claim
from propeller.resourcemgr._kept_need import KeptNeed
from propeller.resourcemgr._lending import kept_of
from propeller.resourcemgr._limits import SEPARATOR, Limits, Path, lineage, path_of
from propeller.resourcemgr._pools import PoolState, pass_up, title_of
from propeller.resourcemgr._tenants import Node, Tenants
from propeller.resourcemgr._turns import usage_changed
from propeller.resourcemgr._waiter import Need

_KEPT_NEEDS = 4096
"""That no claim has."""


class Registry:
    """Pools, tenants and needs under some limits, which were checked."""

    def __init__(self, limits: Limits, now: float, epoch: int = 0) -> None:
        self.epoch = epoch
        self.needs: dict[tuple[Path, tuple[tuple[str, int], ...]], Need] = {}
        """By tenant and what is needed."""
        self.pools: dict[str, PoolState] = {}
        self._tenants = Tenants({})
        self._most_needs = _KEPT_NEEDS
        self.apply(limits, now)

    def apply(self, limits: Limits, now: float) -> None:
        """Have these limits: others, or the same pools with other numbers."""
        self.limits = limits
        self._by_name = {pool.name: pool for pool in limits.pools}
        self._tenants.weights = {path_of(tenant.name): tenant.weight for tenant in limits.tenants}
        for one in limits.pools:
            self._pool(one.name, "").configure(one.capacity, one.rate, one.burst, now)
        for tenant in limits.tenants:
            for name in tenant.limits.keys() | tenant.lending.keys():
                own = self._pool(name, tenant.name)
                own.configure(tenant.limits.get(name), None, None, now)
                own.is_keeper = name in tenant.lending
        self._keep(limits)
        self.timed = [pool for pool in self.pools.values() if pool.rate is not None]
        for path, node in self._tenants.named():
            node.weight = self._tenants.weights.get(path, 1.0)
        for node in self._tenants:
            node.known = -1.0
            usage_changed(node)  # whatever has changed about its share

    def _keep(self, limits: Limits) -> None:
        """Have tenants keep what they do not lend, the innermost first."""
        kept = kept_of(limits)
        if not kept:
            return
        for pool in self.pools.values():
            pool.reserved = 0
        owned = [pool for pool in self.pools.values() if pool.tenant and pool.name in kept]
        for own in sorted(owned, key=lambda own: own.tenant.count(SEPARATOR), reverse=True):
            path = path_of(own.tenant)
            names = (SEPARATOR.join(path[:length]) for length in range(len(path) - 1, -1, -1))
            found = (self.pools.get(title_of(own.name, name)) for name in names)
            above = [pool for pool in found if pool is not None]
            before, own.kept = own.counted, kept[own.name].get(path, 0)
            pass_up(above, own.counted - before)
            above[0].reserved += max(own.kept, own.reserved)
            node = self._tenants.get(path)
            if node is not None and own.spare:
                for pool in above:
                    pool.grown[node] = own

    def _pool(self, name: str, tenant: str) -> PoolState:
        title = title_of(name, tenant)
        if title not in self.pools:
            self.pools[title] = PoolState(name, tenant)
        return self.pools[title]

    def resolve(self, claim: Claim, *, is_held: bool = False) -> Need:
        """What the claim takes. Raises Invalid for a claim that makes no sense; and unless it `is_held`, for one that
        names what is no pool, or asks for more than there ever is. `needs` has it from then on, if it can be met.

        A claim that is held keeps pools that are gone: they count it if they come back.
        """
        claim.check()
        amounts: dict[PoolState, int] = {}
        known = [(name, amount) for name, amount in claim.needs if name in self._by_name] if is_held else claim.needs
        for name, amount in known:
            for one in lineage(name, self._by_name):
                pool = self.pools[one.name]
                amounts[pool] = amounts.get(pool, 0) + amount
        amounts = self._own(claim.tenant, amounts) | amounts
        if len(self.needs) > self._most_needs or self._tenants.are_many:
            self._forget()
        kind = KeptNeed if any(pool.is_keeper for pool in amounts) else Need
        need = kind(claim.tenant, claim.needs, self._tenants.leaf(claim.tenant), tuple(amounts.items()), self.epoch)
        excess = need.excess()
        if excess is not None and not is_held:
            raise never(claim.id, *excess)
        if excess is None and len(known) == len(claim.needs):
            self.needs[claim.tenant, claim.needs] = need
        return need

    def drop_vain(self) -> dict[Need, tuple[PoolState, int, float]]:
        """Forget needs that can never be met any more, so that claims of them are resolved anew. Returns those that
        claims have: a pool, how much it would take to have, and how much there is at most.
        """
        vain = {key: excess for key, need in self.needs.items() if (excess := need.excess()) is not None}
        return {need: excess for key, excess in vain.items() if (need := self.needs.pop(key)).claims}

    def _own(self, tenant: Path, amounts: dict[PoolState, int]) -> dict[PoolState, int]:
        """What is taken of the tenant's own limits, and of those of the tenants that it is part of."""
        names = [SEPARATOR.join(tenant[:length]) for length in range(len(tenant), 0, -1)]
        found = ((self.pools.get(title_of(pool.name, name)), amounts[pool]) for name in names for pool in amounts)
        return {own: amount for own, amount in found if own is not None}

    def _forget(self) -> None:
        self.needs = {key: need for key, need in self.needs.items() if need.claims}
        self._most_needs = _KEPT_NEEDS + 2 * len(self.needs)
        self._tenants.forget()

    def __len__(self) -> int:
        return len(self.needs) + len(self._tenants)

    @property
    def names(self) -> Container[str]:
        """Of the pools that the limits have."""
        return self._by_name

    @property
    def tenants(self) -> Iterable[Node]:
        """All of them, with the root and the leaves."""
        return self._tenants

    def named(self) -> Iterator[tuple[Path, Node]]:
        """Tenants that have claims."""
        return self._tenants.named()


def never(name: str, pool: PoolState, amount: int, most: float) -> Invalid:
    """The error of a claim that can never be met."""
    kept = f" beside the {pool.reserved} that tenants keep for themselves" if pool.reserved else ""
    return Invalid(
        f"claim {name!r} needs {amount} tokens of pool {pool.title!r}, which never has more than {most:g}{kept}"
    )
