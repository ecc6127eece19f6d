"""The time that a node has: for one attempt (`executionDeadline`), and for all of it (`activeDeadline`).

FlytePropeller's compiler makes both of a node's timeout, the second twice the first, whatever its kind. A task looks at
its pod before an attempt is given up (`_task`); of other nodes, what runs inside is stopped, and where the user asked
for retries it runs once more.
"""

from __future__ import annotations

import msgspec

from propeller.workflow import (
    AllStopped,
    Failure,
    NodeEvent,
    NodeKind,
    NodePhase,
    NodeView,
    Preparing,
    Resume,
    Start,
    State,
    Step,
    TimerFired,
    TransitionFunction,
    WriteInputs,
    WritingOutputs,
    parse_duration,
)

TIMEOUT = "TimeoutExpired"

MAX_ATTEMPTS = 255
"""However many retries somebody asks for: an execution keeps the number of an attempt in a byte."""

STOPPING_FIRST = "what the last attempt has started has to stop first"

FLOAT32_MARGIN = 1 - 2**-23
"""An execution keeps when a node started as a float32, and rounding must not put off an end that a timer was set for.
"""


def active_end(node: NodeView, started: float | None = None) -> tuple[float, ...]:
    """When the whole node has used its time up, if it ever has: waiting and every attempt included. `started` is for a
    node that starts just now.
    """
    limit = parse_duration(node.spec.active_deadline)
    return ((_started_at(node) if started is None else started) + limit,) if limit else ()


def is_over(ends: tuple[float, ...], now: float) -> bool:
    return any(now >= end for end in ends)


def active_time_is_up(node: NodeView) -> Failure:
    return Failure(
        TIMEOUT,
        f"node active deadline [{node.spec.active_deadline}] expired",
        node=node.execution.unique_id(node.number),
        attempt=_attempt(node),
    )


def user_attempts(node: NodeView) -> int:
    """How often the user's own failures may happen: an item of a map task has its map task's budget."""
    retry = node.spec.retry
    if retry is None and node.frame.items and node.frame.parent >= 0:
        retry = node.execution.view(node.frame.parent).spec.retry
    return max(1, retry.min_attempts or 1) if retry is not None else 1


def timed(step: TransitionFunction) -> TransitionFunction:
    """The step of a node kind that runs others inside it, with their time limited."""

    def in_time(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Step | None:
        match event:
            case TimerFired():
                return _time_is_up(node, state, now)
            case Start():
                ends = (*_attempt_end(node, now, 0), *active_end(node, now))
                return _waking(step(node, state, event, now), state, ends)
            case AllStopped() if isinstance(state, Preparing):
                return Step(state=Preparing(), effects=(WriteInputs(node.number),))
            case Resume() if isinstance(state, Preparing) and node.execution.stops.within(node.number):
                ends = (*_attempt_end(node, _started_at(node), _attempt(node)), *active_end(node))
                return Step(state=Preparing(STOPPING_FIRST), wakes=ends, awaits=True)
            case Resume():
                ends = (*_attempt_end(node, _started_at(node), _attempt(node)), *active_end(node))
                return _waking(step(node, state, event, now), state, ends)
        return step(node, state, event, now)

    return in_time


def _waking(step: Step | None, state: State | None, ends: tuple[float, ...]) -> Step | None:
    if not ends or (step is not None and step.phase is not None):
        return step
    return msgspec.structs.replace(step or Step(state=state), wakes=ends)


def _attempt_end(node: NodeView, started: float, attempt: int) -> tuple[float, ...]:
    """When the attempt is over, if it ever is. Such a node has a new attempt only when its time is up, and at once:
    that they follow one another says when each began.
    """
    limit = parse_duration(node.spec.execution_deadline)
    return (started + limit * (attempt + 1),) if limit else ()


def _attempt(node: NodeView) -> int:
    return node.execution.attempts[node.number]


def _started_at(node: NodeView) -> float:
    execution = node.execution
    return execution.created_at + execution.started[node.number] * FLOAT32_MARGIN


def _time_is_up(node: NodeView, state: State | None, now: float) -> Step | None:
    if isinstance(state, WritingOutputs):
        return None  # all of it ended in time, and what it left is being stored
    if is_over(active_end(node), now):
        return Step(phase=NodePhase.FAILED, failure=active_time_is_up(node), cancel=True)
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
        return Step(phase=NodePhase.FAILED, failure=failure, cancel=True)
    wakes = _attempt_end(node, started, attempt + 1)
    preparing = Preparing(STOPPING_FIRST)
    return Step(state=preparing, attempt=attempt + 1, wakes=wakes, cancel=True, awaits=True, retried=failure)
