"""How attempts of a task begin, wait and are retried.

USER and SYSTEM failures draw on separate budgets, as in FlytePropeller: the task's attempts, and the setting
`attempts.system_retries`.
"""

from __future__ import annotations

import msgspec

from propeller.handlers.transitions._time_limits import MAX_ATTEMPTS, user_attempts
from propeller.workflow import (
    BackingOff,
    Continue,
    Fail,
    Failure,
    Launch,
    Launching,
    LookUp,
    NodeView,
    Recover,
    Refusals,
    Refused,
    Running,
    StartAttempt,
    StopAttempt,
    parse_duration,
)

MayHavePod = Running | Launching
"""The states of an attempt whose pod may exist, and has not succeeded."""


def start_attempt(
    node: NodeView,
    attempt: int,
    now: float,
    *,
    wakes: tuple[float, ...] = (),
    failure: Failure | None = None,
    system_failures: int = 0,
    refusals: Refusals = Refusals(),  # noqa: B008 - frozen
    checkpoint: bool = True,
    lookup: bool = False,
) -> StartAttempt:
    """Launch an attempt, with `lookup` if the cache has no outputs for it. `wakes` are timers besides its own deadline;
    for the other fields see StartAttempt.
    """
    return StartAttempt(
        Launching(attempt, now, refusals, lookup),
        attempt,
        effects=(_first_effect(node, attempt, lookup=lookup),),
        wakes=(*wakes, *attempt_deadline(node, now)),
        failure=failure,
        system_failures=system_failures,
        checkpoint=checkpoint,
    )


def _first_effect(node: NodeView, attempt: int, *, lookup: bool) -> Launch | LookUp | Recover:
    """Launch the attempt, or take over the outputs of the execution that this one recovers from, or cached ones."""
    recovered = node.execution.recovered
    if recovered and attempt == 0 and (source := recovered.get(node.execution.unique_id(node.number))):
        return Recover(node.number, attempt, source)
    if lookup:
        return LookUp(node.number, attempt)
    return Launch(node.number, attempt)


def running_deadline(node: NodeView, state: Launching | Running) -> tuple[float, ...]:
    """When the time of an attempt that may have a pod is over: it does not run while a queue holds the pod."""
    if isinstance(state, Running) and state.waits_for:
        return ()
    return attempt_deadline(node, state.since)


def attempt_deadline(node: NodeView, since: float) -> tuple[float, ...]:
    """When the time of an attempt that began at `since` (0 if unknown) is over, if it ever is (epoch seconds)."""
    limit = parse_duration(node.spec.execution_deadline)
    return (since + limit,) if limit and since else ()


def start_rejected(state: Launching, event: Refused, now: float) -> Continue:
    """Back off without using up the attempt. A status records it if the reason has changed, and then at the 2nd, 4th,
    8th... rejection, so that 10,000 tasks that wait cost the API server few writes.
    """
    before, refusals, until = state.refusals, event.refusals, now + event.after
    is_reported_try = refusals.tries != before.tries and refusals.tries.bit_count() == 1
    waiting = BackingOff(state.attempt, until, state.since, event.reason, refusals, queued=event.queued)
    is_news = refusals.reason != before.reason and not event.repeats
    return Continue(waiting, wakes=(until,), checkpoint=is_news or is_reported_try)


def attempt_failed(
    node: NodeView, attempt: int, failure: Failure, now: float, *, stop: bool = False, cancel_inside: bool = False
) -> StartAttempt | Fail:
    """Begin another attempt if the budget of the failure's kind allows it, else fail the node.

    `stop` says that the attempt's pod still exists, `cancel_inside` that its graph runs inside the node. The next
    attempt waits until both have stopped.
    """
    execution = node.execution
    effects = (StopAttempt(node.number, attempt),) if stop else ()
    system = execution.system_failures.get(node.number, 0)
    if failure.evicted:  # it waits in the queue again: that is its pause
        again, pause = True, execution.settings.system_backoff
    elif failure.is_system:
        counted = system - execution.evictions.get(node.number, 0)
        again = failure.recoverable and counted < execution.settings.system_retries
        pause = min(execution.settings.system_backoff * 2**counted, execution.settings.system_backoff_cap)
    else:
        again = failure.recoverable and attempt + 1 - system < user_attempts(node)
        pause = 0.0
    if not again or attempt == MAX_ATTEMPTS:
        return Fail(_named(node, attempt, failure), effects=effects, cancel_inside=cancel_inside)
    until = now + pause
    if stop or cancel_inside or execution.stops.within(node.number):
        reason = f"attempt {attempt} has to stop first; it failed: {failure.message}"
        return StartAttempt(
            BackingOff(attempt + 1, until, now, reason, stopping=True),
            attempt + 1,
            effects=effects,
            failure=failure,
            awaits_stops=True,
            cancel_inside=cancel_inside,
        )
    if pause:
        waiting = BackingOff(attempt + 1, until, now, failure.message)
        return StartAttempt(waiting, attempt + 1, wakes=(until,), failure=failure)
    return start_attempt(node, attempt + 1, now, failure=failure)


def _named(node: NodeView, attempt: int, failure: Failure) -> Failure:
    """The failure with its node and attempt; those of a node inside this one stay."""
    return Failure(
        failure.code,
        failure.message,
        failure.kind,
        node=failure.node or node.execution.unique_id(node.number),
        attempt=failure.attempt or attempt,
    )


def last_attempt_stopped(node: NodeView, state: BackingOff, now: float) -> StartAttempt | Continue:
    """Begin the next attempt, now that everything of the last one has stopped, or wait until the pause is over."""
    if now >= state.until:
        return start_attempt(node, state.attempt, now, lookup=state.lookup)
    return Continue(msgspec.structs.replace(state, stopping=False), wakes=(state.until,))
