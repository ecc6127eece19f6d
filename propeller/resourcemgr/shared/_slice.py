"""What a process has without the store, and how it says so."""

from __future__ import annotations

from propeller.resourcemgr._claims import Wait
from propeller.resourcemgr._limits import Limits
from propeller.resourcemgr.shared._messages import Rules

OWN = "own"
"""The server of a store that a process has for itself: it has never lost anything."""


class StoreWait(Wait, frozen=True):
    """A claim waits for the store more than for its pool."""

    why: str = ""

    def __str__(self) -> str:
        return f"{self.what}{self.why}"


def of_slice(rules: Rules, slice_: dict[str, int], members: int) -> Rules:
    """Limits of one of so many processes: what it has of pools with a capacity, and its part of each rate. Nothing is
    kept: others know no more of what is left of a tenant's share.
    """
    return Rules(
        generation=1,
        digest="slice",
        source="",
        pools={
            pool: (
                capacity if capacity < 0 else min(capacity, float(slice_.get(pool, 0))),
                rate if rate < 0 else rate / max(1, members),
                burst,
                is_shared,
            )
            for pool, (capacity, rate, burst, is_shared) in rules.pools.items()
        },
        weights=rules.weights,
        max_bypass=rules.max_bypass,
    )


def differences(own: Limits, other: Limits) -> str:
    """Pools and tenants that are not alike, for a message."""
    found: list[str] = []
    for kind in ("pools", "tenants"):
        ours, theirs = ({one.name: one for one in getattr(limits, kind)} for limits in (own, other))
        found += [
            f"{kind[:-1]} {name!r} is {_shown(ours.get(name))} here and {_shown(theirs.get(name))} there"
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ]
    if own.max_bypass != other.max_bypass:
        found.append(f"max_bypass is {own.max_bypass} here and {other.max_bypass} there")
    return "; ".join(found[:5]) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")


def _shown(of: object) -> str:
    return "none" if of is None else repr(of)
