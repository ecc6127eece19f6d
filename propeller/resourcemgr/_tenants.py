"""Tenants as a tree, and how much of the shared pools each of them holds.

Guarantees
    A tenant's usage is that of all below it. Its `share` is the dominant one: of the pools that it holds tokens of, the
    largest fraction (Dominant Resource Fairness, Ghodsi et al., NSDI 2011), divided by its weight.
Caveats
    Shares inside a tenant are fractions of the whole pools, too: only their order matters (hierarchical DRF in its
    plain form, as in Hadoop's YARN).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from propeller.resourcemgr._limits import Path

if TYPE_CHECKING:
    from propeller.resourcemgr._pools import PoolState
    from propeller.resourcemgr._turn import Turn


class Node:
    """A tenant, or the root of all. `turns` are its places in the orders of the pools that it waits for. `known` is its
    share; what changes what it has `held`, its weight or a capacity sets that to -1.
    """

    __slots__ = ("claims", "held", "known", "parent", "path", "turns", "weight")

    def __init__(self, path: Path, parent: Node | None, weight: float) -> None:
        self.path = path
        self.parent = parent
        self.weight = weight
        self.held: dict[PoolState, int] = {}
        self.turns: dict[PoolState, Turn] = {}
        self.claims = 0  # of this tenant and those below it: held or waiting
        self.known = -1.0

    def share(self) -> float:
        """The dominant share, relative to the weight; infinite for a pool that has no capacity any more."""
        if self.known < 0:
            most = 0.0
            for pool, amount in self.held.items():
                if amount:
                    capacity = pool.capacity
                    share = amount / capacity if capacity else math.inf
                    if share > most:
                        most = share
            self.known = most / self.weight
        return self.known

    def lineage(self) -> tuple[Node, ...]:
        """This one and those above it, without the root."""
        found, node = [], self
        while node.parent is not None:
            found.append(node)
            node = node.parent
        return tuple(found)


class Tenants:
    """The tree, by path. A tenant exists while it has claims."""

    def __init__(self, weights: Mapping[Path, float]) -> None:
        self.weights = weights  # of new ones
        self.root = Node((), None, 1.0)
        self._nodes: dict[Path, Node] = {(): self.root}
        self._limit = 1024

    def leaf(self, path: Path) -> Node:
        """The node that the tenant's own claims belong to: it stands beside those of the tenants below it."""
        return self._node((*path, ""))

    def get(self, path: Path) -> Node | None:
        """The tenant, if it has claims or had some of late."""
        return self._nodes.get(path)

    def _node(self, path: Path) -> Node:
        found = self._nodes.get(path)
        if found is None:
            parent = self._node(path[:-1])
            found = self._nodes[path] = Node(path, parent, self.weights.get(path, 1.0))
        return found

    @property
    def are_many(self) -> bool:
        """Whether it is time to `forget`."""
        return len(self._nodes) >= self._limit

    def forget(self) -> None:
        """Drop tenants without claims. Nothing that is kept may refer to them any more."""
        self._nodes = {path: node for path, node in self._nodes.items() if node.claims or not path}
        self._limit = 1024 + 2 * len(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def named(self) -> Iterator[tuple[Path, Node]]:
        """Tenants that have claims, without the root and the leaves."""
        return ((path, node) for path, node in self._nodes.items() if node.claims and path and path[-1])
