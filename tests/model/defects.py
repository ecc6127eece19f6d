"""Defects of the protocol, planted one at a time: a search that finds none of them proves nothing."""

from __future__ import annotations

from typing import Final

# The model found these five in propeller.
DEADLINES_DO_NOT_ASK: Final = "an attempt is given up without a look at its pod"
HANDLER_IS_HASTY: Final = "a failure node does not wait for the checkpoint"
DROPPED_LAUNCHES: Final = "an execution that was dropped still launches"
BLIND_DELETES: Final = "a pod is deleted though it has ended since"
NO_FENCE_AFTER_RAISE: Final = "no fence after a reconcile that raised"

# It had these, too.
NEXT_IS_HASTY: Final = "the next attempt begins before the last has stopped"
GIVEN_UP_AT_ONCE: Final = "a pod that is being deleted by others is given up at once"

# These propeller never had.
ANY_VERSION: Final = "a status is written onto any version"
ANY_STATUS: Final = "a status of somebody else is overwritten"
NO_FENCE: Final = "the fence never holds"
HASTY_STOPS: Final = "a pod is stopped before a status has the reason"
ENDED_PODS_DELETED: Final = "a pod that ended well is deleted before a status has its result"
NAMES_NOT_FIXED: Final = "a pod's name is not fixed"
END_FORGOTTEN: Final = "an end is forgotten before the cache has it"
SIDECARS_AT_ONCE: Final = "sidecars are stopped before a status has the result"
NO_SWEEP: Final = "pods that still run at the end are left"
PODS_IGNORED: Final = "attempts that pods prove are ignored"
ANYBODYS_PODS: Final = "anybody's pod is ours"

UNFENCED: Final = frozenset({NO_FENCE, NO_FENCE_AFTER_RAISE, END_FORGOTTEN})
"""With these a version of the object that is older than one the process has written may be loaded."""
