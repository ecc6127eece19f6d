"""Shards: which process works on which keys, told apart by a label, so that each caches only its own objects.

FlyteAdmin's compiler labels each resource with `shard-key`, the 32-bit FNV-1a hash of the execution id modulo 32
(flytepropeller/pkg/compiler/transformers/k8s/workflow.go); FlytePropeller's manager gives each instance some of these.
Here the 32 go to processes by rendezvous hashing (Thaler and Ravishankar, 1998) under an even load.

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

from propeller.errors import Invalid
from propeller.fnv import fnv1a_32

SHARD_LABEL = "shard-key"
SHARDS = 32
"""The size of the key space; what FlyteAdmin writes into labels fixes it."""


def shard_of(execution_id: str) -> int:
    """The shard of an execution, 0 to 31, as FlyteAdmin labels it."""
    return fnv1a_32(execution_id.encode()) % SHARDS


def assign_shards(owners: Collection[str]) -> dict[str, frozenset[int]]:
    """The shards of each of `owners`. Raises Invalid for none, more than 32, or a name given twice."""
    names = sorted(set(owners))
    if len(names) != len(owners) or not 0 < len(names) <= SHARDS:
        raise Invalid(f"shards need 1 to {SHARDS} owners with names of their own, not {sorted(owners)}")
    share, extra = divmod(SHARDS, len(names))
    taken: dict[str, set[int]] = {name: set() for name in names}
    free = set(range(SHARDS))
    for _, name, shard in sorted((_score(name, shard), name, shard) for name in names for shard in range(SHARDS)):
        over = len(taken[name]) - share  # below 0: the owner has not got its even share yet; 0: it may get one more
        if shard in free and over < (extra > 0):
            taken[name].add(shard)
            free.remove(shard)
            extra -= over == 0
    return {name: frozenset(shards) for name, shards in taken.items()}


def shard_selector(shards: Collection[int]) -> str:
    """The label selector for `shards`: empty for all, as then objects need no label. Raises Invalid for none.

    With shard 0 it names the shards that are *not* wanted, which selects unlabelled objects as well.
    """
    wanted = set(shards)
    if not wanted or not wanted <= set(range(SHARDS)):
        raise Invalid(f"shards are some of 0 to {SHARDS - 1}, not {sorted(wanted)}")
    others = set(range(SHARDS)) - wanted
    if not others:
        return ""
    if 0 in wanted:
        return f"{SHARD_LABEL} notin ({_listed(others)})"
    return f"{SHARD_LABEL} in ({_listed(wanted)})"


def _listed(shards: set[int]) -> str:
    return ",".join(map(str, sorted(shards)))


def _score(name: str, shard: int) -> bytes:
    return hashlib.blake2b(f"{name}/{shard}".encode(), digest_size=8).digest()
