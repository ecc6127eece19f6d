"""Shards: several processes share the keys by a label, so that each caches only its own objects.

Objects get the number of their shard as a label when they are created. Processes get shards by rendezvous hashing
(Thaler and Ravishankar, 1998) under an even load, and list and watch by a label selector. FlyteAdmin labels its
resources so: `shard-key`, 32 of them, by the execution's id (v1alpha1.ShardKeyspaceSize).

Guarantees
    Every shard has exactly one owner, and the owners' numbers of shards differ by one at most. The assignment depends
    on the set of owners alone, so processes that know the same names agree without talking.
    Objects without the label belong to the owner of shard 0: none is left out.
Caveats
    When the set changes, two processes may disagree for a moment; a lease per owner or the fence of optimistic
    concurrency has to cover that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import msgspec

from propeller.errors import Invalid
from propeller.fnv import fnv1a_32


class Shards(msgspec.Struct, frozen=True):
    """`count` shards, numbered from 0; the label `label` has the number."""

    label: str
    count: int

    def of(self, name: str) -> int:
        """The shard of an object: the 32-bit FNV-1a hash of a name that never changes, modulo `count`."""
        return fnv1a_32(name.encode()) % self.count

    def assign(self, owners: Collection[str]) -> dict[str, frozenset[int]]:
        """The shards of each of `owners`. Raises Invalid for none, more than `count`, or a name given twice."""
        names = sorted(set(owners))
        if len(names) != len(owners) or not 0 < len(names) <= self.count:
            raise Invalid(f"shards need 1 to {self.count} owners with names of their own, not {sorted(owners)}")
        share, extra = divmod(self.count, len(names))
        taken: dict[str, set[int]] = {name: set() for name in names}
        free = set(range(self.count))
        scores = sorted((_score(name, shard), name, shard) for name in names for shard in range(self.count))
        for _, name, shard in scores:
            over = len(taken[name]) - share  # below 0: the owner has not got its even share yet; 0: it may get one more
            if shard in free and over < (extra > 0):
                taken[name].add(shard)
                free.remove(shard)
                extra -= over == 0
        return {name: frozenset(shards) for name, shards in taken.items()}

    def selector(self, shards: Collection[int]) -> str:
        """The label selector for `shards`: empty for all, as then objects need no label. Raises Invalid for none.

        With shard 0 it names the shards that are *not* wanted, which selects unlabelled objects as well.
        """
        wanted = set(shards)
        if not wanted or not wanted <= set(range(self.count)):
            raise Invalid(f"shards are some of 0 to {self.count - 1}, not {sorted(wanted)}")
        others = set(range(self.count)) - wanted
        if not others:
            return ""
        if 0 in wanted:
            return f"{self.label} notin ({_listed(others)})"
        return f"{self.label} in ({_listed(wanted)})"


def _listed(shards: set[int]) -> str:
    return ",".join(map(str, sorted(shards)))


def _score(name: str, shard: int) -> bytes:
    return hashlib.blake2b(f"{name}/{shard}".encode(), digest_size=8).digest()
