"""Weighted fair order of keys that belong to tenants: the work queue and the resource manager's waiting queue.

Each tenant that has keys holds one place in a heap, tagged with the virtual time at which its next key is due:
`tag = virtual time when it became the tenant's turn to wait + 1 / weight`. The smallest tag goes first and becomes the
virtual time. This is self-clocked fair queueing (Golestani, INFOCOM 1994) with keys of equal size. Because the virtual
time has always reached the last tag of a tenant that has run empty, such a tenant can be forgotten: it neither saves up
credit nor costs memory.

Guarantees
    A key waits once, and leaves once, by `pop` or `remove`. Within a tenant the higher priority goes first, and within
    a priority the order is first come, first served.
    Share: from the moment a tenant of weight w becomes active, each other tenant of weight v gets at most
    floor(v / w) + 1 keys before its first one, however many wait.
    `add` and `pop` cost O(log n); `remove` costs O(1) amortised.
Assumptions
    Keys and tenants are hashable, and a key's tenant does not change while it waits. A tenant's weight is read when it
    becomes active, and holds until it runs empty.
Caveats
    Not for several threads at once.
Errors
    Throttled from `add` when `limit` keys wait already; Invalid for a weight that is not positive and finite.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Generic, TypeVar

from propeller.errors import Invalid, Throttled

K = TypeVar("K", bound=Hashable)


class _Tenant(Generic[K]):
    """A tenant that has keys: its lanes by priority, and a heap of the negated priorities of these lanes."""

    __slots__ = ("lanes", "name", "order", "size", "stride")

    def __init__(self, name: Hashable, stride: float) -> None:
        self.name = name
        self.stride = stride
        self.size = 0
        self.lanes: dict[int, OrderedDict[K, None]] = {}
        self.order: list[int] = []

    def first_lane(self) -> OrderedDict[K, None]:
        """The lane of the highest priority that has keys; drops those that `remove` has emptied on the way."""
        while True:
            priority = -self.order[0]
            lane = self.lanes[priority]
            if lane:
                return lane
            heappop(self.order)
            del self.lanes[priority]


class FairQueue(Generic[K]):
    """Keys in weighted fair order between tenants; see the module's text for what it promises.

    `weight` gives a tenant's share relative to the others, 1.0 where it is None. `limit` bounds the keys that wait.
    """

    def __init__(self, *, weight: Callable[[Hashable], float] | None = None, limit: int | None = None) -> None:
        self._weight = weight
        self._limit = limit
        self._where: dict[K, tuple[_Tenant[K], int]] = {}
        self._tenants: dict[Hashable, _Tenant[K]] = {}
        self._heap: list[tuple[float, int, _Tenant[K]]] = []
        self._hollow = 0  # tenants in the heap whose last key was removed: forgotten when they get to the top
        self._virtual_time = 0.0
        self._arrival = count()

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, key: object) -> bool:
        return key in self._where

    def __iter__(self) -> Iterator[K]:
        """Waiting keys, tenant by tenant, each tenant's in its own order."""
        for tenant in self._tenants.values():
            for priority in sorted(tenant.lanes, reverse=True):
                yield from tenant.lanes[priority]

    def depths(self) -> dict[Hashable, int]:
        """How many keys wait, by tenant; tenants without keys are absent."""
        return {name: tenant.size for name, tenant in self._tenants.items() if tenant.size}

    def add(self, key: K, tenant: Hashable = "", priority: int = 0) -> bool:
        """Let `key` wait; True if it did not yet. One that waits keeps its place unless `priority` is higher now."""
        place = self._where.get(key)
        if place is not None:
            owner, waiting_at = place
            if priority <= waiting_at:
                return False
            del owner.lanes[waiting_at][key]
            owner.size -= 1
        else:
            owner = self._admit(key, tenant)
        lane = owner.lanes.get(priority)
        if lane is None:
            lane = owner.lanes[priority] = OrderedDict()
            heappush(owner.order, -priority)
        lane[key] = None
        owner.size += 1
        self._where[key] = (owner, priority)
        return place is None

    def pop(self) -> K:
        """Take the key whose turn it is; raises IndexError when nothing waits."""
        tag, tenant = self._first()
        key, _ = tenant.first_lane().popitem(last=False)
        del self._where[key]
        tenant.size -= 1
        self._virtual_time = tag
        if tenant.size:
            heapreplace(self._heap, (tag + tenant.stride, next(self._arrival), tenant))
        else:
            self._drop_first()
        return key

    def remove(self, key: K) -> bool:
        """Take `key` out of the order; True if it waited."""
        place = self._where.pop(key, None)
        if place is None:
            return False
        tenant, priority = place
        del tenant.lanes[priority][key]
        tenant.size -= 1
        if not tenant.size:
            self._hollow += 1
            if self._hollow * 2 > len(self._heap):
                self._drop_hollow()
        return True

    def _admit(self, key: K, name: Hashable) -> _Tenant[K]:
        """The tenant that a new key joins, with its place in the heap."""
        if self._limit is not None and len(self._where) >= self._limit:
            raise Throttled(f"{len(self._where)} keys wait already, no room for {key!r}")
        tenant = self._tenants.get(name)
        if tenant is None:
            return self._activate(name)
        if not tenant.size:
            self._hollow -= 1
        return tenant

    def _activate(self, name: Hashable) -> _Tenant[K]:
        weight = 1.0 if self._weight is None else self._weight(name)
        if not 0 < weight < math.inf:
            raise Invalid(f"weight of tenant {name!r} is {weight}: it has to be a positive number")
        tenant: _Tenant[K] = _Tenant(name, 1.0 / weight)
        self._tenants[name] = tenant
        heappush(self._heap, (self._virtual_time + tenant.stride, next(self._arrival), tenant))
        return tenant

    def _first(self) -> tuple[float, _Tenant[K]]:
        """The tenant whose turn it is and its tag."""
        while True:
            tag, _, tenant = self._heap[0]
            if tenant.size:
                return tag, tenant
            self._hollow -= 1
            self._drop_first()

    def _drop_first(self) -> None:
        del self._tenants[heappop(self._heap)[2].name]
        if not self._heap:
            self._virtual_time = 0.0  # nobody is left to compare with: tags keep their precision over years

    def _drop_hollow(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].size]
        heapify(self._heap)
        self._tenants = {entry[2].name: entry[2] for entry in self._heap}
        self._hollow = 0
        if not self._heap:
            self._virtual_time = 0.0
