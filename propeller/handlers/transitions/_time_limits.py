"""The time that a node has: for one attempt (`executionDeadline`), and for all of it (`activeDeadline`).

FlytePropeller's compiler derives both from the node's timeout; activeDeadline is twice executionDeadline. A task checks
its pod before an attempt is given up (`_task_timers`). For other nodes, the nodes inside are stopped, and if the user
asked for retries, the node runs once more.
"""

from __future__ import annotations

import msgspec

from propeller.workflow import (
    AllStopped,
    Continue,
    Fail,
    Failure,
    NodeEvent,
    NodeKind,
    NodeView,
    Preparing,
    Resume,
    Start,
    StartAttempt,
    State,
    Stay,
    TimerFired,
    Transition,
    TransitionFunction,
    WriteInputs,
    WritingOutputs,
    parse_duration,
)

TIMEOUT = "TimeoutExpired"

MAX_ATTEMPTS = 255
"""Attempts of a node, however many retries the user asks for: an execution keeps the number in a byte."""

STOPPING_FIRST = "what the last attempt has started has to stop first"

FLOAT32_MARGIN = 1 - 2**-23
"""Factor of a start time. An execution keeps it as a float32: rounding must not move a deadline behind its timer."""


def active_end(node: NodeView, started: float | None = None) -> tuple[float, ...]:
    """When the time of the whole node is over, if it ever is: waiting and every attempt included (epoch seconds).

    `started` is for a node that starts just now.
    """
    limit = parse_duration(node.spec.active_deadline)
    return ((_started_at(node) if started is None else started) + limit,) if limit else ()


def is_over(ends: tuple[float, ...], now: float) -> bool:
    return any(now >= end for end in ends)


def active_deadline_exceeded(node: NodeView) -> Failure:
    """The failure of a node whose whole time is over."""
    return Failure(
        TIMEOUT,
        f"node active deadline [{node.spec.active_deadline}] expired",
        node=node.execution.unique_id(node.number),
        attempt=_attempt(node),
    )


def user_attempts(node: NodeView) -> int:
    """How many attempts the user's own failures may use; an item of a map task has the retries of its map task."""
    retry = node.spec.retry
    if retry is None and node.frame.items and node.frame.parent >= 0:
        retry = node.execution.view(node.frame.parent).spec.retry
    return max(1, retry.min_attempts or 1) if retry is not None else 1


def timed(transition: TransitionFunction) -> TransitionFunction:
    """Limit the time of a node kind that runs other nodes inside it."""

    def in_time(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Transition | None:
        match event:
            case TimerFired():
                return _timer_fired(node, state, now)
            case Start():
                ends = (*_attempt_end(node, now, 0), *active_end(node, now))
                return _with_timers(transition(node, state, event, now), ends)
            case AllStopped() if isinstance(state, Preparing):
                return Continue(Preparing(), effects=(WriteInputs(node.number),))
            case Resume() if isinstance(state, Preparing) and node.execution.stops.within(node.number):
                return Continue(Preparing(STOPPING_FIRST), wakes=_ends(node), awaits_stops=True)
            case Resume():
                return _with_timers(transition(node, state, event, now), _ends(node))
        return transition(node, state, event, now)

    return in_time


def _with_timers(transition: Transition | None, ends: tuple[float, ...]) -> Transition | None:
    """Add timers to the transition of a node that goes on."""
    if not ends:
        return transition
    if transition is None:
        return Stay(wakes=ends)
    if isinstance(transition, Stay | Continue):
        return msgspec.structs.replace(transition, wakes=ends)
    return transition


def _ends(node: NodeView) -> tuple[float, ...]:
    """When the node's attempt and all of the node are over, if they ever are."""
    return (*_attempt_end(node, _started_at(node), _attempt(node)), *active_end(node))


def _attempt_end(node: NodeView, started: float, attempt: int) -> tuple[float, ...]:
    """When the time of the attempt is over, if it ever is. Such a node begins a new attempt only when the time of the
    last one is over, and at once, so the start of the node says when each began.
    """
    limit = parse_duration(node.spec.execution_deadline)
    return (started + limit * (attempt + 1),) if limit else ()


def _attempt(node: NodeView) -> int:
    return node.execution.attempts[node.number]


def _started_at(node: NodeView) -> float:
    execution = node.execution
    return execution.created_at + execution.started[node.number] * FLOAT32_MARGIN


def _timer_fired(node: NodeView, state: State | None, now: float) -> Transition | None:
    if isinstance(state, WritingOutputs):
        return None  # everything inside ended in time, and its outputs are being stored
    if is_over(active_end(node), now):
        return Fail(active_deadline_exceeded(node), cancel_inside=True)
    started, attempt = _started_at(node), _attempt(node)
    if not is_over(_attempt_end(node, started, attempt), now):
        return None
    failure = Failure(
        TIMEOUT,
        f"node execution timeout [{node.spec.execution_deadline}] expired",
        node=node.execution.unique_id(node.number),
        attempt=attempt,
    )
    if node.spec.kind is NodeKind.BRANCH or attempt + 1 >= min(user_attempts(node), MAX_ATTEMPTS):
        return Fail(failure, cancel_inside=True)
    return StartAttempt(
        Preparing(STOPPING_FIRST),
        attempt + 1,
        wakes=_attempt_end(node, started, attempt + 1),
        failure=failure,
        awaits_stops=True,
        cancel_inside=True,
    )
