"""What must hold, by name. Each is checked where it can break."""

from __future__ import annotations

from typing import Final

RUNS_ONCE: Final = "no attempt runs twice"
"""No pod is created under a name that a pod of the same execution has had before."""

ONE_AT_ONCE: Final = "one attempt at a time"
"""No pod is created while that of another attempt of its node runs, or is being deleted."""

RESULT_KEPT: Final = "a finished result is not dropped"
"""What a process has taken for a node's success stays its success: no further attempt is launched, none succeeds in its
place, and the node does not fail."""

REASON_FIRST: Final = "no pod is stopped before a status has the reason"
"""When a delete has its effect, the status shows that the attempt was given up or that the execution has ended."""

RECORD_KEPT: Final = "a pod that has ended is not deleted"

NO_FAULT_OF_OURS: Final = "a stop is not taken for a fault"
"""A pod that a controller stopped is not counted as one that was lost."""

OURS_ALONE: Final = "a pod of somebody else is not news"
"""A pod of an earlier object of the same name is not taken for an attempt."""

END_STAYS: Final = "an end that was written stays"
END_TRUE: Final = "an end says what happened"
"""Succeeded: every node has, and no failure node has run."""

QUIET: Final = "nothing is left at the end"
"""When nothing more can happen by itself, the execution has ended, nobody holds it in memory, and no pod runs."""
