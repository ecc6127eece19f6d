"""A staged rollout: which shards a new version has, and what comes next. Pure.

Guarantees
    The new version has the shards of its stage alone, and none once it is rolled back: not even if no other member
    lives, as a version that was found bad is worse than a wait. While it bakes, its shards go to the version that runs
    if none of its own members lives.
    A stage ends early only in a rollback; it goes on once the new version has had its shards for `bake` seconds, has
    done enough to be judged, and no look has found it worse, the last of them when it goes on. See `judge` for the
    test, `lacking` for what is enough, and `alpha_of` for the looks.
    What was seen is in the record, so that another judge goes on with it: at most `note_interval` seconds are lost.
    After the last stage the new version has all shards. The other has them only if no member of the new one lives.
Caveats
    Shards are given in the order that the record has from its start, so that a shard changes its version once.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from propeller.errors import Conflict, Invalid
from propeller.reconcile.rollouts._evidence import lacking, work_in
from propeller.reconcile.rollouts._judge import Share, judge
from propeller.reconcile.rollouts._options import RolloutOptions, RolloutTerms

FIRST_LOOK = 4
"""Things that the candidate has done when a stage is first looked at. It is again each time they have doubled, so that
a version that fails at everything is seen at once, on a fast machine as on a slow one, and looks are few."""

NOTES = 8
"""Of what was seen, in `bake` seconds. Each is a write of the shard map."""

NOTE_SECONDS = 10.0
"""Between two notes at least."""

MAX_REASON = 500
"""Characters of a reason in the record."""


class State(enum.StrEnum):
    """Of a rollout."""

    BAKING = "baking"
    HELD = "held"
    """It waits for a person, as too little has happened to judge by. It is rolled back if it is found to be worse."""
    PROMOTED = "promoted"
    ABORTED = "aborted"

    @property
    def is_over(self) -> bool:
        return self in {State.PROMOTED, State.ABORTED}


class Observed(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What members have done in this stage, by what is watched."""

    seconds: float = 0.0
    """For which the candidate has had all shards of the stage."""
    waited: float = 0.0
    """Seconds since the stage began."""
    candidate: Mapping[str, Share] = {}
    current: Mapping[str, Share] = {}

    def __post_init__(self) -> None:
        shares = (*self.candidate.values(), *self.current.values())
        if not all(0 <= share.bad <= share.total for share in shares):
            raise ValueError("what was seen of a version is a part of all that it did")

    @property
    def done(self) -> int:
        """How often the candidate has done what it does most."""
        return max((share.total for share in work_in(self.candidate).values()), default=0)


class Rollout(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The record of a rollout of `candidate` over `current`, which are versions."""

    candidate: str
    current: str
    order: tuple[int, ...]
    """All shards, in the order in which the candidate gets them: the least loaded first."""
    options: RolloutTerms = RolloutTerms()
    stage: int = 0
    state: State = State.BAKING
    since: float = 0.0
    """Epoch seconds: when its stage began, or when it ended."""
    reason: str = ""
    """Why it is in its state."""
    crashes: int = 0
    """Members of the candidate that fell silent or died."""
    other_crashes: int = 0
    """Other members that did."""
    looked: int = 0
    """Looks at this stage so far: see `alpha_of`."""
    looked_at: int = 0
    """What the candidate had done at the last of them (`Observed.done`)."""
    noted: Observed | None = None
    """What was seen in this stage, some seconds ago at most."""

    def __post_init__(self) -> None:
        if not 0 <= self.stage < len(self.options.stages):
            raise ValueError(f"a rollout is in one of its {len(self.options.stages)} stages, and not in {self.stage}")
        if min(self.looked, self.looked_at, self.crashes, self.other_crashes) < 0:
            raise ValueError("a rollout has counts of looks and crashes that are 0 or more")

    @property
    def share(self) -> float:
        """Of all shards, what the candidate is to have."""
        if self.state is State.ABORTED:
            return 0.0
        return 1.0 if self.state is State.PROMOTED else self.options.stages[self.stage]

    @property
    def shards(self) -> frozenset[int]:
        """Those that the candidate is to have."""
        if not self.share:
            return frozenset()
        return frozenset(self.order[: _part(self.share, len(self.order))])


def _part(share: float, count: int) -> int:
    """How many of so many shards are that share: one at least."""
    return max(1, math.floor(share * count + 1e-9))


def begin(
    candidate: str,
    current: str,
    loads: Mapping[int, float],
    count: int,
    options: RolloutOptions,
    now: float,
    first: Sequence[int] = (),
) -> Rollout:
    """A new rollout. `loads` are those of shards. Those in `first` come before others, in a stage each; the others
    follow in the stages of the options, of which their shares are then. Raises Invalid.
    """
    if not candidate or not current or candidate == current:
        raise Invalid(f"a rollout goes from one version to another, not from {current!r} to {candidate!r}")
    others = sorted(set(range(count)).difference(first), key=lambda shard: (loads.get(shard, 0.0), shard))
    order = (*first, *others)
    terms = options.terms()
    if first:
        sizes = {*range(1, len(first) + 1), *(len(first) + _part(share, len(others)) for share in options.stages)}
        terms = msgspec.structs.replace(terms, stages=tuple(size / count for size in sorted(sizes)))
    reason = f"stage 1 of {len(terms.stages)} has begun"
    return Rollout(candidate, current, order, terms, since=now, reason=reason)


def alpha_of(options: RolloutTerms, look: int) -> float:
    """Return the part of `alpha` that look number `look` of a stage may spend (from 1): 1/2, 1/6, 1/12 of the stage's,
    and so on. All looks together spend 1, however many there are (alpha spending: K. K. G. Lan and D. L. DeMets,
    Biometrika 70, 1983).
    """
    return options.alpha / len(options.stages) / (look * (look + 1))


def step(rollout: Rollout, observed: Observed, now: float, alive: tuple[int, int] = (0, 0)) -> Rollout:
    """What the rollout is after a look at what its members have done; the same if there is nothing to look at or note.
    `alive` are the members of the candidate, and the others.
    """
    options = rollout.options
    if rollout.state.is_over:
        return rollout
    if _crashes_more(rollout, alive):
        return abort(rollout, f"{rollout.crashes} members of {rollout.candidate} fell silent", now)
    if observed.done >= max(FIRST_LOOK, 2 * rollout.looked_at):
        rollout = _looked(rollout, observed, now)
        if rollout.state.is_over:
            return rollout
    if rollout.state is State.HELD:
        return rollout
    waits = _waits_for(rollout, observed)
    if not waits:
        rollout = _looked(rollout, observed, now)
        return rollout if rollout.state.is_over else promote(rollout, now)
    if observed.waited >= options.longest > 0:
        reason = f"after {observed.waited:.0f} s it waits for {waits}: promote or abort it"
        return msgspec.structs.replace(rollout, state=State.HELD, reason=reason[:MAX_REASON], noted=observed)
    if _since_note(rollout, observed) >= note_interval(options):
        rollout = msgspec.structs.replace(rollout, noted=observed)
    return rollout


def waits_for(rollout: Rollout) -> str:
    """What a stage needs before it goes on, by what was seen when it was last noted; "" for a rollout that is over."""
    return "" if rollout.state.is_over else _waits_for(rollout, rollout.noted or Observed())


def note_interval(options: RolloutTerms) -> float:
    """Seconds between two notes of what was seen."""
    return max(NOTE_SECONDS, options.bake / NOTES)


def _waits_for(rollout: Rollout, observed: Observed) -> str:
    options, ours = rollout.options, len(rollout.shards)
    if not observed.seconds and options.bake:
        return f"members of {rollout.candidate} that hold its shards, {ours} in this stage"
    if observed.seconds < options.bake:
        return f"the end of its time, of which {observed.seconds:.0f} of {options.bake:.0f} s are over"
    alpha = alpha_of(options, rollout.looked + 1)
    if ours == len(rollout.order):  # nobody is left to compare it with
        return "" if observed.done >= options.least else f"{options.least} things of a kind: there are {observed.done}"
    portion = ours / (len(rollout.order) - ours)
    return lacking(observed.candidate, observed.current, options, alpha=alpha, portion=portion)


def _looked(rollout: Rollout, observed: Observed, now: float) -> Rollout:
    look = rollout.looked + 1
    alpha, tolerance = alpha_of(rollout.options, look), rollout.options.tolerance
    worse = judge(observed.candidate, observed.current, alpha=alpha, tolerance=tolerance)
    if worse is not None:
        return abort(rollout, f"{rollout.candidate} is worse: {worse}", now)
    return msgspec.structs.replace(rollout, looked=look, looked_at=observed.done, noted=observed)


def _since_note(rollout: Rollout, observed: Observed) -> float:
    return observed.waited - (0.0 if rollout.noted is None else rollout.noted.waited)


def _crashes_more(rollout: Rollout, alive: tuple[int, int]) -> bool:
    """Whether enough members of the candidate have died, and a larger share of them than of the others."""
    ours, theirs = (
        Share(died, died + living) for died, living in zip((rollout.crashes, rollout.other_crashes), alive, strict=True)
    )
    options = rollout.options
    return rollout.crashes >= options.crashes and ours.rate > options.tolerance * theirs.rate


def promote(rollout: Rollout, now: float, *, whole: bool = False, why: str = "") -> Rollout:
    """The next stage, or all shards if it was the last one or `whole` is set. Raises Conflict if it is over."""
    _require_under_way(rollout)
    stage, count = rollout.stage + 1, len(rollout.options.stages)
    if whole or stage >= count:
        reason = why or f"all {count} stages passed"
        return msgspec.structs.replace(rollout, state=State.PROMOTED, since=now, reason=reason)
    reason = why or f"stage {stage} passed, stage {stage + 1} of {count} has begun"
    return msgspec.structs.replace(
        rollout, state=State.BAKING, stage=stage, since=now, reason=reason, looked=0, looked_at=0, noted=None
    )


def abort(rollout: Rollout, why: str, now: float) -> Rollout:
    """Give all shards back. Raises Conflict if it is over."""
    _require_under_way(rollout)
    return msgspec.structs.replace(rollout, state=State.ABORTED, since=now, reason=why[:MAX_REASON])


def _require_under_way(rollout: Rollout) -> None:
    if rollout.state.is_over:
        raise Conflict(
            f"the rollout of {rollout.candidate} is over ({rollout.state}: {rollout.reason}); start another one"
        )


def divisions(
    rollout: Rollout | None, members: Iterable[str], versions: Mapping[str, str], count: int
) -> list[tuple[frozenset[int], tuple[str, ...]]]:
    """Which shards go to which members: each shard is in one of them. The members are in the order given."""
    everybody, shards = tuple(members), frozenset(range(count))
    if rollout is None:
        return [(shards, everybody)]
    candidates = tuple(name for name in everybody if versions.get(name) == rollout.candidate)
    others = tuple(name for name in everybody if name not in candidates)
    theirs = rollout.shards & shards
    if rollout.state is State.ABORTED:
        return [(shards, others)]
    if rollout.state is State.PROMOTED:
        return [(shards, candidates or others)]
    return [(theirs, candidates or others), (shards - theirs, others or ())]
