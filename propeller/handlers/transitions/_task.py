"""A task node: attempts, each one pod (or the resource of another plugin), until one succeeds or the budgets are spent.

Guarantees
    An attempt's pod is asked for at most once per state `Launching`; asking again is safe, its name is fixed.
    The next attempt begins when everything that the last one has started has stopped, or its grace period is over.
    A pod that someone else deletes is given up when it is gone or its grace period is over: until then it may succeed.
    USER and SYSTEM failures draw on separate budgets (`_attempts`).
"""

from __future__ import annotations

import msgspec

from propeller.errors import ErrorKind
from propeller.handlers.transitions._attempts import (
    MayHavePod,
    attempt_deadline,
    attempt_failed,
    last_attempt_stopped,
    running_deadline,
    start_attempt,
    start_rejected,
)
from propeller.handlers.transitions._caching import (
    answered,
    asks_first,
    has_ended_inside,
    kept_reservation,
    reserved_elsewhere,
    subgraph_ended,
    with_cache,
    with_reservation,
)
from propeller.handlers.transitions._common import ABORT, SUCCEED
from propeller.handlers.transitions._task_timers import NOT_STARTED, PENDING_TOO_LONG, deadline_checked, timer_fired
from propeller.handlers.transitions._time_limits import active_end
from propeller.workflow import (
    Abort,
    AllStopped,
    AttemptEvent,
    AttemptObserved,
    AttemptPhase,
    AttemptState,
    BackingOff,
    CacheAnswered,
    CacheReserved,
    Cancel,
    Collect,
    Collecting,
    Continue,
    EffectFailed,
    Expired,
    Failure,
    Follow,
    FuturesFound,
    Granted,
    Launch,
    Launched,
    Launching,
    LookUp,
    Lost,
    NodeEvent,
    NodeView,
    NotRecovered,
    ObserveAttempt,
    ObservedAttempt,
    OutputsFound,
    Populate,
    Populated,
    Recovered,
    Refused,
    Remains,
    Resume,
    Running,
    RunningSubgraph,
    Start,
    StartSubgraph,
    State,
    Stay,
    StopAttempt,
    SubgraphEnded,
    Submitted,
    Succeed,
    TimerFired,
    Transition,
    caching_of,
)

MAX_WAIT_AFTER_LOAD = 3600.0
"""Seconds that a pause may still take when an execution is loaded, whatever its status says."""

MAX_WAIT_FOR_REASON = 30.0
"""Seconds that the uploader of a failed program may take to say why it failed: as long as Kubernetes lets containers
take to stop.
"""

NOT_OBSERVED = ObservedAttempt()

MAX_CLOCK_SKEW = 300.0
"""Seconds that a pod's time may be in the future, as its machine has another clock. A later time is ignored."""


def task_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Transition | None:
    """Move a task node on; events of an attempt that is over change nothing."""
    if not isinstance(event, AttemptEvent):
        return _on_node_event(node, state, event, now)
    if type(event) is Populated and isinstance(state, RunningSubgraph) and event.attempt == state.attempt:
        return Succeed(cache=event.status)
    if not isinstance(state, AttemptState) or event.attempt != state.attempt:
        return None
    return _on_attempt_event(node, state, event, now)


def _on_node_event(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Transition | None:
    match event:
        case Start():
            return _start(node, now)
        case Cancel():
            return _cancel(node, state)
        case Resume():
            return _resume(node, state, now)
        case TimerFired():
            return timer_fired(node, state, now)
        case SubgraphEnded(failure=failure) if isinstance(state, RunningSubgraph):
            return subgraph_ended(node, state) if failure is None else attempt_failed(node, state.attempt, failure, now)
        case AllStopped() if isinstance(state, BackingOff) and state.stopping:
            return last_attempt_stopped(node, state, now)
    return None


def _on_attempt_event(node: NodeView, state: AttemptState, event: AttemptEvent, now: float) -> Transition | None:
    """Move the current attempt on. The cases that every attempt needs come first: each that does not match costs."""
    attempt = state.attempt
    match event:
        case AttemptObserved():
            return _observed(node, state, event, now)
        case Launched() if isinstance(state, Launching):
            return Continue(Running(attempt, state.since), wakes=(now + node.execution.settings.unseen_after,))
        case Launched() if isinstance(state, Running) and state.started:
            # no watch follows the pod that was found, so its end may go unseen: `started` is unset to look again
            return Continue(Running(attempt, state.since, until=state.until))
        case Submitted() if isinstance(state, Launching):
            return Continue(Running(attempt, state.since, started=True), effects=(Follow(node.number, attempt),))
        case OutputsFound() if isinstance(state, Collecting):
            if caching_of(node):
                return Stay(effects=(Populate(node.number, attempt),))
            effects = _stop_sidecars(node, state)
            return Succeed(effects=effects) if effects else SUCCEED
        case Recovered() if isinstance(state, Launching):
            return SUCCEED
        case NotRecovered() if isinstance(state, Launching):
            return Stay(effects=((LookUp if state.lookup else Launch)(node.number, attempt),))
        case CacheAnswered() if isinstance(state, Launching):
            return answered(node, state, event.status)
        case CacheReserved() if isinstance(state, Launching):
            return reserved_elsewhere(state, event, now)
        case Populated(status=status) if isinstance(state, Collecting):
            return Succeed(effects=_stop_sidecars(node, state), cache=status)
        case Refused() if isinstance(state, Launching):
            return start_rejected(state, event, now)
        case Granted() if isinstance(state, BackingOff) and not state.stopping:
            return start_attempt(node, attempt, now, refusals=state.refusals, lookup=state.lookup)
        case FuturesFound(graph=graph) if isinstance(state, Collecting):
            inside = RunningSubgraph(node.next_frame, attempt, state.since)
            return StartSubgraph(inside, graph, effects=_stop_sidecars(node, state))
        case Lost(failure=failure) if isinstance(state, MayHavePod | BackingOff):
            return attempt_failed(node, attempt, failure, now, stop=True)
        case Expired(why=why):
            return deadline_checked(node, state, now, why)
        case EffectFailed(failure=failure):
            runs = isinstance(state, Collecting) and state.remains is not Remains.NOTHING
            return attempt_failed(node, attempt, failure, now, stop=runs)
    return None


def _start(node: NodeView, now: float) -> Transition:
    observed = _observed_attempt(node)
    has_begun = observed is not NOT_OBSERVED
    placements = node.execution.placements
    if observed is NOT_OBSERVED and placements is not None and (first := placements.first_attempt):
        observed = ObservedAttempt(first, first)
    ends = active_end(node, now)
    begun = start_attempt(
        node,
        observed.attempt,
        now,
        wakes=ends,
        system_failures=observed.system_failures,
        lookup=not has_begun and asks_first(node),
    )
    return with_cache(node, with_reservation(node, begun) if has_begun else begun)


def _observed_attempt(node: NodeView) -> ObservedAttempt:
    """The last attempt that had begun before a restart, as pods show it."""
    return node.execution.observed_attempts.get(node.execution.unique_id(node.number), NOT_OBSERVED)


def _observed(node: NodeView, state: AttemptState, seen: AttemptObserved, now: float) -> Transition | None:
    if type(state) is Collecting and seen.remains is Remains.NOTHING:
        return Continue(Collecting(state.attempt, state.since)) if state.remains else None
    if not isinstance(state, MayHavePod):
        return None
    if seen.phase is AttemptPhase.SUCCEEDED:
        collecting = Collecting(seen.attempt, state.since, seen.remains)
        return Continue(collecting, effects=(Collect(node.number, seen.attempt),))
    match seen.phase:
        case AttemptPhase.RUNNING | AttemptPhase.PENDING if seen.remains is Remains.ENDING:
            return _is_being_deleted(node, state, seen, now)
        case AttemptPhase.RUNNING:
            if seen.failure is not None:
                return _has_failed(node, state, seen.failure, now)
            if isinstance(state, Running) and state.started:
                return None
            return _begun(node, state, Running(seen.attempt, state.since, started=True), now)
        case AttemptPhase.FAILED | AttemptPhase.GONE:
            assert seen.failure is not None
            return attempt_failed(node, seen.attempt, seen.failure, now, stop=seen.remains is not Remains.NOTHING)
        case AttemptPhase.PENDING:
            return _pending(node, state, seen, now)


def _is_being_deleted(
    node: NodeView, state: Launching | Running, seen: AttemptObserved, now: float
) -> Transition | None:
    """Wait for a pod that someone else deletes: it may still end well. It is checked after its grace period."""
    if isinstance(state, Running) and state.until:
        return None
    until = now + seen.grace + node.execution.stop_margin
    return Continue(Running(seen.attempt, state.since, started=True, until=until), wakes=(until,))


def _has_failed(node: NodeView, state: Launching | Running, failure: Failure, now: float) -> Transition | None:
    """Wait for what the program of a raw container says of its failure. That takes about a second; an uploader that
    takes longer uploads outputs, which nobody needs any more.
    """
    if isinstance(state, Running) and state.until:
        return attempt_failed(node, state.attempt, failure, now, stop=True) if now >= state.until else None
    until = now + MAX_WAIT_FOR_REASON
    return Continue(Running(state.attempt, state.since, started=True, until=until), wakes=(until,))


def _stop_sidecars(node: NodeView, state: Collecting) -> tuple[StopAttempt, ...]:
    """Stop the containers that run on after the primary one has succeeded."""
    return (StopAttempt(node.number, state.attempt, urgent=False),) if state.remains is Remains.RUNNING else ()


def _pending(node: NodeView, state: Launching | Running, seen: AttemptObserved, now: float) -> Transition | None:
    """Fail the attempt and stop its pod if the pod cannot start and the grace period for that reason is over."""
    if seen.gated:
        return _held(node, state, seen, now)
    if isinstance(state, Running) and state.waits_for:
        return _begun(node, state, Running(seen.attempt, state.since), now)
    settings, failure = node.execution.settings, seen.failure
    begun = max(state.since, seen.since) if seen.since <= now + MAX_CLOCK_SKEW else state.since
    if failure is not None:
        due = begun + settings.start_grace.get(failure.code.rpartition("|")[2], 0.0)
    elif settings.pending_limit and seen.since:
        due = begun + settings.pending_limit
        limit = f"{settings.pending_limit:g} s (attempts.pending_limit)"
        why = f"the pod was pending for {limit}: {seen.reason or NOT_STARTED}"
        failure = Failure(PENDING_TOO_LONG, why, ErrorKind.SYSTEM, recoverable=True, attempt=seen.attempt)
    else:
        return None
    if now < due:
        return Stay(wakes=(due,))
    return attempt_failed(node, seen.attempt, failure, now, stop=True)


def _held(node: NodeView, state: Launching | Running, seen: AttemptObserved, now: float) -> Continue | None:
    """A queue holds the pod: it waits, and says what for."""
    if isinstance(state, Running) and state.waits_for == seen.reason:
        return None
    waiting = Running(seen.attempt, state.since, waits_for=seen.reason)
    return Continue(waiting, wakes=(now + node.execution.settings.unseen_after,))


def _begun(node: NodeView, state: Launching | Running, begun: Running, now: float) -> Continue:
    """The pod begins. If a queue has held it, its time starts now."""
    if not isinstance(state, Running) or not state.waits_for:
        return Continue(begun)
    return Continue(msgspec.structs.replace(begun, since=now), wakes=attempt_deadline(node, now))


def _cancel(node: NodeView, state: State | None) -> Abort:
    if isinstance(state, Launching | Running | Collecting):
        return Abort(effects=(StopAttempt(node.number, state.attempt),))
    return ABORT


def _resume(node: NodeView, state: State | None, now: float) -> Transition | None:
    """After a load, ask again for everything that the state waits for. The informer delivers the pod's events."""
    if not isinstance(state, AttemptState | RunningSubgraph):
        return None
    ends = active_end(node)
    observed = _observed_attempt(node)
    if observed.attempt > state.attempt:
        again = start_attempt(node, observed.attempt, now, wakes=ends, system_failures=observed.system_failures)
        again = msgspec.structs.replace(again, cancel_inside=True)  # the graph of a dynamic task's earlier attempt
        return with_reservation(node, again)
    match state:
        case Running():
            until = (state.until,) if state.until else ()
            kept = kept_reservation(node, state.attempt)
            wakes = (*ends, *until, *running_deadline(node, state))
            if node.execution.jobs.of(node.number, state.attempt) is not None:
                return Stay(effects=(Follow(node.number, state.attempt), *kept), wakes=wakes)
            look_again = now + node.execution.settings.unseen_after
            effects = (ObserveAttempt(node.number, state.attempt), *kept)
            return Stay(effects=effects, wakes=(*wakes, look_again))
        case BackingOff(stopping=True):
            return _resume_stopping(node, state, observed, now, ends)
        case BackingOff(queued=True):
            return _resume_queued(node, state, now, ends)
        case BackingOff():
            due = min(state.until, now + MAX_WAIT_AFTER_LOAD)
            kept = kept_reservation(node, state.attempt, lookup=state.lookup)
            return Continue(msgspec.structs.replace(state, until=due), effects=kept, wakes=(*ends, due))
        case RunningSubgraph() if has_ended_inside(node, state):
            return Stay(effects=(Populate(node.number, state.attempt),))
        case RunningSubgraph():
            wakes = (*ends, *attempt_deadline(node, state.since))
            kept = kept_reservation(node, state.attempt)
            return Stay(effects=kept, wakes=wakes) if wakes or kept else None
        case Launching():
            lookup = state.lookup and not (observed is not NOT_OBSERVED and observed.attempt == state.attempt)
            again = start_attempt(node, state.attempt, now, wakes=ends, refusals=state.refusals, lookup=lookup)
            return with_reservation(node, again, lookup=lookup)
        case Collecting():
            effects = (Collect(node.number, state.attempt), *kept_reservation(node, state.attempt))
            return Stay(effects=effects, wakes=ends)


def _resume_queued(node: NodeView, state: BackingOff, now: float, ends: tuple[float, ...]) -> Transition:
    """Queue again: the queue that the attempt was in is another process', or was lost with one."""
    again = start_attempt(node, state.attempt, now, wakes=ends, refusals=state.refusals, checkpoint=False)
    return with_reservation(node, again)


def _resume_stopping(
    node: NodeView, state: BackingOff, observed: ObservedAttempt, now: float, ends: tuple[float, ...]
) -> Transition:
    """Wait again until the last attempt has stopped. If the cache does not have its pod, the server is asked."""
    if observed.attempt == state.attempt and observed is not NOT_OBSERVED:
        return with_reservation(node, start_attempt(node, state.attempt, now, wakes=ends))  # it had begun
    known = node.execution.stops.within(node.number)
    stop = () if known else (StopAttempt(node.number, state.attempt - 1),)
    effects = (*stop, *kept_reservation(node, state.attempt, lookup=state.lookup))
    return Continue(state, effects=effects, wakes=ends, awaits_stops=True)
