"""How a rollout goes on, and when it stops. Units are in the docstrings."""

from __future__ import annotations

import math

import msgspec


class RolloutTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How a new version takes over the shards of the one that runs, as the record of a rollout has it: without what
    only a newer release knows, as releases run beside one another while one takes over from the other.
    """

    stages: tuple[float, ...] = (0.05, 0.25, 0.5)
    """Shares of all shards that the new version has in each stage, one shard at least, before it gets all. The first
    stage is where a bad version shows, so it is small."""

    bake: float = 600.0
    """Seconds of a stage at least: a leak or a lost event takes minutes to show."""

    least: int = 50
    """Things of any kind that the new version has to have done in a stage, such as reconciles: of fewer, nothing can
    be said."""

    detectable: float = 0.25
    """Share of failures more than the version that runs has, at which a new version is to be found with a probability
    of 95 %: a stage lasts until enough has happened for that. A quarter takes about 50 things in one of 16 shards, and
    half as many for twice as much; smaller differences are found as well, if there is more to judge by."""

    pace: float = 0.1
    """What the new version has to have done of each thing (reconciles, launched attempts, ended nodes and executions,
    status writes) for one shard, as a share of what the version that runs did: one that launches or ends nothing has
    not failed at it either. Shards differ, and the first one has the least load, so not much more. 0: nothing."""

    longest: float = 7200.0
    """Seconds after which a stage in which too little has happened waits for a person: a night without work proves
    nothing. It is still judged, and rolled back if it is worse."""

    alpha: float = 0.01
    """Probability with which a new version that is as good as the one that runs is rolled back, over a whole rollout.
    """

    tolerance: float = 1.2
    """How many times as large a share of failures has to be before the new version can be found worse. Without it, of
    very many executions a difference without consequence would count."""

    crashes: int = 2
    """Members of the new version that fall silent or die, in a whole rollout, before it is rolled back, if as large a
    share of the other's members does not (times `tolerance`). One may be a node that has died."""

    def __post_init__(self) -> None:
        increasing = all(a < b for a, b in zip(self.stages, self.stages[1:], strict=False))
        if not self.stages or not increasing or not self.stages[0] > 0 or not self.stages[-1] <= 1:
            raise ValueError(f"stages must increase, from more than 0 to 1 at most; they are {self.stages}")
        if not 0 <= self.bake <= self.longest < math.inf:
            raise ValueError(f"0 <= bake <= longest has to hold; they are {self.bake} and {self.longest}")
        if not 0 < self.detectable <= 1 or not 0 <= self.pace <= 1:
            raise ValueError(
                "detectable must be more than 0 and 1 at most, and pace 0 to 1; they are "
                f"{self.detectable} and {self.pace}"
            )
        if not 0 < self.alpha < 1 or not 1 <= self.tolerance < math.inf or self.least < 1 or self.crashes < 1:
            raise ValueError(
                "alpha must be between 0 and 1, tolerance, least and crashes at least 1; they are "
                f"{self.alpha}, {self.tolerance}, {self.least} and {self.crashes}"
            )


class RolloutOptions(RolloutTerms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a new version takes over the shards of the one that runs."""

    def terms(self) -> RolloutTerms:
        """As a record has them."""
        return RolloutTerms(**msgspec.structs.asdict(self))
