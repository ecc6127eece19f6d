"""What a claim takes, resolved once for all claims that take the same; and a claim that waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propeller.resourcemgr._limits import Path

if TYPE_CHECKING:
    from propeller.resourcemgr._pools import PoolState
    from propeller.resourcemgr._tenants import Node


class Need:
    """What claims of one tenant take that ask for the same. `items` has each pool once, the tenant's own limits first.
    `charges` are the counts of what tenants hold that change with it: of pools that are shared and have a capacity.
    `epoch` numbers the structure of the limits by which it was resolved. `is_plain`: whether `free` of its pools is all
    that it depends on; not if tokens come at a rate, or a tenant keeps some (`KeptNeed`).

    More than 15 methods: ten of them only read it, five of which `KeptNeed` answers in another way.
    """

    __slots__ = (
        "_shared",
        "charges",
        "claims",
        "epoch",
        "is_plain",
        "items",
        "leaf",
        "needs",
        "nodes",
        "pools",
        "tenant",
    )

    def __init__(
        self,
        tenant: Path,
        needs: tuple[tuple[str, int], ...],
        leaf: Node,
        items: tuple[tuple[PoolState, int], ...],
        epoch: int,
    ) -> None:
        self.epoch = epoch
        self.tenant = tenant
        self.needs = needs
        self.leaf = leaf
        self.nodes = leaf.lineage()
        self.items = items
        self.pools = tuple(pool for pool, _ in items)
        self.is_plain = all(pool.rate is None for pool, _ in items)
        shared = [(pool, amount) for pool, amount in items if not pool.tenant and pool.capacity is not None]
        self._shared = shared
        self.charges = tuple((node.held, pool, amount) for node in self.nodes for pool, amount in shared)
        for held, pool, _ in self.charges:
            held.setdefault(pool, 0)
        self.claims = 0  # that are held or wait

    def of(self, pool: PoolState) -> int:
        """Tokens of one pool."""
        for found, amount in self.items:
            if found is pool:
                return amount
        return 0

    def step(self) -> float:
        """What it adds to a share, before that is divided by a weight."""
        most = 0.0
        for pool, amount in self._shared:
            if (capacity := pool.capacity) and amount > most * capacity:
                most = amount / capacity
        return most

    def excess(self) -> tuple[PoolState, int, float] | None:
        """A pool of which it takes more than it can ever have, how much it takes, and how much it can have."""
        return next(((pool, amount, most) for pool, amount in self.items if amount > (most := self.most(pool))), None)

    def most(self, pool: PoolState) -> float:
        """Tokens of the pool that such a claim can ever have."""
        return pool.most

    def room(self, pool: PoolState, now: float) -> float:
        """Tokens of the pool that such a claim may take now."""
        return pool.room(now)

    def fits(self, now: float) -> bool:
        """Whether its pools have its tokens, and nothing waits for them."""
        return all(not pool.order.size and self.room(pool, now) >= amount for pool, amount in self.items)

    def is_saved(self) -> bool:
        """Whether all has come free of what is saved up for it."""
        return all(pool.free >= 0 for pool, _ in self.items)

    def is_there(self, now: float) -> bool:
        """As `is_saved`, with what comes at a rate."""
        return self.is_saved() and all(pool.room_in_time(now) >= 0 for pool, _ in self.items)

    def passed(self, pool: PoolState) -> int:
        """Tokens of the pool that it takes beyond what its tenants keep."""
        return self.of(pool)

    def kept_by_others(self, pool: PoolState) -> int:
        """Tokens of the pool that others keep and do not use."""
        idle = pool.used - pool.held if pool.reserved else 0
        return max(0, idle - (self.of(pool) - self.passed(pool)))

    def kept_for(self, pool: PoolState) -> Node | None:
        """The tenant that keeps all that the claim takes of the pool, and does not use it: then nobody else has a right
        to it.
        """
        return None

    def look(self, pool: PoolState) -> None:
        """Have the pool see whether what tenants keep is enough for it."""

    def count(self, by: int) -> None:
        """So many more claims have it."""
        self.claims += by
        for node in self.nodes:
            node.claims += by

    def take(self) -> None:
        """Have its tokens held."""
        for pool, amount in self.items:
            pool.held += amount
            pool.free -= amount
            pool.grants += 1
            if pool.rate is not None:
                pool.level -= amount
        for held, pool, amount in self.charges:
            held[pool] += amount
        for node in self.nodes:
            node.known = -1.0

    def give_back(self) -> None:
        """Have its tokens free again. Those of a rate are spent."""
        for pool, amount in self.items:
            pool.held -= amount
            pool.free += amount
        for held, pool, amount in self.charges:
            held[pool] -= amount
        for node in self.nodes:
            node.known = -1.0

    def save_up(self, sign: int) -> None:
        """Withdraw its tokens in advance (1), or put them back (-1)."""
        for pool, amount in self.items:
            pool.save_up(sign * amount)


class Waiter:
    """A claim that waits. `pool` is the one in whose order it stands; None if it was served or cancelled, or is put
    first.
    """

    __slots__ = ("id", "moves", "need", "overtaken_since", "place", "pool", "since")

    def __init__(self, id_: str, need: Need, place: int, since: float) -> None:
        self.id = id_
        self.need = need
        self.place = place  # by priority, then first come first served
        self.since = since
        self.pool: PoolState | None = None
        self.moves = 0  # between orders
        self.overtaken_since = -1  # the pool's grants when it was set aside first; -1: it was not
