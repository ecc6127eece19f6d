"""The configurations that are searched, and those in which each planted defect is found."""

from __future__ import annotations

from typing import Final

from tests.model import defects
from tests.model.configurations import Configuration
from tests.model.invariants import (
    END_STAYS,
    END_TRUE,
    NO_FAULT_OF_OURS,
    ONE_AT_ONCE,
    OURS_ALONE,
    QUIET,
    REASON_FIRST,
    RECORD_KEPT,
    RESULT_KEPT,
    RUNS_ONCE,
)
from tests.model.states import Left

ALONE: Final = ((),)
CHAIN: Final = ((), (0,))
PARALLEL: Final = ((), ())

CRASH: Final = Configuration("a, then b; a crash", "ab", CHAIN, Left(crashes=1))
OUT_OF_TIME: Final = Configuration(
    "an attempt out of time, another; a crash", "a", ALONE, Left(crashes=1), attempts=2, overdue="a"
)
LOST: Final = Configuration(
    "out of time or lost; a crash, an answer lost", "a", ALONE, Left(crashes=1, losses=1), system_retries=1, overdue="a"
)
WRITERS: Final = Configuration(
    "out of time or lost; a label and a status by others",
    "a",
    ALONE,
    Left(touches=1, ends=1),
    system_retries=1,
    overdue="a",
)
RAISES: Final = Configuration(
    "out of time or lost; a reconcile that raises", "a", ALONE, Left(defects=1), system_retries=1, overdue="a"
)
RAISES_BETWEEN: Final = Configuration(
    "another attempt; a reconcile that raises", "a", ALONE, Left(defects=1), attempts=2, overdue="a", prompt=True
)
WRITERS_BETWEEN: Final = Configuration(
    "another attempt; a status by others", "a", ALONE, Left(ends=1), attempts=2, overdue="a", prompt=True
)
HANDLER: Final = Configuration("a failure node; a crash", "ah", PARALLEL, Left(crashes=1), handler=1, overdue="a")
NAMESAKE: Final = Configuration(
    "made anew under the same name; an answer lost", "a", ALONE, Left(recreations=1, losses=1)
)
FAIL_AT_ONCE: Final = Configuration("a fails, c runs for ever", "ac", PARALLEL, Left(), fails="a", overdue="c")

SLOW: Final = Configuration(
    "another attempt, pods take time to stop; a crash",
    "a",
    ALONE,
    Left(crashes=1),
    attempts=2,
    overdue="a",
    slow_stops=True,
)

SIDECARS: Final = Configuration(
    "sidecars run on, pods take time to stop; a crash",
    "a",
    ALONE,
    Left(crashes=1),
    attempts=2,
    sidecars="a",
    slow_stops=True,
)
GRACEFUL: Final = Configuration(
    "a pod that others delete has its grace period; a crash",
    "a",
    ALONE,
    Left(vanishings=1, crashes=1),
    system_retries=1,
    looks=True,
    graceful=True,
    prompt=True,
    not_promised=frozenset({RUNS_ONCE}),
)

CONFIGURATIONS: Final = (
    CRASH,
    SLOW,
    SIDECARS,
    Configuration(
        "a, then b, with sidecars; a crash", "ab", CHAIN, Left(crashes=1), sidecars="a", slow_stops=True, prompt=True
    ),
    GRACEFUL,
    Configuration("an attempt that fails, another; two crashes", "a", ALONE, Left(crashes=2), attempts=2, fails="a"),
    OUT_OF_TIME,
    LOST,
    Configuration(
        "the same, pods take time to stop", "a", ALONE, Left(crashes=1), system_retries=1, overdue="a", slow_stops=True
    ),
    Configuration(
        "the same, out of time while it is launched",
        "a",
        ALONE,
        Left(crashes=1),
        system_retries=1,
        overdue="a",
        early=True,
    ),
    WRITERS,
    RAISES,
    FAIL_AT_ONCE,
    Configuration(
        "a is out of time, c goes on; a crash",
        "ac",
        PARALLEL,
        Left(crashes=1),
        overdue="a",
        fails_at_once=False,
        prompt=True,
    ),
    Configuration("a, then b, beside c", "abc", ((), (0,), ()), Left(), prompt=True),
    HANDLER,
    Configuration("aborted; a crash", "a", ALONE, Left(aborts=1, crashes=1), system_retries=1, overdue="a"),
    NAMESAKE,
    Configuration("a pod that others delete", "a", ALONE, Left(vanishings=1), system_retries=1, looks=True),
    Configuration(
        "a pod that others delete, and a crash",
        "a",
        ALONE,
        Left(vanishings=1, crashes=1),
        system_retries=1,
        looks=True,
        prompt=True,
        not_promised=frozenset({RUNS_ONCE}),
    ),
    Configuration(
        "requests of a crashed process that come late",
        "a",
        ALONE,
        Left(crashes=1),
        system_retries=1,
        overdue="a",
        late=True,
        not_promised=frozenset({RUNS_ONCE}),
    ),
    Configuration(
        "two controllers, attempts that fail", "a", ALONE, Left(), attempts=2, fails="a", processes=2, instant=True
    ),
    Configuration("two controllers, a, then b", "ab", CHAIN, Left(), processes=2, instant=True),
    Configuration(
        "two controllers, a failure node", "ah", PARALLEL, Left(), handler=1, fails="a", processes=2, instant=True
    ),
    Configuration(
        "two controllers, out of time or lost",
        "a",
        ALONE,
        Left(),
        system_retries=1,
        overdue="a",
        processes=2,
        instant=True,
        not_promised=frozenset({RUNS_ONCE, NO_FAULT_OF_OURS}),
    ),
)
"""All promises hold but where `not_promised` says so. Each takes less than about 10 s of CPU and 100 MB."""

LARGE: Final = (
    Configuration(
        "made anew; an answer lost, a crash", "a", ALONE, Left(recreations=1, losses=1, crashes=1), prompt=True
    ),
    Configuration(
        "out of time or lost; two crashes, an answer lost",
        "a",
        ALONE,
        Left(crashes=2, losses=1),
        system_retries=1,
        overdue="a",
    ),
    Configuration("two controllers, every request slow", "a", ALONE, Left(), processes=2, prompt=True),
    Configuration("a, then b, beside c; a crash", "abc", ((), (0,), ()), Left(crashes=1), prompt=True),
)
"""The same promises, up to a minute each."""

AT_ODDS: Final = Configuration(
    "two controllers, another attempt",
    "a",
    ALONE,
    Left(),
    attempts=2,
    overdue="a",
    processes=2,
    instant=True,
    not_promised=frozenset({RUNS_ONCE, NO_FAULT_OF_OURS}),
)
"""In which two differ about a time-out. The whole of it is large."""

PLANTED: Final = {
    defects.DEADLINES_DO_NOT_ASK: (LOST, RESULT_KEPT),
    defects.NEXT_IS_HASTY: (SLOW, ONE_AT_ONCE),
    defects.SIDECARS_AT_ONCE: (SIDECARS, REASON_FIRST),
    defects.GIVEN_UP_AT_ONCE: (GRACEFUL, ONE_AT_ONCE),
    defects.HANDLER_IS_HASTY: (HANDLER, END_TRUE),
    defects.BLIND_DELETES: (LOST, RECORD_KEPT),
    defects.DROPPED_LAUNCHES: (RAISES, RUNS_ONCE),
    defects.NO_FENCE_AFTER_RAISE: (RAISES_BETWEEN, NO_FAULT_OF_OURS),
    defects.ANY_VERSION: (WRITERS, END_STAYS),
    defects.ANY_STATUS: (WRITERS, END_STAYS),
    defects.NO_FENCE: (WRITERS_BETWEEN, RESULT_KEPT),
    defects.HASTY_STOPS: (LOST, REASON_FIRST),
    defects.ENDED_PODS_DELETED: (CRASH, REASON_FIRST),
    defects.NAMES_NOT_FIXED: (LOST, RUNS_ONCE),
    defects.END_FORGOTTEN: (LOST, NO_FAULT_OF_OURS),
    defects.NO_SWEEP: (LOST, QUIET),
    defects.PODS_IGNORED: (OUT_OF_TIME, RESULT_KEPT),
    defects.ANYBODYS_PODS: (NAMESAKE, OURS_ALONE),
}
"""By defect: where it is found, and which promise it breaks first."""
