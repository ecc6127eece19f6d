"""The shard map: who holds each shard, and who is to have it; and what a member may change of it. Pure.

The map is one object, written by optimistic concurrency, so that each write is a step from the map as it was.

Guarantees (of `advance`, from any map, whatever members believe of each other)
    A shard changes its holder only from nobody to the member that writes. It loses its holder only if that is the
    member that writes, which has stopped its work on the shard, or one whose Lease is gone.
    So no member is told by others that it holds a shard, or has lost one while its Lease is there.
    While a rollout is in the map, a shard is wanted only by members of a version that may have it: see `rollouts`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from propeller.decoding import UNDECODABLE
from propeller.errors import Invalid
from propeller.reconcile.rollouts import Observed, Rollout, State, divisions
from propeller.reconcile.rollouts import step as next_of
from propeller.reconcile.shards._assignment import assign


class OtherDivision(Invalid):
    """Members of the group divide another number of shards, or shards with other names."""


class ShardMap(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`members` are in the order in which they have joined. By shard: `holders`, which alone may work on it, and
    `wanted`, who is to be next if that is another one. `versions` are those of members.
    """

    count: int
    members: tuple[str, ...] = ()
    holders: Mapping[int, str] = {}
    wanted: Mapping[int, str] = {}
    versions: Mapping[str, str] = {}
    rollout: Rollout | None = None
    named: tuple[str, ...] = ()
    """Names of the last shards, in their order: see `LabelShards`."""

    @property
    def named_shards(self) -> dict[str, int]:
        """Each of them by its name."""
        return {name: self.count - len(self.named) + place for place, name in enumerate(self.named)}

    def confined(self, version: str) -> frozenset[str] | None:
        """The names of the shards that a version is tried in, if it is tried in shards with names alone: what it does
        for them it may do nowhere else. None if it is not confined.
        """
        rollout = self.rollout
        if not self.named or rollout is None or rollout.candidate != version or rollout.state is State.PROMOTED:
            return None
        shards = rollout.shards
        names = frozenset(name for name, shard in self.named_shards.items() if shard in shards)
        return names if len(names) == len(shards) else None

    @property
    def names(self) -> frozenset[str]:
        """Members, and holders that are none any more."""
        return frozenset((*self.members, *self.holders.values()))

    def planner(self, alive: Sequence[str]) -> str:
        """Which of the living members, in the order of the map, decides who is to have which shard; "" if none lives.
        A version that is being tried does not judge itself.
        """
        rollout = self.rollout
        if rollout is not None and rollout.state is not State.PROMOTED:
            alive = [name for name in alive if self.versions.get(name) != rollout.candidate] or alive
        return alive[0] if alive else ""

    def held_by(self, member: str) -> frozenset[int]:
        return frozenset(shard for shard, holder in self.holders.items() if holder == member)

    def held_by_version(self, version: str) -> frozenset[int]:
        return frozenset(shard for shard, holder in self.holders.items() if self.versions.get(holder) == version)

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
    """Members that get shards, the first of those that have joined; 0: all. The others stand by. Of each version while
    a rollout is under way.
    """
    version: str = ""
    """Of the member."""
    observed: Observed | None = None
    """What members have done in the rollout's stage, if it is this member that judges it."""
    now: float = 0.0
    """Epoch seconds."""


def advance(before: ShardMap, step: Step) -> ShardMap:
    """The map after a member's step."""
    me = step.member
    remaining = tuple(name for name in before.members if name not in step.gone)
    holders = {
        shard: name
        for shard, name in before.holders.items()
        if name not in step.gone and not (name == me and (shard in step.stopped or step.leaves))
    }
    if step.leaves:
        remaining = tuple(name for name in remaining if name != me)
    elif me not in remaining:
        remaining += (me,)
    versions = {name: version for name, version in before.versions.items() if name in remaining}
    if step.version and me in remaining:
        versions[me] = step.version
    rollout = _rollout_after(before, step, remaining, versions)
    chosen = _chosen(rollout, remaining, versions, step.active)
    wanted = dict(before.wanted)
    changed = set(chosen) != set(_chosen(before.rollout, before.members, before.versions, step.active))
    if step.plans or step.leaves or changed:
        wanted = {}
        for shards, owners in divisions(rollout, chosen, versions, before.count):
            if owners and shards:
                level = step.levels or any(name not in before.wanted.values() for name in owners)
                wanted |= assign(owners, step.loads, before.wanted, before.count, shards=shards, level=level)
        if not chosen:
            wanted = dict(before.wanted)
    if not step.leaves:
        mine = [shard for shard, name in wanted.items() if name == me and shard not in holders]
        holders |= dict.fromkeys(mine, me)
    holders, wanted = dict(sorted(holders.items())), dict(sorted(wanted.items()))
    return ShardMap(before.count, remaining, holders, wanted, versions, rollout, before.named)


def _rollout_after(
    before: ShardMap, step: Step, remaining: Collection[str], versions: Mapping[str, str]
) -> Rollout | None:
    """The rollout after a step. One that has promoted its candidate goes once all members are of that version; one that
    was rolled back stays, so that the bad version gets nothing however often its members come back.
    """
    rollout = before.rollout
    if rollout is None:
        return rollout
    crashed = [before.versions.get(name) == rollout.candidate for name in before.members if name in step.gone]
    if crashed and not rollout.state.is_over:
        crashes, others = rollout.crashes + sum(crashed), rollout.other_crashes + crashed.count(False)
        rollout = msgspec.structs.replace(rollout, crashes=crashes, other_crashes=others)
    if not step.plans:
        return rollout
    if step.observed is not None:
        ours = sum(versions.get(name) == rollout.candidate for name in remaining)
        rollout = next_of(rollout, step.observed, step.now, (ours, len(remaining) - ours))
    if rollout.state is State.PROMOTED and all(versions.get(name) == rollout.candidate for name in remaining):
        return None
    return rollout


def _chosen(
    rollout: Rollout | None, members: Collection[str], versions: Mapping[str, str], active: int
) -> tuple[str, ...]:
    """The members that may get shards."""
    if rollout is None or not active:
        return tuple(members)[: active or None]
    candidates = [name for name in members if versions.get(name) == rollout.candidate]
    return (*[name for name in members if name not in candidates][:active], *candidates[:active])


def encode_map(map_: ShardMap) -> str:
    return msgspec.json.encode(map_).decode()


def decode_map(text: str, count: int, where: str, named: tuple[str, ...] = ()) -> ShardMap:
    """Raises Invalid for a text that is no map; OtherDivision for one that has members, and another number of shards
    (0: any is right), or other names. One without members is no obstacle: it is begun anew. `where` is the object's
    name.
    """
    try:
        found = msgspec.json.decode(text, type=ShardMap)
    except UNDECODABLE as error:
        raise Invalid(f"the shard map of {where} cannot be read: {error}; delete that Lease to begin anew") from error
    if not count or (found.count, found.named) == (count, named):
        return found
    if not found.names:
        return ShardMap(count, named=named)
    if found.count - len(found.named) != count - len(named):
        raise OtherDivision(
            f"{where} divides {found.count} shards, and the settings say {count}: stop all members to change the number"
        )
    raise OtherDivision(
        f"{where} has shards named {list(found.named)}, and the settings say {list(named)}: stop all members to "
        "change the names"
    )


def loads_of(texts: Collection[str]) -> dict[int, float]:
    """The loads of shards as their holders tell them. Texts that are none count as no load."""
    found: dict[int, float] = {}
    for text in texts:
        try:
            found |= msgspec.json.decode(text, type=dict[int, float])
        except UNDECODABLE:
            continue
    return found
