"""The configurations of shards and placements that are searched, and those in which each planted defect is found."""

from __future__ import annotations

from typing import Final

from tests.model.fleet import defects
from tests.model.fleet.configurations import Fleet
from tests.model.fleet.invariants import (
    ISOLATED,
    LOSERS_LOSE,
    ONE_ACTOR,
    ONE_CLUSTER,
    QUIET,
    RUNS_ONCE,
    STATUS_KEPT,
    WRITTEN_FIRST,
)
from tests.model.fleet.states import NOWHERE, Left


def _shard(name: str, faults: Left, members: int = 2, joined: int = 2, **others: object) -> Fleet:
    return Fleet(f"shard: {name}", faults, members, shards=True, joined=joined, **others)  # type: ignore[arg-type]


def _placement(name: str, faults: Left, clusters: int = 2, **others: object) -> Fleet:
    """Of an execution that has no cluster yet, and may run in two; requests have their answers at once."""
    usual = {"home": NOWHERE, "allowed": (0, 1), "attempts": 3, "instant": True}
    return Fleet(f"placement: {name}", faults, clusters=clusters, **(usual | others))  # type: ignore[arg-type]


def _both(name: str, faults: Left, **others: object) -> Fleet:
    usual = {"clusters": 2, "allowed": (0, 1), "attempts": 3}
    return Fleet(f"both: {name}", faults, 2, shards=True, joined=2, **(usual | others))  # type: ignore[arg-type]


HANDED_OVER: Final = _shard("handed over and back, an answer is lost", Left(moves=2, losses=1))
KILLED: Final = _shard("a member is killed, an answer is lost", Left(crashes=1, losses=1))
OUT_OF_TIME: Final = _shard("handed over while attempts run out of time", Left(moves=1), attempts=2, overdue=True)
HALTED: Final = _shard("a member is halted, and goes on", Left(halts=1), attempts=2, overdue=True)
HALTED_AND_MOVED: Final = _shard("handed over, and a member is halted", Left(halts=1, moves=1))
LAPSED: Final = _shard("a member's Lease lapses, another joins", Left(lapses=1), joined=1, attempts=2, overdue=True)
LATE: Final = _shard("a cache of Leases is late", Left(lags=1))
LEAVES: Final = _shard("a member leaves, an answer is lost", Left(leaves=1, losses=1))

AWAY: Final = _placement("a cluster stays away", Left(outages=1), forever=True)
AWAY_AND_CRASH: Final = _placement("at home; an outage, a crash", Left(outages=1, crashes=1), home=0)
RUNS_ON: Final = _placement("attempts may run for ever; an outage", Left(outages=1), overdue=True)
ALONE: Final = _placement("a pool of one cluster; an outage, a crash", Left(outages=1, crashes=1), allowed=(0,))
SLOW: Final = _placement("an outage, an answer lost", Left(outages=1, losses=1), attempts=2, instant=False)
RESTORED: Final = _placement("restored, an outage", Left(restores=1, outages=1))
FORGOTTEN: Final = _placement("restored, a crash", Left(restores=1, crashes=1), attempts=2)

CONFIGURATIONS: Final = (
    HANDED_OVER,
    KILLED,
    OUT_OF_TIME,
    HALTED,
    HALTED_AND_MOVED,
    LAPSED,
    LATE,
    LEAVES,
    _shard("two of three members are killed", Left(crashes=2), members=3, joined=3),
    _shard(
        "a member is halted, and its requests come late",
        Left(halts=1),
        attempts=2,
        overdue=True,
        late=True,
        not_promised=frozenset({RUNS_ONCE}),
    ),
    AWAY,
    AWAY_AND_CRASH,
    RUNS_ON,
    ALONE,
    _placement("a pool of two of three clusters; an outage, a crash", Left(outages=1, crashes=1), clusters=3),
    SLOW,
    RESTORED,
    FORGOTTEN,
    _placement("restored, an attempt out of time", Left(restores=1), 1, home=0, allowed=(0,), attempts=2, overdue=True),
    _both("a member is killed, an outage", Left(outages=1, crashes=1), home=NOWHERE, instant=True),
    _both("a member is halted, an outage", Left(outages=1, halts=1), attempts=2, instant=True),
)
"""All promises hold but where `not_promised` says so."""

LARGE: Final = (
    _both("handed over, an outage", Left(outages=1, moves=1), attempts=2, instant=True),
    _both("a member is halted, an outage, every request slow", Left(outages=1, halts=1), attempts=2),
    _shard("a member is halted, another is killed; three", Left(halts=1, crashes=1), members=3),
)
"""The same promises, up to a minute each."""

PLANTED: Final = {
    defects.HASTY_RELOAD: (SLOW, WRITTEN_FIRST),
    defects.UNBEGUN_IS_KEPT: (HANDED_OVER, QUIET),
    defects.NO_FENCE: (LAPSED, ONE_ACTOR),
    defects.EARLY_TAKE_OVER: (LATE, ONE_ACTOR),
    defects.BLIND_BURIAL: (LATE, ONE_ACTOR),
    defects.BLIND_MAP: (HANDED_OVER, ONE_ACTOR),
    defects.EARLY_RELEASE: (OUT_OF_TIME, ONE_ACTOR),
    defects.HOLDER_STAYS: (KILLED, QUIET),
    defects.ANY_VERSION: (SLOW, STATUS_KEPT),
    defects.LAUNCH_BEFORE_STATUS: (AWAY, WRITTEN_FIRST),
    defects.SAME_NUMBER: (AWAY, ONE_CLUSTER),
    defects.UNSEEN_IS_NEW: (AWAY_AND_CRASH, ONE_CLUSTER),
    defects.LOSER_COUNTS: (AWAY_AND_CRASH, LOSERS_LOSE),
    defects.SPILLS_ANYWHERE: (ALONE, ISOLATED),
    defects.LOSERS_STAY: (RUNS_ON, QUIET),
    defects.RESTORE_IGNORED: (FORGOTTEN, QUIET),
}
"""By defect: where it is found, and which promise it breaks first."""
