"""What members of both versions have done since a stage of a rollout began, from the counts on their Leases.

Guarantees
    Counts of members that are gone stay, and those from before the stage are left out.
Caveats
    Held in memory by the member that judges: if another takes over, the stage's time and counts begin anew for it.
    Whoever may write the Leases can say what it likes; a text that is no count counts as nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import msgspec

from propeller.decoding import UNDECODABLE
from propeller.reconcile.rollouts._judge import Share, late_shares
from propeller.reconcile.rollouts._rollout import Observed, Rollout

LATE = "late reconciles"

MAX_COUNT = 1 << 53
MAX_THINGS = 32
"""Of one member: more, or larger ones, are not read."""


class Counts(msgspec.Struct, frozen=True):
    """What a process has done since it began: by what is watched, and how long reconciles took (counts by bucket)."""

    shares: Mapping[str, Share] = {}
    seconds: tuple[int, ...] = ()


NOTHING = Counts()


def encode_counts(counts: Counts) -> str:
    return msgspec.json.encode(counts).decode()


def decode_counts(text: str) -> Counts | None:
    """The counts, None if the text has none."""
    try:
        found = msgspec.json.decode(text, type=Counts)
    except UNDECODABLE:
        return None
    if max(len(found.shares), len(found.seconds)) > MAX_THINGS:
        return None
    if not all(0 <= share.bad <= share.total <= MAX_COUNT for share in found.shares.values()):
        return None
    if not all(0 <= count <= MAX_COUNT for count in found.seconds):
        return None
    return found


class Tally:
    """See the module's text."""

    def __init__(self) -> None:
        self._stage: tuple[object, ...] = ()
        self._began = 0.0
        self._first: dict[str, Counts] = {}
        self._last: dict[str, Counts] = {}
        self._versions: dict[str, str] = {}

    def observe(
        self, rollout: Rollout, versions: Mapping[str, str], counts: Mapping[str, Counts], now: float
    ) -> Observed:
        """Note the members' counts at `now` (monotonic seconds); returns what they have done in this stage."""
        stage = (rollout.candidate, rollout.current, rollout.stage, rollout.since)
        if stage != self._stage:
            self._stage, self._began = stage, now
            self._first, self._last, self._versions = dict(counts), {}, {}
        for name, seen in counts.items():
            self._first.setdefault(name, NOTHING)  # it has begun in this stage
            self._last[name] = seen
            self._versions[name] = versions.get(name, "")
        ours, our_seconds = self._sum(rollout.candidate)
        theirs, their_seconds = self._sum(rollout.current)
        if our_seconds and their_seconds:
            ours[LATE], theirs[LATE] = late_shares(our_seconds, their_seconds)
        return Observed(seconds=now - self._began, candidate=ours, current=theirs)

    def _sum(self, version: str) -> tuple[dict[str, Share], Sequence[int]]:
        shares: dict[str, Share] = {}
        seconds: list[int] = []
        for name, last in self._last.items():
            if self._versions[name] != version:
                continue
            first = self._first[name]
            for what, share in last.shares.items():
                shares[what] = shares.get(what, Share()) + _since(share, first.shares.get(what, Share()))
            more = (max(0, new - old) for new, old in zip_longest(last.seconds, first.seconds, fillvalue=0))
            seconds = [one + other for one, other in zip_longest(seconds, more, fillvalue=0)]
        return shares, seconds


def _since(now: Share, before: Share) -> Share:
    total = max(0, now.total - before.total)
    return Share(min(total, max(0, now.bad - before.bad)), total)
