"""The timers of a task node: deadlines, pauses, and pods without events.

Before an attempt is given up, its pod is checked once more: it may have ended without an event yet.
"""

from __future__ import annotations

import msgspec

from propeller.errors import ErrorKind
from propeller.handlers.transitions._attempts import (
    MayHavePod,
    attempt_deadline,
    attempt_failed,
    running_deadline,
    start_attempt,
)
from propeller.handlers.transitions._caching import has_ended_inside
from propeller.handlers.transitions._time_limits import TIMEOUT, active_deadline_exceeded, active_end, is_over
from propeller.workflow import (
    AttemptState,
    BackingOff,
    Collecting,
    Expire,
    Fail,
    Failure,
    Launching,
    NodeView,
    ObserveAttempt,
    Running,
    RunningSubgraph,
    State,
    Stay,
    StopAttempt,
    Transition,
)

DEADLINE_RECHECK = 1.0
"""Seconds before the node's active deadline is checked again if it passed while outputs were being read."""

PENDING_TOO_LONG = "PodPendingTimeout"
"""Error code of an attempt whose pod did not start within `attempts.pending_limit`; FlytePropeller's."""

NOT_STARTED = "it has not started"

POD_LOST = Failure(
    "UnexpectedObjectDeletion",
    "the pod was deleted by somebody else, and has not stopped within its grace period: its node may be lost",
    ErrorKind.SYSTEM,
    recoverable=True,
)


def timer_fired(node: NodeView, state: State | None, now: float) -> Transition | None:
    """Start the next attempt, apply a deadline, or look for a pod without events: whatever is due now."""
    if isinstance(state, RunningSubgraph):
        return _subgraph_timer_fired(node, state, now)
    if not isinstance(state, AttemptState):
        return None
    if isinstance(state, BackingOff) and now >= state.until and not state.stopping:
        refusals = state.refusals
        news = not (refusals.reason or state.lookup)
        return start_attempt(node, state.attempt, now, refusals=refusals, checkpoint=news, lookup=state.lookup)
    if isinstance(state, MayHavePod) and (_is_late(node, state, now) or _is_lost(state, now)):
        return Stay(effects=(Expire(node.number, state.attempt),))
    expired = _active_deadline(node, state, now)
    if isinstance(state, Collecting):  # it ended in time: its outputs decide
        return Stay(wakes=(now + DEADLINE_RECHECK,)) if expired else None
    if expired:
        return expired
    if isinstance(state, Running) and not state.started:
        look_again = now + node.execution.settings.unseen_after
        return Stay(effects=(ObserveAttempt(node.number, state.attempt),), wakes=(look_again,))
    return None


def deadline_checked(node: NodeView, state: AttemptState, now: float, why: str = "") -> Transition | None:
    """Give up an attempt that is late or whose pod is lost: the pod was looked at, and has not ended. `why` says what
    may have kept it.
    """
    if not isinstance(state, MayHavePod):
        return None
    if not _is_late(node, state, now):
        return attempt_failed(node, state.attempt, POD_LOST, now) if _is_lost(state, now) else None
    if expired := _active_deadline(node, state, now):
        return msgspec.structs.replace(expired, failure=_explained(expired.failure, why))
    return attempt_failed(node, state.attempt, _explained(_deadline_exceeded(node), why), now, stop=True)


def _subgraph_timer_fired(node: NodeView, state: RunningSubgraph, now: float) -> Transition | None:
    """Stop the graph of a dynamic task when its attempt's time is over: it includes the graph."""
    if has_ended_inside(node, state):
        return None  # in time, and its outputs are being cached
    if expired := _active_deadline(node, state, now):
        return expired
    if not is_over(attempt_deadline(node, state.since), now):
        return None
    return attempt_failed(node, state.attempt, _deadline_exceeded(node), now, cancel_inside=True)


def _is_lost(state: State, now: float) -> bool:
    """Whether the grace period of a pod that someone else deleted is over."""
    return isinstance(state, Running) and 0 < state.until <= now


def _is_late(node: NodeView, state: Launching | Running, now: float) -> bool:
    return is_over((*active_end(node), *running_deadline(node, state)), now)


def _deadline_exceeded(node: NodeView) -> Failure:
    return Failure(TIMEOUT, f"task execution timeout [{node.spec.execution_deadline}] expired", recoverable=True)


def _explained(failure: Failure, why: str) -> Failure:
    return msgspec.structs.replace(failure, message=f"{failure.message}\n{why}") if why else failure


def _active_deadline(node: NodeView, state: AttemptState | RunningSubgraph, now: float) -> Fail | None:
    """Fail the node if its whole time is over: waiting and every attempt included."""
    if not is_over(active_end(node), now):
        return None
    effects = (StopAttempt(node.number, state.attempt),)
    return Fail(active_deadline_exceeded(node), effects=effects, cancel_inside=True)
