"""The shard map: who holds each shard, and who is to have it; and what a member may change of it. Pure.

The map is one object, written by optimistic concurrency, so that each write is a step from the map as it was.

Guarantees (of `advance`, from any map, whatever members believe of each other)
    A shard changes its holder only from nobody to the member that writes. It loses its holder only if that is the
    member that writes, which has stopped its work on the shard, or one whose Lease is gone.
    So no member is told by others that it holds a shard, or has lost one while its Lease is there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from propeller.decoding import UNDECODABLE
from propeller.errors import Invalid
from propeller.reconcile.shards._assignment import assign


class ShardMap(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`members` are in the order in which they have joined. By shard: `holders`, which alone may work on it, and
    `wanted`, who is to be next if that is another one.
    """

    count: int
    members: tuple[str, ...] = ()
    holders: Mapping[int, str] = {}
    wanted: Mapping[int, str] = {}

    @property
    def names(self) -> frozenset[str]:
        """Members, and holders that are none any more."""
        return frozenset((*self.members, *self.holders.values()))

    def held_by(self, member: str) -> frozenset[int]:
        return frozenset(shard for shard, holder in self.holders.items() if holder == member)

    def wanted_of(self, member: str) -> frozenset[int]:
        return frozenset(shard for shard, name in self.wanted.items() if name == member)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What a member knows when it writes the map."""

    member: str
    leaves: bool = False
    """Whether it works on no shard any more, and wants none."""
    stopped: frozenset[int] = frozenset()
    """Shards that it holds and works on no more."""
    gone: frozenset[str] = frozenset()
    """Members whose Leases are gone, as a read has shown."""
    plans: bool = False
    """Whether it decides who is to have which shard."""
    levels: bool = False
    """Whether it may move shards for their load alone."""
    loads: Mapping[int, float] = {}
    active: int = 0
    """Members that get shards, the first of those that have joined; 0: all. The others stand by."""


def advance(before: ShardMap, step: Step) -> ShardMap:
    """The map after a member's step."""
    me = step.member
    remaining = tuple(name for name in before.members if name not in step.gone)
    holders = {
        shard: name
        for shard, name in before.holders.items()
        if name not in step.gone and not (name == me and (shard in step.stopped or step.leaves))
    }
    wanted = dict(before.wanted)
    if step.leaves:
        remaining = tuple(name for name in remaining if name != me)
    elif me not in remaining:
        remaining += (me,)
    chosen = remaining[: step.active or None]
    if chosen and (step.plans or step.leaves or set(chosen) != set(before.members[: step.active or None])):
        level = step.levels or any(name not in wanted.values() for name in chosen)
        wanted = assign(chosen, step.loads, wanted, before.count, level=level)
    if not step.leaves:
        mine = [shard for shard, name in wanted.items() if name == me and shard not in holders]
        holders |= dict.fromkeys(mine, me)
    return ShardMap(before.count, remaining, dict(sorted(holders.items())), dict(sorted(wanted.items())))


def encode_map(map_: ShardMap) -> str:
    return msgspec.json.encode(map_).decode()


def decode_map(text: str, count: int, where: str) -> ShardMap:
    """Raises Invalid for a text that is no map, or a map of another number of shards: `where` is the object's name."""
    try:
        found = msgspec.json.decode(text, type=ShardMap)
    except UNDECODABLE as error:
        raise Invalid(f"the shard map of {where} cannot be read: {error}; delete that Lease to begin anew") from error
    if found.count != count:
        raise Invalid(
            f"{where} divides {found.count} shards, and the settings say {count}: stop all members to change the number"
        )
    return found


def loads_of(texts: Collection[str]) -> dict[int, float]:
    """The loads of shards as their holders tell them. Texts that are none count as no load."""
    found: dict[int, float] = {}
    for text in texts:
        try:
            found |= msgspec.json.decode(text, type=dict[int, float])
        except UNDECODABLE:
            continue
    return found
