"""The pure side of a task node: attempts, each one pod, until one succeeds or the budgets are spent.

Guarantees
    An attempt's pod is asked for at most once per state `Launching`; asking again is safe, its name is fixed.
    The next attempt begins when all that the last one has started has stopped, or its grace period is over.
    A pod that somebody else deletes is given up when it is gone or its grace is over: until then it may still succeed.
    USER and SYSTEM failures draw on separate budgets, as in FlytePropeller: the task's attempts, and the setting
    `attempts.system_retries`.
"""

from __future__ import annotations

import msgspec

from propeller.errors import ErrorKind
from propeller.handlers.transitions._common import ABORTED, SUCCEEDED
from propeller.handlers.transitions._time_limits import (
    MAX_ATTEMPTS,
    TIMEOUT,
    active_end,
    active_time_is_up,
    is_over,
    user_attempts,
)
from propeller.workflow import (
    AllStopped,
    AttemptEvent,
    AttemptObserved,
    AttemptPhase,
    AttemptState,
    BackingOff,
    Cancel,
    Collect,
    Collecting,
    EffectFailed,
    Expire,
    Expired,
    Failure,
    FuturesFound,
    Granted,
    Launch,
    Launched,
    Launching,
    NodeEvent,
    NodePhase,
    NodeView,
    NotRecovered,
    ObserveAttempt,
    ObservedAttempt,
    Opening,
    OutputsFound,
    Recover,
    Recovered,
    Refusals,
    Refused,
    Remains,
    Resume,
    Running,
    RunningSubgraph,
    Start,
    State,
    Step,
    StopAttempt,
    SubgraphEnded,
    TimerFired,
    parse_duration,
)

MAX_WAIT_AFTER_LOAD = 3600.0
"""Seconds that a pause may still take when an execution is loaded: whatever its status says, and whoever wrote that."""

NOTHING_OBSERVED = ObservedAttempt()

DEADLINE_RECHECK = 1.0
"""Seconds after which the time of a whole node is looked at again where it was up while outputs were being read."""

LOST = Failure(
    "UnexpectedObjectDeletion",
    "the pod was deleted by somebody else, and has not stopped within its grace period: its node may be lost",
    ErrorKind.SYSTEM,
    recoverable=True,
)

MAX_CLOCK_SKEW = 300.0
"""Seconds by which a pod's time may be in the future: its node has another clock. What is later is not believed."""

_MayHavePod = Running | Launching


def task_transition(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Step | None:
    if not isinstance(event, AttemptEvent):
        return _step_node(node, state, event, now)
    if not isinstance(state, AttemptState) or event.attempt != state.attempt:
        return None  # the attempt is over
    return _step_attempt(node, state, event, now)


def _step_node(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Step | None:
    match event:
        case Start():
            return _start(node, now)
        case Cancel():
            return _cancel(node, state)
        case Resume():
            return _resume(node, state, now)
        case TimerFired():
            return _time_is_up(node, state, now)
        case SubgraphEnded(failure=failure) if isinstance(state, RunningSubgraph):
            return SUCCEEDED if failure is None else _failed(node, state.attempt, failure, now)
        case AllStopped() if isinstance(state, BackingOff) and state.stopping:
            return _last_has_stopped(node, state, now)
    return None


def _step_attempt(node: NodeView, state: AttemptState, event: AttemptEvent, now: float) -> Step | None:
    """What happened to an attempt; first what happens to each of them, as every case that does not match costs."""
    attempt = state.attempt
    match event:
        case AttemptObserved():
            return _observed(node, state, event, now)
        case Launched() if isinstance(state, Launching):
            return Step(state=Running(attempt, state.since), wakes=(now + node.execution.settings.unseen_after,))
        case Launched() if isinstance(state, Running) and state.started:
            state = Running(attempt, state.since, until=state.until)
            return Step(state=state)  # it is there, but its end may come unseen: look again
        case OutputsFound() if isinstance(state, Collecting):
            effects = _sidecars_end(node, state)
            return msgspec.structs.replace(SUCCEEDED, effects=effects) if effects else SUCCEEDED
        case Recovered() if isinstance(state, Launching):
            return SUCCEEDED
        case NotRecovered() if isinstance(state, Launching):
            return Step(state=state, effects=(Launch(node.number, attempt),))
        case Refused() if isinstance(state, Launching):
            return _refused(state, event, now)
        case Granted() if isinstance(state, BackingOff) and not state.stopping:
            return _launch(node, attempt, now, refusals=state.refusals)
        case FuturesFound(graph=graph) if isinstance(state, Collecting):
            inside = RunningSubgraph(node.next_frame, attempt, state.since)
            return Step(state=inside, open=Opening(graph, attempt), effects=_sidecars_end(node, state))
        case Expired():
            return _expired(node, state, now)
        case EffectFailed(failure=failure):
            runs = isinstance(state, Collecting) and state.remains is not Remains.NOTHING
            return _failed(node, attempt, failure, now, stop=runs)
    return None


def _start(node: NodeView, now: float) -> Step:
    execution = node.execution
    observed = execution.observed_attempts.get(execution.unique_id(node.number), NOTHING_OBSERVED)
    ends = active_end(node, now)
    return _launch(node, observed.attempt, now, wakes=ends, system_failures=observed.system_failures)


def _launch(
    node: NodeView,
    attempt: int,
    now: float,
    *,
    wakes: tuple[float, ...] = (),
    system: bool = False,
    system_failures: int = 0,
    refusals: Refusals = Refusals(),  # noqa: B008 - frozen
    retried: Failure | None = None,
) -> Step:
    return Step(
        state=Launching(attempt, now, refusals),
        attempt=attempt,
        effects=(_beginning(node, attempt),),
        wakes=(*wakes, *_deadline(node, now)),
        system_failure=system,
        system_failures=system_failures,
        retried=retried,
    )


def _beginning(node: NodeView, attempt: int) -> Launch | Recover:
    """How an attempt begins: the first one of a node that an earlier execution has run takes its outputs over."""
    recovered = node.execution.recovered
    if recovered and attempt == 0 and (source := recovered.get(node.execution.unique_id(node.number))):
        return Recover(node.number, attempt, source)
    return Launch(node.number, attempt)


def _deadline(node: NodeView, since: float) -> tuple[float, ...]:
    """When an attempt that began at `since` (0 where that is not known) has used its time up, if it ever has."""
    limit = parse_duration(node.spec.execution_deadline)
    return (since + limit,) if limit and since else ()


def _refused(state: Launching, event: Refused, now: float) -> Step:
    """The attempt waits, and is not used up. A status says so when it is refused for another reason than before, and
    then at its 2nd, 4th, 8th... try: 10,000 that wait cost the API server few writes.
    """
    until, refusals = now + event.after, event.refusals
    before = state.refusals
    is_news = refusals.reason != before.reason or (refusals.tries != before.tries and refusals.tries.bit_count() == 1)
    waiting = BackingOff(state.attempt, until, state.since, event.reason, refusals)
    return Step(state=waiting, wakes=(until,), quiet=not is_news)


def _observed(node: NodeView, state: AttemptState, seen: AttemptObserved, now: float) -> Step | None:
    if type(state) is Collecting and seen.remains is Remains.NOTHING:
        return Step(state=Collecting(state.attempt, state.since)) if state.remains else None
    if not isinstance(state, _MayHavePod):
        return None
    if seen.phase is AttemptPhase.SUCCEEDED:
        collecting = Collecting(seen.attempt, state.since, seen.remains)
        return Step(state=collecting, effects=(Collect(node.number, seen.attempt),))
    match seen.phase:
        case AttemptPhase.RUNNING | AttemptPhase.PENDING if seen.remains is Remains.ENDING:
            return _is_being_deleted(node, state, seen, now)
        case AttemptPhase.RUNNING:
            if isinstance(state, Running) and state.started:
                return None
            return Step(state=Running(seen.attempt, state.since, started=True))
        case AttemptPhase.FAILED | AttemptPhase.GONE:
            assert seen.failure is not None
            return _failed(node, seen.attempt, seen.failure, now, stop=seen.remains is not Remains.NOTHING)
        case AttemptPhase.PENDING:
            return _pending(node, state, seen, now)


def _is_being_deleted(node: NodeView, state: Launching | Running, seen: AttemptObserved, now: float) -> Step | None:
    """Somebody else deletes the pod. What it comes to in its grace period counts; then it is looked at once more."""
    if isinstance(state, Running) and state.until:
        return None
    until = now + seen.grace + node.execution.stop_margin
    return Step(state=Running(seen.attempt, state.since, started=True, until=until), wakes=(until,))


def _sidecars_end(node: NodeView, state: Collecting) -> tuple[StopAttempt, ...]:
    """Stop what runs on of an attempt that has ended well."""
    return (StopAttempt(node.number, state.attempt, urgent=False),) if state.remains is Remains.RUNNING else ()


def _pending(node: NodeView, state: Launching | Running, seen: AttemptObserved, now: float) -> Step | None:
    """A pod that cannot start fails its attempt once its time to get over that is up. It has to be stopped."""
    if seen.failure is None:
        return None
    begun = max(state.since, seen.since) if seen.since <= now + MAX_CLOCK_SKEW else state.since
    due = begun + node.execution.settings.start_grace.get(seen.failure.code.rpartition("|")[2], 0.0)
    if now < due:
        return Step(state=state, wakes=(due,))
    return _failed(node, seen.attempt, seen.failure, now, stop=True)


def _failed(
    node: NodeView, attempt: int, failure: Failure, now: float, *, stop: bool = False, cancel: bool = False
) -> Step:
    """The attempt failed: another one if its kind's budget allows, else the node fails. `stop`: its pod is there;
    `cancel`: what it has made runs inside the node. The next attempt waits for both.
    """
    effects = (StopAttempt(node.number, attempt),) if stop else ()
    execution = node.execution
    system = execution.system_failures.get(node.number, 0)
    if failure.kind is ErrorKind.SYSTEM:
        again = failure.recoverable and system < execution.settings.system_retries
        pause = min(execution.settings.system_backoff * 2**system, execution.settings.system_backoff_cap)
    else:
        again = failure.recoverable and attempt + 1 - system < user_attempts(node)
        pause = 0.0
    if not again or attempt == MAX_ATTEMPTS:
        named = Failure(
            failure.code,
            failure.message,
            failure.kind,
            node=failure.node or execution.unique_id(node.number),
            attempt=failure.attempt or attempt,
        )
        return Step(phase=NodePhase.FAILED, failure=named, effects=effects, cancel=cancel)
    is_system = failure.kind is ErrorKind.SYSTEM
    if stop or cancel or execution.stops.within(node.number):
        reason = f"attempt {attempt} has to stop first; it failed: {failure.message}"
        return Step(
            state=BackingOff(attempt + 1, now + pause, now, reason, stopping=True),
            attempt=attempt + 1,
            effects=effects,
            cancel=cancel,
            awaits=True,
            system_failure=is_system,
            retried=failure,
        )
    if pause:
        waiting = BackingOff(attempt + 1, now + pause, now, failure.message)
        wakes = (now + pause,)
        return Step(state=waiting, attempt=attempt + 1, wakes=wakes, system_failure=is_system, retried=failure)
    return _launch(node, attempt + 1, now, system=is_system, retried=failure)


def _last_has_stopped(node: NodeView, state: BackingOff, now: float) -> Step:
    """All that the last attempt has started has stopped; the pause after it may not be over."""
    if now >= state.until:
        return _launch(node, state.attempt, now)
    return Step(state=msgspec.structs.replace(state, stopping=False), wakes=(state.until,))


def _time_is_up(node: NodeView, state: State | None, now: float) -> Step | None:
    if isinstance(state, RunningSubgraph):
        return _time_inside_is_up(node, state, now)
    if not isinstance(state, AttemptState):
        return None
    if isinstance(state, BackingOff) and now >= state.until and not state.stopping:
        again = _launch(node, state.attempt, now, refusals=state.refusals)
        return msgspec.structs.replace(again, quiet=True) if state.refusals.reason else again
    if isinstance(state, _MayHavePod) and (_is_late(node, state, now) or _is_lost(state, now)):
        return Step(state=state, effects=(Expire(node.number, state.attempt),))
    if isinstance(state, Collecting):  # it ended in time: what it left decides
        return Step(state=state, wakes=(now + DEADLINE_RECHECK,)) if _active_deadline(node, state, now) else None
    if expired := _active_deadline(node, state, now):
        return expired
    if isinstance(state, Running) and not state.started:
        # still not started?
        return Step(
            state=state,
            effects=(ObserveAttempt(node.number, state.attempt),),
            wakes=(now + node.execution.settings.unseen_after,),
        )
    return None


def _time_inside_is_up(node: NodeView, state: RunningSubgraph, now: float) -> Step | None:
    """What a dynamic task has made runs in the attempt's time, too; it is stopped where that is over."""
    if expired := _active_deadline(node, state, now):
        return expired
    if not is_over(_deadline(node, state.since), now):
        return None
    return _failed(node, state.attempt, _attempt_is_late(node), now, cancel=True)


def _is_lost(state: State, now: float) -> bool:
    """Whether somebody has deleted the pod so long ago that it should be gone."""
    return isinstance(state, Running) and 0 < state.until <= now


def _is_late(node: NodeView, state: Launching | Running, now: float) -> bool:
    return is_over((*active_end(node), *_deadline(node, state.since)), now)


def _expired(node: NodeView, state: AttemptState, now: float) -> Step | None:
    """The attempt is late or its pod lost, which was looked at: it has not ended."""
    if not isinstance(state, _MayHavePod):
        return None
    if not _is_late(node, state, now):
        return _failed(node, state.attempt, LOST, now) if _is_lost(state, now) else None
    if over := _active_deadline(node, state, now):
        return over
    return _failed(node, state.attempt, _attempt_is_late(node), now, stop=True)


def _attempt_is_late(node: NodeView) -> Failure:
    return Failure(TIMEOUT, f"task execution timeout [{node.spec.execution_deadline}] expired", recoverable=True)


def _active_deadline(node: NodeView, state: AttemptState | RunningSubgraph, now: float) -> Step | None:
    """The whole node's time, waiting and every attempt included, is spent."""
    if not is_over(active_end(node), now):
        return None
    effects = (StopAttempt(node.number, state.attempt),)
    return Step(phase=NodePhase.FAILED, failure=active_time_is_up(node), effects=effects, cancel=True)


def _cancel(node: NodeView, state: State | None) -> Step:
    if isinstance(state, Launching | Running | Collecting):
        return Step(phase=NodePhase.ABORTED, effects=(StopAttempt(node.number, state.attempt),))
    return ABORTED


def _resume(node: NodeView, state: State | None, now: float) -> Step | None:
    """After a rebuild: ask again for what the state waits for. A pod's own news come from the informer."""
    if not isinstance(state, AttemptState | RunningSubgraph):
        return None
    ends = active_end(node)
    observed = node.execution.observed_attempts.get(node.execution.unique_id(node.number), NOTHING_OBSERVED)
    if isinstance(state, Running) and observed.attempt <= state.attempt:
        until = (state.until,) if state.until else ()
        wakes = (*ends, *until, *_deadline(node, state.since), now + node.execution.settings.unseen_after)
        return Step(state=state, effects=(ObserveAttempt(node.number, state.attempt),), wakes=wakes)
    if observed.attempt > state.attempt:
        again = _launch(node, observed.attempt, now, wakes=ends, system_failures=observed.system_failures)
        return msgspec.structs.replace(again, cancel=True)  # of a dynamic task, what the attempt before had made
    if isinstance(state, BackingOff) and state.stopping:
        return _resume_stopping(node, state, observed, now, ends)
    if isinstance(state, RunningSubgraph):
        wakes = (*ends, *_deadline(node, state.since))
        return Step(state=state, wakes=wakes) if wakes else None
    if isinstance(state, Launching):
        return _launch(node, state.attempt, now, wakes=ends, refusals=state.refusals)
    if isinstance(state, Collecting):
        return Step(state=state, effects=(Collect(node.number, state.attempt),), wakes=ends)
    if isinstance(state, BackingOff):
        due = min(state.until, now + MAX_WAIT_AFTER_LOAD)
        return Step(state=msgspec.structs.replace(state, until=due), wakes=(*ends, due))
    return Step(state=state, wakes=ends)


def _resume_stopping(
    node: NodeView, state: BackingOff, observed: ObservedAttempt, now: float, ends: tuple[float, ...]
) -> Step:
    """The last attempt's pod is among those that have to stop if the cache has it; if not, the server is asked."""
    if observed.attempt == state.attempt and observed is not NOTHING_OBSERVED:
        return _launch(node, state.attempt, now, wakes=ends)  # it had begun
    known = node.execution.stops.within(node.number)
    effects = () if known else (StopAttempt(node.number, state.attempt - 1),)
    return Step(state=state, effects=effects, wakes=ends, awaits=True)
