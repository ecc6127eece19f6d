"""The members of a group as their Leases show them: who is silent, and whom to take for dead. No I/O.

Guarantees
    A member counts as silent once its Lease has not changed for its duration, seen by this process' own monotonic clock
    (as in client-go, tools/leaderelection). No wall clock is compared.
    A Lease that is missing says nothing for as long: it may have been deleted by hand, and its member works on until
    its next renewal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from propeller.kube import Lease

LOAD_ANNOTATION = "propeller.dev/load"
"""On a member's Lease: the load of each of its shards, as JSON."""


COUNTS_ANNOTATION = "propeller.dev/counts"
"""On a member's Lease while a rollout is under way: what it has done, as JSON."""


NOTE_ANNOTATION = "propeller.dev/note"
"""On a member's Lease: what it tells the others of itself, in a form that is its server's own."""


class Peers(msgspec.Struct, frozen=True):
    """What a member sees of the others that live."""

    speaks: bool
    """Whether it is the one that says what is to be said once for all of them."""
    notes: tuple[str, ...]
    """What each of the others notes."""
    loads: Mapping[int, float] = {}
    """Of the shards that others work on, those without load left out."""


class _Seen(msgspec.Struct):
    version: str
    """resourceVersion of the Lease; "" if it is missing."""
    at: float
    """Monotonic seconds since which it has had that."""
    duration: float


class Members:
    """`duration` is how long a missing Lease is waited for, in seconds."""

    def __init__(self, duration: float) -> None:
        self._duration = duration
        self._seen: dict[str, _Seen] = {}

    def observe(self, leases: Mapping[str, Lease], expected: Iterable[str], now: float) -> None:
        """Note the Leases that there are, by name, of members that are `expected` and of others."""
        names = {*leases, *expected}
        for name in self._seen.keys() - names:
            del self._seen[name]
        for name in names:
            lease = leases.get(name)
            version = "" if lease is None else lease.metadata.resource_version
            if (seen := self._seen.get(name)) is None or seen.version != version:
                named = None if lease is None else lease.spec.lease_duration_seconds
                self._seen[name] = _Seen(version, now, max(named or 0.0, self._duration))

    def silent(self, now: float) -> list[str]:
        """Members whose Lease has not changed, or is missing, for its duration."""
        return sorted(name for name, seen in self._seen.items() if now >= seen.at + seen.duration)

    def renewed(self, name: str, now: float) -> None:
        """The server has shown that the member lives, whatever the cache has."""
        if (seen := self._seen.get(name)) is not None:
            seen.at = now
