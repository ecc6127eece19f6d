"""Assign shards to members by load, with the fewest moves: a pure function of what all members can read.

Guarantees
    Every shard has one member. A shard leaves its member only if that is gone, or if the move makes the heaviest of two
    members lighter: with equal loads as few shards move as there are between the counts before and after.
    The result depends on the arguments alone, in whatever order they come.
    Levelling makes at most as many moves as there are shards.
Caveats
    A shard is not divided: one that is heavier than all others together stays where it is, and the others leave it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from propeller.errors import Invalid

TOLERANCE = 0.2
"""Share of the mean weight of a member by which two members may differ before shards move for their load. A move stops
the shard's executions for a second, and loads differ by more than a few percent from minute to minute."""

MIN_GAIN = 0.05
"""Share of that mean by which a move has to bring two members closer."""

IDLE_WEIGHT = 0.25
"""Weight of a shard without load, as a part of the mean load of a shard: what it may get next minute, and its watches.
So members without load have equal numbers of shards."""


MAX_LOAD = 1e9
"""Of a shard. Loads are read from annotations, which may say anything."""


def assign(
    members: Collection[str],
    loads: Mapping[int, float],
    current: Mapping[int, str],
    count: int,
    *,
    shards: Collection[int] | None = None,
    level: bool = True,
) -> dict[int, str]:
    """The member of each of the shards 0 to `count - 1`, or of those `shards` of them.

    `loads` are those of shards (any unit, 0 if unknown), `current` the member that each had. Unless `level` is set only
    shards without a member get one. Raises Invalid without members, or with a name given twice.
    """
    names = sorted(set(members))
    if not names or len(names) != len(members):
        raise Invalid(f"shards need one member or more, each with a name of its own, not {sorted(members)}")
    weights = weights_of(loads, count)
    wanted = range(count) if shards is None else shards
    owner = {shard: current[shard] for shard in sorted(wanted) if current.get(shard) in names}
    carried = dict.fromkeys(names, 0.0)
    for shard, name in owner.items():
        carried[name] += weights[shard]
    for shard in sorted(set(wanted) - owner.keys(), key=lambda shard: (-weights[shard], shard)):
        name = min(names, key=lambda name: (carried[name], name))
        owner[shard] = name
        carried[name] += weights[shard]
    if level:
        _level(owner, carried, weights)
    return owner


def weights_of(loads: Mapping[int, float], count: int) -> list[float]:
    """The weight of each shard: its load, and what an idle one weighs."""
    known = [round(min(max(0.0, loads.get(shard, 0.0)), MAX_LOAD), 3) for shard in range(count)]
    idle = IDLE_WEIGHT * (sum(known) / count) if any(known) else 1.0
    return [load + idle for load in known]


def _level(owner: dict[int, str], carried: dict[str, float], weights: list[float]) -> None:
    """Move shards to the lightest member while a move is worth it."""
    mean = sum(carried.values()) / len(carried)
    if max(carried.values()) - min(carried.values()) <= TOLERANCE * mean and len(set(owner.values())) == len(carried):
        return
    for _ in weights:  # no shard has to move twice
        if (move := _best_move(owner, carried, weights, MIN_GAIN * mean)) is None:
            return
        shard, light = move
        carried[owner[shard]] -= weights[shard]
        carried[light] += weights[shard]
        owner[shard] = light


def _best_move(
    owner: Mapping[int, str], carried: Mapping[str, float], weights: list[float], gain: float
) -> tuple[int, str] | None:
    """A shard and the lightest member, which gets it from the heaviest that has one to give; None if none is worth it.

    A member without a shard gets one even for a small gain.
    """
    light = min(carried, key=lambda name: (carried[name], name))
    has_none = light not in owner.values()
    for heavy in sorted(carried, key=lambda name: (-carried[name], name)):
        gap = carried[heavy] - carried[light]
        fitting = [shard for shard, name in owner.items() if name == heavy and weights[shard] < gap]
        if not fitting:
            continue
        shard = min(fitting, key=lambda shard: (abs(gap / 2 - weights[shard]), weights[shard], shard))
        if has_none or gap - abs(gap - 2 * weights[shard]) >= gain:
            return shard, light
    return None
