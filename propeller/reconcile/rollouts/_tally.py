"""What members of both versions have done since a stage of a rollout began, from the counts on their Leases.

Guarantees
    Counts of members that are gone stay, and those from before the stage are left out.
Caveats
    Held in memory by the member that judges: another one goes on with what the record has, some seconds old.
    Whoever may write the Leases can say what it likes; a text that is no count counts as nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import msgspec

from propeller.decoding import UNDECODABLE
from propeller.reconcile.rollouts._judge import LAG, LATE, Share, late_shares
from propeller.reconcile.rollouts._rollout import Observed, Rollout

MAX_COUNT = 1 << 53
MAX_THINGS = 32
"""Of one member: more, or larger ones, are not read."""


class Counts(msgspec.Struct, frozen=True):
    """What a process has done since it began."""

    shares: Mapping[str, Share] = {}
    """By what is watched, what of it went wrong."""
    seconds: tuple[int, ...] = ()
    """How long reconciles took: counts by bucket, the last of them without a bound."""
    done: Mapping[str, int] = {}
    """What it has done besides, and which is not judged: whoever does none of it has shown nothing."""
    lags: Share = Share()
    """Of the turns of its event loop that were sampled, those that came late."""


NOTHING = Counts()


def encode_counts(counts: Counts) -> str:
    return msgspec.json.encode(counts).decode()


def decode_counts(text: str) -> Counts | None:
    """The counts, None if the text has none."""
    try:
        found = msgspec.json.decode(text, type=Counts)
    except UNDECODABLE:
        return None
    if max(len(found.shares), len(found.seconds), len(found.done)) > MAX_THINGS:
        return None
    if not all(0 <= share.bad <= share.total <= MAX_COUNT for share in (*found.shares.values(), found.lags)):
        return None
    if not all(0 <= count <= MAX_COUNT for count in (*found.seconds, *found.done.values())):
        return None
    return found


class Tally:
    """See the module's text."""

    def __init__(self) -> None:
        self._stage: tuple[object, ...] = ()
        self._base = Observed()
        """What others have seen of the stage."""
        self._began = 0.0
        self._seen = 0.0
        self._held: float | None = None
        """Seconds for which the candidate has held its shards, None before it has."""
        self._first: dict[str, Counts] = {}
        self._last: dict[str, Counts] = {}
        self._versions: dict[str, str] = {}

    def observe(
        self,
        rollout: Rollout,
        versions: Mapping[str, str],
        counts: Mapping[str, Counts],
        now: float,
        *,
        holds: bool = True,
    ) -> Observed:
        """Note the members' counts at `now` (monotonic seconds), and whether the candidate has all shards of the stage;
        returns what they have done since it first had them, with what the record has.
        """
        stage = (rollout.candidate, rollout.current, rollout.stage, rollout.since)
        if stage != self._stage:
            self._stage, self._base = stage, rollout.noted or Observed()
            self._began = self._seen = now
            self._held = None
        if self._held is None:
            self._first, self._last, self._versions = dict(counts), {}, {}
            self._held = 0.0 if holds else None
        elif holds:
            self._held += now - self._seen
        self._seen = now
        for name, seen in counts.items():
            self._first.setdefault(name, NOTHING)  # it has begun in this stage
            self._last[name] = seen
            self._versions[name] = versions.get(name, "")
        ours, our_seconds = self._sum(rollout.candidate)
        theirs, their_seconds = self._sum(rollout.current)
        if our_seconds and their_seconds:
            ours[LATE], theirs[LATE] = late_shares(our_seconds, their_seconds)
        return Observed(
            seconds=self._base.seconds + (self._held or 0.0),
            waited=self._base.waited + now - self._began,
            candidate=_added(self._base.candidate, ours),
            current=_added(self._base.current, theirs),
        )

    def _sum(self, version: str) -> tuple[dict[str, Share], Sequence[int]]:
        shares: dict[str, Share] = {}
        seconds: list[int] = []
        for name, last in self._last.items():
            if self._versions[name] != version:
                continue
            first = self._first[name]
            before = _all_shares(first)
            for what, share in _all_shares(last).items():
                shares[what] = shares.get(what, Share()) + _since(share, before.get(what, Share()))
            more = (max(0, new - old) for new, old in zip_longest(last.seconds, first.seconds, fillvalue=0))
            seconds = [one + other for one, other in zip_longest(seconds, more, fillvalue=0)]
        return shares, seconds


def _all_shares(counts: Counts) -> dict[str, Share]:
    lags = {LAG: counts.lags} if counts.lags.total else {}
    return {what: Share(0, count) for what, count in counts.done.items()} | dict(counts.shares) | lags


def _added(one: Mapping[str, Share], other: Mapping[str, Share]) -> dict[str, Share]:
    return {what: one.get(what, Share()) + other.get(what, Share()) for what in (*one, *other)}


def _since(now: Share, before: Share) -> Share:
    total = max(0, now.total - before.total)
    return Share(min(total, max(0, now.bad - before.bad)), total)
