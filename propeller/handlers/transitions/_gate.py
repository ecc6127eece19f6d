"""A gate node: it waits until a time has passed, a value is given, or its inputs are approved.

Guarantees
    A gate that waits has no timer but its own end and its deadlines, and holds no slot.
    The first answer that fits is the gate's: from then on no other one is looked at. What waits behind the gate starts
    only once a status holds the answer.
    An answer that does not fit changes nothing but the message of the node.
Source
    flytepropeller/pkg/controller/nodes/gate/handler.go: codes and kinds of failures.
"""

from __future__ import annotations

from propeller.errors import ErrorKind, Invalid
from propeller.handlers.transitions._common import ABORT, SUCCEED
from propeller.handlers.transitions._time_limits import (
    MAX_ATTEMPTS,
    TIMEOUT,
    active_deadline_exceeded,
    active_end,
    is_over,
    user_attempts,
)
from propeller.wire import literal_of
from propeller.workflow import (
    APPROVE,
    SLEEP,
    AtGate,
    AwaitSignal,
    Cancel,
    Continue,
    EffectFailed,
    Fail,
    Failure,
    GateSpec,
    NodeEvent,
    NodeView,
    NotRecovered,
    OpenGate,
    OpeningGate,
    OutputsWritten,
    Preparing,
    Recover,
    Recovered,
    Resume,
    Signalled,
    Start,
    StartAttempt,
    State,
    Stay,
    TimerFired,
    Transition,
    answer_type,
    parse_duration,
    sleep_seconds,
)

REJECTED = "ReceivedRejectSignal"
"""Error code of a gate whose approval was refused; FlytePropeller's."""


def gate_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Transition | None:
    """Wait, and end as the first answer says, or as the time that the node has."""
    match event:
        case Start():
            return _begin(node, now)
        case Resume():
            return _resume(node, state)
        case NotRecovered() if isinstance(state, Preparing):
            return Continue(AtGate(now), effects=_awaiting(node, begins=True), wakes=_ends(node, now))
        case Signalled(text=text) if isinstance(state, AtGate):
            return _answered(node, state, text)
        case TimerFired() if isinstance(state, AtGate):
            return _timer_fired(node, state, now)
        case OutputsWritten() | Recovered():
            return SUCCEED
        case EffectFailed(failure=failure):
            return Fail(failure)
        case Cancel():
            return ABORT
    return None


def _gate(node: NodeView) -> GateSpec:
    assert node.spec.gate is not None
    return node.spec.gate


def _begin(node: NodeView, now: float) -> Transition:
    recovered = node.execution.recovered
    if recovered and (source := recovered.get(node.execution.unique_id(node.number))):
        return Continue(Preparing(), effects=(Recover(node.number, 0, source),), wakes=active_end(node, now))
    ends = (*_attempt_ends(node, now), *active_end(node, now))
    return Continue(AtGate(now), effects=_awaiting(node, begins=True), wakes=ends)


def _resume(node: NodeView, state: State | None) -> Transition | None:
    """After a load, wait for the same again; a gate that has its answer keeps it."""
    match state:
        case AtGate(since=since):
            return Stay(effects=_awaiting(node), wakes=_ends(node, since))
        case OpeningGate(value=value):
            return Stay(effects=(OpenGate(node.number, value),))
        case Preparing():
            source = node.execution.recovered.get(node.execution.unique_id(node.number), "")
            return Stay(effects=(Recover(node.number, 0, source),), wakes=active_end(node))
    return None


def _awaiting(node: NodeView, *, begins: bool = False) -> tuple[AwaitSignal, ...]:
    return () if _gate(node).kind == SLEEP else (AwaitSignal(node.number, begins),)


def _attempt_ends(node: NodeView, since: float) -> tuple[float, ...]:
    """When the sleep of an attempt that began at `since` is over, and when its time is (epoch seconds)."""
    limit = parse_duration(node.spec.execution_deadline)
    sleeps = (since + sleep_seconds(_gate(node)),) if _gate(node).kind == SLEEP else ()
    return (*sleeps, since + limit) if limit else sleeps


def _ends(node: NodeView, since: float) -> tuple[float, ...]:
    return (*_attempt_ends(node, since), *active_end(node))


def _answered(node: NodeView, state: AtGate, text: str) -> Transition:
    gate = _gate(node)
    try:
        literal = literal_of(text, answer_type(gate))
    except Invalid as error:
        return Continue(AtGate(state.since, f"the answer is not taken: {error}"))
    if gate.kind != APPROVE:
        return _open(node, literal.SerializeToString(deterministic=True))
    if literal.scalar.primitive.boolean:
        return _open(node)
    message = "received a reject signal to disapprove the node input values"
    return Fail(Failure(REJECTED, message, ErrorKind.USER, node=node.execution.unique_id(node.number)))


def _open(node: NodeView, value: bytes = b"") -> Continue:
    return Continue(OpeningGate(value), effects=(OpenGate(node.number, value),))


def _timer_fired(node: NodeView, state: AtGate, now: float) -> Transition | None:
    """Open the gate of a sleep that is over, or apply the deadline that is."""
    gate = _gate(node)
    limit = parse_duration(node.spec.execution_deadline)
    if gate.kind == SLEEP and now >= state.since + (seconds := sleep_seconds(gate)) and not 0 < limit < seconds:
        return _open(node)
    if is_over(active_end(node), now):
        return Fail(active_deadline_exceeded(node))
    if not limit or now < state.since + limit:
        return None
    attempt = node.execution.attempts[node.number]
    failure = Failure(
        TIMEOUT,
        f"node execution timeout [{node.spec.execution_deadline}] expired",
        node=node.execution.unique_id(node.number),
        attempt=attempt,
    )
    if attempt + 1 >= min(user_attempts(node), MAX_ATTEMPTS):
        return Fail(failure)
    return StartAttempt(AtGate(now), attempt + 1, wakes=_attempt_ends(node, now), failure=failure)
