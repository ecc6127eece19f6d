"""A staged rollout: which shards a new version has, and what comes next. Pure.

Guarantees
    The new version has the shards of its stage alone, and none once it is rolled back: not even if no other member
    lives, as a version that was found bad is worse than a wait. While it bakes, its shards go to the version that runs
    if none of its own members lives.
    A stage ends early only in a rollback; it goes on once it has lasted `bake` seconds, enough has happened and no look
    has found the new version worse. See `judge` for the test, and `looks`.
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
from propeller.reconcile.rollouts._judge import Share, judge
from propeller.reconcile.rollouts._options import RolloutOptions

EARLY_LOOKS = 4
"""At a stage before it has lasted `bake` seconds."""

MAX_REASON = 500
"""Characters of a reason in the record."""


class State(enum.StrEnum):
    """Of a rollout."""

    BAKING = "baking"
    HELD = "held"
    """It waits for a person, as too little has happened to judge by."""
    PROMOTED = "promoted"
    ABORTED = "aborted"

    @property
    def is_over(self) -> bool:
        return self in {State.PROMOTED, State.ABORTED}


class Rollout(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The record of a rollout of `candidate` over `current`, which are versions."""

    candidate: str
    current: str
    order: tuple[int, ...]
    """All shards, in the order in which the candidate gets them: the least loaded first."""
    options: RolloutOptions = RolloutOptions()
    stage: int = 0
    state: State = State.BAKING
    since: float = 0.0
    """Epoch seconds: when its stage began, or when it ended."""
    reason: str = ""
    """Why it is in its state."""
    crashes: int = 0
    """Members of the candidate that fell silent."""
    looked: int = 0
    """Looks at this stage so far: see `looks`."""

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


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What members have done in this stage, by what is watched, since it began, and for how many seconds that is."""

    seconds: float = 0.0
    candidate: Mapping[str, Share] = {}
    current: Mapping[str, Share] = {}


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
    if first:
        sizes = {*range(1, len(first) + 1), *(len(first) + _part(share, len(others)) for share in options.stages)}
        options = msgspec.structs.replace(options, stages=tuple(size / count for size in sorted(sizes)))
    reason = f"stage 1 of {len(options.stages)} has begun"
    return Rollout(candidate, current, order, options, since=now, reason=reason)


def looks(options: RolloutOptions) -> tuple[float, ...]:
    """When a stage is looked at, in seconds since it began: soon, and then half as often each time, so that a version
    that fails at everything is seen at once, and few looks find something by chance.
    """
    if not options.bake:
        return (0.0, *((options.longest,) if options.longest else ()))
    early = [options.bake / (1 << power) for power in range(EARLY_LOOKS, 0, -1)]
    late = [options.bake]
    while 2 * late[-1] < options.longest:
        late.append(2 * late[-1])
    return (*early, *late, options.longest) if late[-1] < options.longest else (*early, *late)


def step(rollout: Rollout, observed: Observed, now: float) -> Rollout:
    """What the rollout is after a look at what its members have done; the same if no look is due."""
    options, times = rollout.options, looks(rollout.options)
    if rollout.state.is_over:
        return rollout
    if rollout.crashes >= options.crashes:
        return abort(rollout, f"{rollout.crashes} members of {rollout.candidate} fell silent", now)
    if rollout.looked >= len(times) or observed.seconds < times[rollout.looked]:
        return rollout
    alpha = options.alpha / (len(options.stages) * len(times))
    worse = judge(observed.candidate, observed.current, alpha=alpha, tolerance=options.tolerance)
    if worse is not None:
        return abort(rollout, f"{rollout.candidate} is worse: {worse}", now)
    looked = sum(time <= observed.seconds for time in times)
    rollout = msgspec.structs.replace(rollout, looked=looked)
    if observed.seconds < options.bake:
        return rollout
    done = max((share.total for share in observed.candidate.values()), default=0)
    if done >= options.least:
        return promote(rollout, now)
    if looked < len(times):
        return rollout
    reason = (
        f"in {observed.seconds:.0f} s it has done {done} things of a kind, and {options.least} are needed to judge: "
        "promote or abort it"
    )
    return msgspec.structs.replace(rollout, state=State.HELD, reason=reason)


def promote(rollout: Rollout, now: float, *, whole: bool = False, why: str = "") -> Rollout:
    """The next stage, or all shards if it was the last one or `whole` is set. Raises Conflict if it is over."""
    _require_under_way(rollout)
    stage, count = rollout.stage + 1, len(rollout.options.stages)
    if whole or stage >= count:
        reason = why or f"all {count} stages passed"
        return msgspec.structs.replace(rollout, state=State.PROMOTED, since=now, reason=reason)
    reason = why or f"stage {stage} passed, stage {stage + 1} of {count} has begun"
    return msgspec.structs.replace(rollout, state=State.BAKING, stage=stage, since=now, reason=reason, looked=0)


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
