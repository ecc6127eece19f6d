"""What tenants hold, relative to their weights and over time: `resourcemgr._balance` in rows of the store.

Guarantees
    Those of `_balance`: of tenants that wait for one pool beside each other, one that has held more than its part for
    longer than less is ahead of the others until that is even. So shares are right over time although tokens are whole.
    Each call costs O(1), and nothing is written for tenants that nobody waits beside.
"""

from __future__ import annotations

import math

from propeller.resourcemgr.shared._tables import Balance, Group, Node

UNLIMITED = (-1.0, -1.0, 0.0, False)
"""The limits of a pool that no limits name."""

Caps = dict[str, tuple[float, float, float, bool]]

_ROUNDING = 1e-9
_LITTLE = 0.1
_AWAY = 1000.0
"""As in `_balance`; in milliseconds."""


class Shares:
    """At the moment `t`, in milliseconds.

    More than 15 methods: a function each of `store.lua`, so that the two can be read side by side.
    """

    def __init__(
        self,
        nodes: dict[str, Node],
        balances: dict[str, Balance],
        groups: dict[str, Group],
        caps: Caps,
        weights: dict[str, float],
        t: float,
    ) -> None:
        self._nodes = nodes
        self._balances = balances
        self._groups = groups
        self._caps = caps
        self._weights = weights
        self._t = t
        self._stirred: dict[str, float] = {}
        """Tenants that hold more or less than they did, and the share of the last claim that was granted (0: none)."""

    def of(self, name: str) -> float:
        """The dominant share of a tenant, relative to its weight."""
        most = 0.0
        for pool, amount in self.node(name).held.items():
            capacity, _, _, is_shared = self._caps.get(pool, UNLIMITED)
            if is_shared and capacity >= 0 and amount > 0:
                most = max(most, amount / capacity if capacity > 0 else math.inf)
        return most / self.weight(name)

    def claim(self, needed: tuple[tuple[str, int], ...]) -> float:
        """What a claim adds to a share, without a weight."""
        most = 0.0
        for pool, amount in needed:
            capacity, _, _, is_shared = self._caps.get(pool, UNLIMITED)
            if is_shared and capacity > 0:
                most = max(most, amount / capacity)
        return most

    def weight(self, name: str) -> float:
        return self._weights.get(name, 1.0)

    def node(self, name: str) -> Node:
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = Node()
        return node

    def handicap(self, pool: str, name: str) -> float:
        """What is added to the share of a tenant that waits for the pool when shares are compared."""
        balance, group = self._rows(pool, name)
        if balance is None or group is None or self._lead(pool, name) <= _ROUNDING * balance.step:
            return 0.0
        return balance.step

    def is_well_ahead(self, pool: str, name: str) -> bool:
        """Whether it is ahead by more than a part of what one claim more is while that is held."""
        balance, group = self._rows(pool, name)
        if balance is None or group is None:
            return False
        pace = group.level * group.weight / group.granted if group.granted > 0 else 0.0
        return self._lead(pool, name) > max(_ROUNDING, _LITTLE * pace) * balance.step

    def _rows(self, pool: str, name: str) -> tuple[Balance | None, Group | None]:
        """Of a tenant that waits beside others."""
        if self._members(pool, parent_of(name)) < 2:
            return None, None
        balance = self._balances.get(_key(pool, name))
        return (None, None) if balance is None else (balance, self._groups.get(_key(pool, parent_of(name))))

    def _lead(self, pool: str, name: str) -> float:
        """By how much it was above the mean, until now."""
        balance, group = self._rows(pool, name)
        if balance is None or group is None:
            return 0.0
        level = group.level + max(0.0, self._t - group.at) * group.rate / group.weight
        return _settled(balance, group, max(self._t, group.at), level)

    # changes

    def stir(self, name: str, claim: float = 0.0) -> None:
        """The tenant holds more, or less, than it did; by a claim that was granted, if that is not 0."""
        self._stirred[name] = claim or self._stirred.get(name, 0.0)

    def wait(self, names: list[str], pool: str, by: int) -> None:
        """A tenant's lane waits for the pool (1), or no longer does (-1). `names` is its lineage."""
        for index, name in enumerate(("", *names)):
            waits = self.node(name).waits
            lanes, below = waits.get(pool, (0, 0))
            if index == len(names):
                is_other = False
            else:
                child, _ = self.node(names[index]).waits.get(pool, (0, 0))
                is_other = child == (0 if by > 0 else 1)
            waits[pool] = (lanes + by, below + (by if is_other else 0))
            if is_other and by > 0:
                self._enter(pool, names[index], waits[pool][1])
            elif is_other:
                self._leave(pool, names[index], below)
            if not waits[pool][0]:
                del waits[pool]

    def _enter(self, pool: str, name: str, members: int) -> None:
        """It is one of so many that wait beside each other."""
        group = self._groups.setdefault(_key(pool, parent_of(name)), Group(at=self._t))
        self._advance(group, members - 1)
        if members == 2:
            group.since = group.at
        balance = self._balances.setdefault(_key(pool, name), Balance(at=group.at))
        if group.at - balance.at > _AWAY:
            balance.is_served = False
            balance.lead = max(0.0, balance.lead)
        balance.share = balance.weight = 0.0
        balance.at, balance.level = group.at, group.level
        self._weigh(name, balance, group, balance.claim)

    def _leave(self, pool: str, name: str, members: int) -> None:
        """It is one of so many, and will not be any more."""
        key = _key(pool, parent_of(name))
        group, balance = self._groups[key], self._balances[_key(pool, name)]
        self._advance(group, members)
        if members > 1:
            balance.lead = _settled(balance, group, group.at, group.level)
        balance.at, balance.level = group.at, group.level
        group.weight -= balance.weight
        group.rate -= balance.weight * balance.share
        if members == 1:
            del self._groups[key]

    def _advance(self, group: Group, members: int) -> None:
        if self._t > group.at:
            if members > 1:
                group.level += (self._t - group.at) * group.rate / group.weight
            group.at = self._t

    def _weigh(self, name: str, balance: Balance, group: Group, claim: float) -> None:
        share, weight = self.of(name), self.weight(name)
        if share == math.inf:
            share = 0.0
        group.weight += weight - balance.weight
        group.rate += weight * share - balance.weight * balance.share
        balance.share, balance.weight, balance.claim, balance.step = share, weight, claim, claim / weight
        group.largest = max(group.largest, claim)

    def settle(self) -> None:
        """Have what was stirred counted from now on."""
        found: list[tuple[str, Balance, Group]] = []
        for name in self._stirred:
            node, parent = self._nodes.get(name), parent_of(name)
            for pool in node.waits if node is not None else ():
                members = self._members(pool, parent)
                if members > 1:
                    balance, group = self._balances[_key(pool, name)], self._groups[_key(pool, parent)]
                    self._advance(group, members)
                    balance.lead = _settled(balance, group, group.at, group.level)
                    balance.at, balance.level = group.at, group.level
                    found.append((name, balance, group))
        for name, balance, group in found:  # after all are settled, as it changes what counts at most
            claim = self._stirred[name]
            if claim > 0:
                balance.is_served = True
                group.granted += claim
            self._weigh(name, balance, group, claim if claim > 0 else balance.claim)
        self._stirred = {}

    def _members(self, pool: str, parent: str) -> int:
        node = self._nodes.get(parent)
        return 0 if node is None else node.waits.get(pool, (0, 0))[1]


def _settled(balance: Balance, group: Group, at: float, level: float) -> float:
    """The lead at a time at which the group's level is this."""
    passed = at - max(group.since, balance.at)
    lead = balance.share * passed - (level - balance.level)
    most = group.largest / balance.weight * passed
    if lead < 0 or balance.is_served:
        return balance.lead + (most if lead > most else max(lead, -most))
    return balance.lead


def _key(pool: str, name: str) -> str:
    return f"{pool}\n{name}"


def parent_of(name: str) -> str:
    return name.rpartition("/")[0]
