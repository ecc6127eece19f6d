"""The decision of a reconcile: events in, effects out, no I/O.

Guarantees
    Synchronous and deterministic: the same execution, events and time give the same effects and the same execution.
    Visits only nodes that have an event, and successors whose last dependency has just completed: the cost is
    proportional to the change.
    An event that comes too late (its node has moved on or ended) changes nothing.
    Knows no node kind: the transition function of the node's kind decides how an event changes it.
Assumptions
    The caller owns the execution and hands it over for the call: it is changed in place.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from typing import assert_never

import msgspec

from propeller.workflow._effects import Effect, StopAttempt
from propeller.workflow._events import (
    AllStopped,
    Cancel,
    Failure,
    NodeEvent,
    Resume,
    Start,
    Stopped,
    Submitted,
    TimerFired,
)
from propeller.workflow._execution import Execution, NodePhase, NodeView, WorkflowPhase
from propeller.workflow._graphs import GraphProgress, Queue, cancels, ready_nodes
from propeller.workflow._growth import outgrown
from propeller.workflow._spec import FailurePolicy, NodeKind
from propeller.workflow._states import RUNNING_CASE, Launching, RunningSubtasks, State
from propeller.workflow._transition import (
    Abort,
    Continue,
    Fail,
    SelectCase,
    StartAttempt,
    StartSubgraph,
    StartSubtask,
    StartSubtasks,
    Stay,
    Succeed,
    Transition,
    TransitionFunction,
)

_NOT_STARTED, _RUNNING, _SUCCEEDED = NodePhase.NOT_STARTED, NodePhase.RUNNING, NodePhase.SUCCEEDED
"""In Python 3.11, looking up the member of an enum takes as long as a call, and each event would need several."""

EXECUTION = -1
"""The node number of events of the execution as a whole: `Cancel`, `TimerFired`."""

MAX_EVENTS = 500
"""Events that one reconcile handles: some 5 ms. The others stay in the execution for the next one, due at once."""

_PARENT_FAILED = Cancel("the node around it has failed")


class Decision(msgspec.Struct, frozen=True):
    """`effects` in the order decided; `wake`, when to decide again (epoch seconds); `changed`, whether a checkpoint
    would record anything new; `more`, whether events are left to be handled now.

    `ended` are the nodes that have ended, and `retried` those of which another attempt follows, with the last one's
    failure: both are reported to people, and nothing depends on them.
    """

    effects: list[Effect]
    wake: float | None
    changed: bool
    more: bool = False
    ended: list[NodeView] = []
    retried: list[tuple[NodeView, Failure]] = []


Transitions = Mapping[NodeKind, TransitionFunction]


def begin(execution: Execution, transitions: Transitions, now: float) -> Decision:
    """Start the root graph and its first nodes."""
    execution.phase = WorkflowPhase.RUNNING
    _arm_deadline(execution)
    frame = execution.open_frame(execution.plan.root)
    start = Start()
    return decide(execution, [(frame.base + entry, start) for entry in frame.graph.entries], now, transitions)


def resume(execution: Execution, transitions: Transitions, now: float) -> Decision:
    """Decide for the first time after a load: active nodes ask again for what they wait for, ready ones start."""
    _arm_deadline(execution)
    again, start = Resume(), Start()
    events: list[tuple[int, NodeEvent]] = [(node, again) for node in execution.states]
    for frame in execution.frames:
        if not frame.ended:
            events.extend((node, start) for node in ready_nodes(execution, frame))
    execution.failing = [frame for frame in execution.frames if frame.failure is not None and not frame.ended]
    for frame in execution.failing:
        if frame.failure is not None and frame.graph.policy is FailurePolicy.FAIL_IMMEDIATELY:
            events.extend(cancels(execution, frame, frame.failure))
    return decide(execution, events, now, transitions)


def decide(
    execution: Execution, events: Iterable[tuple[int, NodeEvent]], now: float, transitions: Transitions
) -> Decision:
    """Decide what follows from `events`, pairs of a node's number and an event. `now` is in epoch seconds."""
    return _Decider(execution, transitions, now).run(events)


def _arm_deadline(execution: Execution) -> None:
    """Limit the time of the whole execution from its creation (the resource's activeDeadlineSeconds)."""
    if limit := execution.info.spec.active_deadline_seconds:
        execution.wake_at(execution.created_at + limit, EXECUTION)


class _Decider:
    """One call of `decide`. For `_inner` and `_todo` see `GraphProgress`. Events that are left in `_todo` stay in the
    execution; after a crash, `resume` finds the same to do.

    More than 15 methods: one a step of what an event leads to, and all change the same call's state.
    """

    __slots__ = (
        "_changed",
        "_effects",
        "_ended",
        "_execution",
        "_graphs",
        "_inner",
        "_now",
        "_retried",
        "_todo",
        "_transitions",
    )

    def __init__(self, execution: Execution, transitions: Transitions, now: float) -> None:
        self._execution = execution
        self._transitions = transitions
        self._now = now
        self._todo = execution.todo
        self._inner: Queue = deque()
        self._graphs = GraphProgress(execution, self._todo, self._inner, now)
        self._effects: list[Effect] = []
        self._changed = False
        self._ended: list[NodeView] = []
        self._retried: list[tuple[NodeView, Failure]] = []

    def run(self, events: Iterable[tuple[int, NodeEvent]]) -> Decision:
        execution = self._execution
        for pair in events:
            self._queue_of(pair[0]).append(pair)
        while execution.timers and execution.timers[0][0] <= self._now:
            node = heapq.heappop(execution.timers)[1]
            self._queue_of(node).append((node, TimerFired()))
        handled, blocked, failing, filling = 0, execution.slots.blocked, execution.failing, execution.filling
        while (
            self._inner
            or self._todo
            or (blocked and self._start_blocked())
            or (failing and self._graphs.finish_failed())
            or (filling and self._graphs.start_waiting_items())
        ):
            if self._inner:
                node, event = self._inner.popleft()
            elif handled < MAX_EVENTS:
                node, event = self._todo.popleft()
                handled += 1
            else:
                break
            if node == EXECUTION:
                self._end_execution(event)
            else:
                self._deliver(node, event)
        wake = execution.timers[0][0] if execution.timers else None
        return Decision(self._effects, wake, self._changed, bool(self._todo), self._ended, self._retried)

    def _queue_of(self, node: int) -> Queue:
        """Execution-level events (cancel, deadline) skip the queue: they make the queued events irrelevant."""
        return self._inner if node == EXECUTION else self._todo

    def _deliver(self, node: int, event: NodeEvent) -> None:
        """Apply the transition that the event leads to, if the node still waits for such an event."""
        execution = self._execution
        if type(event) is Submitted:
            self._job_began(node, event)
        if execution.phase.ended:
            return
        if execution.jobs:
            self._changed |= execution.jobs.observe(node, event)
        state = execution.states.get(node)
        if type(event) is Stopped:  # a failed isinstance takes three times as long for these structs
            self._stop_sent(node, event)
            return
        if execution.stops.pods:
            self._all_stopped(execution.stops.observe(node, event, self._now))
        if type(event) is AllStopped and not execution.stops.is_waited_out(node):
            return
        starts = type(event) is Start
        if starts:
            if execution.phases[node] != _NOT_STARTED or not self._graphs.may_start(node):
                return
        elif state is None:
            return
        view = execution.view(node)
        if type(event) is Cancel:
            self._graphs.cancel_inside(view, state, event)
        transition = self._transitions[view.spec.kind](view, state, event, self._now)
        if transition is None:
            return
        if starts and execution.slots.is_full and self._needs_slot(view, transition):
            execution.slots.block(node)
        else:
            self._apply(view, transition)

    def _job_began(self, node: int, event: Submitted) -> None:
        """Record a job. If its attempt is over already, it is deleted, once a status has its id."""
        execution, attempt = self._execution, event.attempt
        execution.jobs.begin(event.job)
        self._changed = True
        state = execution.states.get(node)
        if not isinstance(state, Launching) or state.attempt != attempt:
            execution.stops.add(node, attempt)
            self._effects.append(StopAttempt(node, attempt))

    def _stop_sent(self, node: int, event: Stopped) -> None:
        """Give back the slot of a pod that was asked to stop, and note how long it may take."""
        execution = self._execution
        execution.slots.stopping.discard((node, event.attempt))
        if event.grace:
            until = self._now + event.grace + execution.stop_margin
            execution.stops.stop_sent(node, event.attempt, until)
        else:
            self._all_stopped(execution.stops.stopped(node, event.attempt))

    def _all_stopped(self, nodes: Iterable[int]) -> None:
        self._todo.extend((node, AllStopped()) for node in nodes)

    def _needs_slot(self, view: NodeView, transition: Transition) -> bool:
        """Whether the node needs a free slot to start. One that had started before a restart keeps its own."""
        if not isinstance(transition, StartAttempt) or not transition.state.holds_slot or not view.frame.takes_slots:
            return False
        observed = self._execution.observed_attempts
        return not observed or self._execution.unique_id(view.number) not in observed

    def _start_blocked(self) -> bool:
        """Start the first blocked node that still may start, if a slot is free; returns whether there is one."""
        slots = self._execution.slots
        if slots.reserved and not slots.used and self._only_containers_run():
            slots.release_reserved()
        while (node := slots.next_blocked()) is not None:
            if self._graphs.may_start(node):
                self._todo.append((node, Start()))
                return True
        return False

    def _only_containers_run(self) -> bool:
        return all(state.waits_inside for state in self._execution.states.values())

    def _apply(self, view: NodeView, transition: Transition) -> None:
        execution, node = self._execution, view.number
        if execution.phases[node] == _NOT_STARTED:
            self._start_node(view)
        for effect in transition.effects:
            if type(effect) is StopAttempt:
                execution.stops.add(node, effect.attempt)
                if effect.urgent:
                    execution.slots.stopping.add((node, effect.attempt))
            self._effects.append(effect)
        if transition.cache is not None:
            execution.cache.record(view.frame, node, transition.cache)
        match transition:  # the most frequent ones first: each case that does not match costs
            case Continue():
                before = self._set_state(view, transition.state)
                self._changed |= transition.checkpoint and before != transition.state
                self._wait(node, transition)
            case StartAttempt():
                self._start_attempt(view, transition)
            case Succeed():
                self._end_node(view, _SUCCEEDED, None)
            case Stay():
                for wake in transition.wakes:
                    execution.wake_at(wake, node)
            case Fail():
                if transition.cancel_inside:
                    self._graphs.cancel_inside(view, execution.states.get(node), _PARENT_FAILED)
                self._end_node(view, NodePhase.FAILED, transition.failure)
            case Abort():
                self._end_node(view, NodePhase.ABORTED, None)
            case StartSubgraph() | StartSubtasks() if (failure := outgrown(view, transition.graph)) is not None:
                self._end_node(view, NodePhase.FAILED, failure)
            case StartSubgraph():
                self._change_state(view, transition.state)
                self._graphs.start(transition.graph, node, transition.state.attempt)
            case StartSubtasks():
                self._change_state(view, transition.state)
                frame = self._graphs.start(transition.graph, node, transition.attempt, items=True)
                if isinstance(transition.state, RunningSubtasks):
                    self._graphs.start_items(frame, transition.state.next)
            case StartSubtask():
                self._change_state(view, transition.state)
                frame = execution.frames[transition.state.frame]
                self._graphs.start_items(frame, transition.item + 1)
            case SelectCase():
                self._change_state(view, RUNNING_CASE)
                self._graphs.select_case(view, transition.case)
            case _:
                assert_never(transition)

    def _start_node(self, view: NodeView) -> None:
        execution, node = self._execution, view.number
        execution.phases[node] = _RUNNING
        execution.started[node] = self._now - execution.created_at
        view.frame.active += 1
        if execution.slots.reserved:
            execution.slots.reserved.discard(execution.unique_id(node))

    def _start_attempt(self, view: NodeView, transition: StartAttempt) -> None:
        execution, node, failure = self._execution, view.number, transition.failure
        self._changed |= transition.checkpoint
        by_system = failure is not None and failure.is_system
        if failure is not None:
            of = {"node": execution.unique_id(node), "attempt": execution.attempts[node]}
            self._retried.append((view, msgspec.structs.replace(failure, **of)))
        execution.attempts[node] = transition.attempt
        if by_system or transition.system_failures:
            known = execution.system_failures.get(node, 0)
            execution.system_failures[node] = max(known + by_system, transition.system_failures)
        if failure is not None and failure.evicted:
            execution.evictions[node] = execution.evictions.get(node, 0) + 1
        before = self._set_state(view, transition.state)
        if transition.cancel_inside:
            self._graphs.cancel_inside(view, before, _PARENT_FAILED)
        self._wait(node, transition)

    def _wait(self, node: int, transition: Continue | StartAttempt) -> None:
        """Arrange for the events that the node waits for."""
        for wake in transition.wakes:
            self._execution.wake_at(wake, node)
        if transition.awaits_stops:
            self._execution.stops.wait(node)
            self._todo.append((node, AllStopped()))  # behind the events that cancel nodes inside

    def _set_state(self, view: NodeView, state: State) -> State | None:
        """Set the node's state; returns the one before."""
        execution = self._execution
        before = execution.states.get(view.number)
        execution.move_slot(view.frame, before, state)
        execution.states[view.number] = state
        return before

    def _change_state(self, view: NodeView, state: State) -> None:
        self._set_state(view, state)
        self._changed = True

    def _end_node(self, view: NodeView, phase: NodePhase, failure: Failure | None) -> None:
        execution, node = self._execution, view.number
        execution.move_slot(view.frame, execution.states.pop(node, None), None)
        execution.stops.forget(node)
        execution.phases[node] = phase
        execution.ended[node] = self._now - execution.created_at
        if failure is not None:
            execution.failures.record(node, failure)
        self._changed = True
        self._ended.append(view)
        self._graphs.node_ended(view, phase, failure)

    def _end_execution(self, event: NodeEvent) -> None:
        """End the whole execution: it is aborted, or its deadline has passed."""
        execution = self._execution
        if execution.phase.ended:
            return
        if isinstance(event, TimerFired):
            limit = execution.info.spec.active_deadline_seconds
            late = Failure("TimeoutExpired", f"workflow active deadline [{limit}s] expired")
            self._stop_all(Cancel(late.message), WorkflowPhase.FAILED, execution.failure_so_far or late)
        elif isinstance(event, Cancel):
            self._stop_all(event, WorkflowPhase.ABORTED, Failure("Aborted", event.reason))

    def _stop_all(self, event: Cancel, phase: WorkflowPhase, failure: Failure) -> None:
        execution = self._execution
        for frame in execution.frames:
            frame.ended = True
        execution.slots.blocked.clear()
        for node in list(execution.states):
            view = execution.view(node)
            transition = self._transitions[view.spec.kind](view, execution.states[node], event, self._now)
            if transition is not None:
                self._apply(view, transition)
        self._graphs.end_execution(phase, failure)
        self._changed = True
