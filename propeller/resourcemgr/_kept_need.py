"""What a claim takes whose tenant, or one that it is part of, does not lend all of its share.

Guarantees
    Tokens that a tenant keeps are counted in the pools above whether it uses them or not. So a claim takes from there
    only what its tenants do not keep anyway, and what they keep is never taken by others.
    No pool has more out than its capacity, also while others hold what a tenant was given to keep only now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from propeller.resourcemgr._limits import Path
from propeller.resourcemgr._pools import PoolState, pass_up
from propeller.resourcemgr._waiter import Need

if TYPE_CHECKING:
    from propeller.resourcemgr._tenants import Node


class KeptNeed(Need):
    """See the module's text. `_chains` has, for each shared pool, the tenant's own pools, from the innermost on, and
    the shared one; `_keepers` those of the tenant's own pools below each pool that keep tokens, with their tenants.
    """

    __slots__ = ("_chains", "_keepers")

    def __init__(
        self,
        tenant: Path,
        needs: tuple[tuple[str, int], ...],
        leaf: Node,
        items: tuple[tuple[PoolState, int], ...],
        epoch: int,
    ) -> None:
        super().__init__(tenant, needs, leaf, items, epoch)
        self.is_plain = False
        nodes = {"/".join(node.path): node for node in self.nodes[1:]}
        self._chains: list[tuple[int, tuple[PoolState, ...]]] = []
        self._keepers: dict[PoolState, tuple[tuple[PoolState, Node], ...]] = {}
        for shared, amount in items:
            if shared.tenant:
                continue
            chain = (*(pool for pool, _ in items if pool.tenant and pool.name == shared.name), shared)
            self._chains.append((amount, chain))
            for index, pool in enumerate(chain):
                self._keepers[pool] = tuple((own, nodes[own.tenant]) for own in chain[:index] if own.is_keeper)

    def take(self) -> None:
        super().take()
        self._correct(1)

    def give_back(self) -> None:
        super().give_back()
        self._correct(-1)
        self._look_everywhere()

    def save_up(self, sign: int) -> None:
        super().save_up(sign)
        self._correct(sign)
        if sign < 0:
            self._look_everywhere()

    def _correct(self, sign: int) -> None:
        """Its tokens are counted in each pool: count there only what those below did not keep anyway."""
        for amount, chain in self._chains:
            pass_up(chain, sign * amount, sign * amount)

    def most(self, pool: PoolState) -> float:
        return pool.most + sum(max(0, own.kept - own.reserved) for own, _ in self._keepers[pool])

    def room(self, pool: PoolState, now: float) -> float:
        room = float(max(0, pool.free)) + sum(own.spare for own, _ in self._keepers[pool])
        if pool.capacity is not None:
            room = min(room, pool.capacity - pool.held)
        return min(room, pool.room_in_time(now))

    def is_saved(self) -> bool:
        for amount, chain in self._chains:
            passed = amount
            for pool in chain:
                if passed and pool.free < 0:
                    return False
                if pool.capacity is not None and pool.held + amount > pool.capacity:
                    return False
                passed = max(0, passed - max(0, pool.kept - pool.used + passed))
        return True

    def passed(self, pool: PoolState) -> int:
        return max(0, self.of(pool) - sum(own.spare for own, _ in self._keepers[pool]))

    def kept_for(self, pool: PoolState) -> Node | None:
        left = self.of(pool)
        for own, node in self._keepers[pool]:
            left -= own.spare
            if left <= 0:
                return node
        return None

    def look(self, pool: PoolState) -> None:
        for own, node in self._keepers[pool]:
            if own.spare:
                pool.grown[node] = own

    def _look_everywhere(self) -> None:
        for pool in self._keepers:
            self.look(pool)
