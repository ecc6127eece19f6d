"""The decision of a round: events in, effects out, no I/O.

Guarantees
    Synchronous and deterministic: the same execution, events and time give the same effects and the same execution.
    Visits only nodes that an event touches, and successors whose last dependency fell: cost is O(what changed).
    An event that comes too late (its node has moved on or ended) changes nothing.
Assumptions
    The execution is owned by the caller, who hands it over for the call: it is changed in place.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from propeller.workflow._effects import Effect, StopAttempt
from propeller.workflow._events import (
    AllStopped,
    AttemptObserved,
    AttemptPhase,
    Cancel,
    ChildEnded,
    Failure,
    NodeEvent,
    Remains,
    Resume,
    Start,
    Stopped,
    SubgraphEnded,
    TimerFired,
)
from propeller.workflow._execution import Execution, Frame, NodePhase, NodeView, WorkflowPhase
from propeller.workflow._plan import Graph
from propeller.workflow._spec import FailurePolicy, NodeKind
from propeller.workflow._states import RunningSubtasks, State

_NOT_STARTED, _RUNNING, _SUCCEEDED = NodePhase.NOT_STARTED, NodePhase.RUNNING, NodePhase.SUCCEEDED
"""To look up an enum's member takes as long as a call, in Python 3.11, and an event would need ten."""

EXECUTION = -1
"""The node number of events about the execution as a whole: `Cancel`, `TimerFired`."""


class Opening(msgspec.Struct, frozen=True):
    """A graph to run inside the node. `items` starts none of it by itself: the map task does."""

    graph: Graph
    attempt: int = 0
    items: bool = False


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one event does to one node: a next state, or an end (`phase`, with `failure` where it failed).

    `effects` are to be done; `wakes` ask for a TimerFired at these times; `open` runs a graph inside; `start` starts
    children of the node's frame by their number in it; `cancel` stops what runs inside the node; `choose` is the id of
    a branch's case; `attempt` is set where a new attempt begins; `awaits` asks for AllStopped.
    """

    state: State | None = None
    phase: NodePhase | None = None
    failure: Failure | None = None
    effects: tuple[Effect, ...] = ()
    wakes: tuple[float, ...] = ()
    open: Opening | None = None
    start: tuple[int, int, int] | None = None
    cancel: bool = False
    choose: str | None = None
    attempt: int | None = None
    quiet: bool = False
    """Whether it is not worth a status of its own: the next one that is written has it."""
    awaits: bool = False
    system_failure: bool = False
    """Whether one more attempt failed by the system's fault."""
    system_failures: int = 0
    """How many are known to have, at least."""
    retried: Failure | None = None
    """What the last attempt failed by, where another one follows."""


TransitionFunction = Callable[[NodeView, State | None, NodeEvent, float], Step | None]
"""`(node, state, event, now) -> Step`, pure; None where the event changes nothing."""


MAX_EVENTS = 500
"""Of one round: some 5 ms. What is left over waits in the execution for the next round, which is due at once."""


class Decision(msgspec.Struct, frozen=True):
    """`effects` in the order decided, the next time to look again, whether anything changed that a checkpoint would
    keep, and whether there is more to decide now. `ended` are the nodes that have, `retried` why attempts failed that
    another one follows: both for people, nothing depends on them.
    """

    effects: list[Effect]
    wake: float | None
    changed: bool
    more: bool = False
    ended: list[NodeView] = []
    retried: list[Failure] = []


def begin(execution: Execution, transitions: Mapping[NodeKind, TransitionFunction], now: float) -> Decision:
    """Open the root and start its first nodes."""
    execution.phase = WorkflowPhase.RUNNING
    _arm_deadline(execution)
    frame = execution.open_frame(execution.plan.root)
    start = Start()
    return decide(execution, [(frame.base + entry, start) for entry in frame.graph.entries], now, transitions)


def resume(execution: Execution, transitions: Mapping[NodeKind, TransitionFunction], now: float) -> Decision:
    """The first round after a rebuild: active nodes ask again for what they wait for, and ready ones start."""
    _arm_deadline(execution)
    again, start = Resume(), Start()
    events: list[tuple[int, NodeEvent]] = [(node, again) for node in execution.states]
    for frame in execution.frames:
        if not frame.ended:
            events.extend((node, start) for node in _ready(execution, frame))
    execution.failing = [frame for frame in execution.frames if frame.failure is not None and not frame.ended]
    for frame in execution.failing:
        if frame.failure is not None and frame.graph.policy is FailurePolicy.FAIL_IMMEDIATELY:
            events.extend(_cancels(execution, frame, frame.failure))
    return _Round(execution, transitions, now).run(events)


def _cancels(execution: Execution, frame: Frame, failure: Failure) -> Iterator[tuple[int, NodeEvent]]:
    """What stops the others in a frame that fails by one; not what runs because it has."""
    reason = Cancel(f"node {failure.node} failed")
    return ((node, reason) for node in execution.active_in(frame) if node - frame.base != frame.graph.failure)


def _arm_deadline(execution: Execution) -> None:
    """The whole execution's time, from its creation on (the resource's activeDeadlineSeconds)."""
    if limit := execution.info.spec.active_deadline_seconds:
        execution.wake_at(execution.created_at + limit, EXECUTION)


def _ready(execution: Execution, frame: Frame) -> Iterator[int]:
    """Nodes of a frame that may start and have not: the parallelism limit held them back."""
    count = len(frame.graph.nodes)
    if frame.items:
        state = execution.states.get(frame.parent)
        count = state.next if isinstance(state, RunningSubtasks) else 0
    for node in range(frame.base, frame.base + count):
        if execution.phases[node] == _NOT_STARTED and not execution.unmet[node]:
            yield node


def decide(
    execution: Execution,
    events: Iterable[tuple[int, NodeEvent]],
    now: float,
    transitions: Mapping[NodeKind, TransitionFunction],
) -> Decision:
    """One round: `events` are (node number, event) pairs, `now` epoch seconds."""
    return _Round(execution, transitions, now).run(events)


class _Round:
    """`_inner` holds events that follow from what was decided here and that nobody would send again: all are handled
    before the call ends. `execution.todo` may stay for the next call: after a crash a resume would come to the same.
    """

    def __init__(self, execution: Execution, transitions: Mapping[NodeKind, TransitionFunction], now: float) -> None:
        self._execution = execution
        self._transitions = transitions
        self._now = now
        self._todo = execution.todo
        self._inner: deque[tuple[int, NodeEvent]] = deque()
        self._effects: list[Effect] = []
        self._changed = False
        self._failing = execution.failing
        self._ended: list[NodeView] = []
        self._retried: list[Failure] = []

    def run(self, events: Iterable[tuple[int, NodeEvent]]) -> Decision:
        execution = self._execution
        for heard_now in events:
            self._queue_of(heard_now[0]).append(heard_now)
        while execution.timers and execution.timers[0][0] <= self._now:
            node = heapq.heappop(execution.timers)[1]
            self._queue_of(node).append((node, TimerFired()))
        heard = 0
        while self._inner or self._todo or self._start_blocked() or self._settle():
            if self._inner:
                node, event = self._inner.popleft()
            elif heard < MAX_EVENTS:
                node, event = self._todo.popleft()
                heard += 1
            else:
                break
            if node == EXECUTION:
                self._end_execution(event)
            else:
                self._deliver(node, event)
        wake = execution.timers[0][0] if execution.timers else None
        return Decision(self._effects, wake, self._changed, bool(self._todo), self._ended, self._retried)

    def _queue_of(self, node: int) -> deque[tuple[int, NodeEvent]]:
        """An end of the whole does not wait behind what it makes vain."""
        return self._inner if node == EXECUTION else self._todo

    def _deliver(self, node: int, event: NodeEvent) -> None:
        execution = self._execution
        if execution.phase.ended:
            return
        state = execution.states.get(node)
        if type(event) is Stopped:  # isinstance asks the metaclass of these structs, five times for each event
            self._told(node, event)
            return
        if execution.stops.pods:
            self._look_for_stops(node, event)
        if type(event) is AllStopped and not execution.stops.is_waited_out(node):
            return
        starts = type(event) is Start
        if starts:
            if execution.phases[node] != _NOT_STARTED or not self._may_start(node):
                return
        elif state is None:
            return
        view = execution.view(node)
        if type(event) is Cancel:
            self._cancel_inside(view, state, event)
        step = self._transitions[view.spec.kind](view, state, event, self._now)
        if step is None:
            return
        if starts and execution.slots.is_full and self._needs_slot(view, step):
            execution.slots.block(node)
            return
        self._apply(view, step)

    def _told(self, node: int, event: Stopped) -> None:
        execution = self._execution
        execution.slots.stopping.discard((node, event.attempt))
        if event.grace:
            execution.stops.told(node, event.attempt, self._now + event.grace + execution.stop_margin)
        else:
            self._have_waited(execution.stops.stopped(node, event.attempt))

    def _look_for_stops(self, node: int, event: NodeEvent) -> None:
        """A pod whose attempt is over has stopped, or will not any more."""
        stops = self._execution.stops
        if (
            isinstance(event, AttemptObserved)
            and event.phase >= AttemptPhase.SUCCEEDED
            and event.remains is Remains.NOTHING
        ):
            self._have_waited(stops.stopped(node, event.attempt))
        elif isinstance(event, TimerFired):
            self._have_waited(stops.expire(node, self._now))

    def _have_waited(self, nodes: Iterable[int]) -> None:
        self._todo.extend((node, AllStopped()) for node in nodes)

    def _needs_slot(self, view: NodeView, step: Step) -> bool:
        """Whether the node needs a free slot to start. One that had started before a restart keeps its own."""
        if step.state is None or not step.state.holds_slot:
            return False
        execution = self._execution
        return not execution.observed_attempts or execution.unique_id(view.number) not in execution.observed_attempts

    def _apply(self, view: NodeView, step: Step) -> None:
        execution, node = self._execution, view.number
        before = execution.states.get(node)
        only_asks = step.quiet or (step.state is not None and step.state == before and step.phase is None)
        self._changed |= not only_asks or (step.attempt is not None and not step.quiet)
        if execution.phases[node] == _NOT_STARTED:
            execution.phases[node] = _RUNNING
            execution.started[node] = self._now - execution.created_at
            view.frame.active += 1
            if execution.slots.reserved:
                execution.slots.reserved.discard(execution.unique_id(node))
        if step.attempt is not None:
            execution.attempts[node] = step.attempt
            if step.retried is not None:
                self._retried.append(step.retried)
        failures = execution.system_failures.get(node, 0)
        if step.system_failure or step.system_failures > failures:
            execution.system_failures[node] = max(failures + step.system_failure, step.system_failures)
        if step.state is not None:
            execution.slots.move(before, step.state)
            execution.states[node] = step.state
        for effect in step.effects:
            if type(effect) is StopAttempt:
                execution.stops.add(node, effect.attempt)
                if effect.urgent:
                    execution.slots.stopping.add((node, effect.attempt))
            self._effects.append(effect)
        for wake in step.wakes:
            execution.wake_at(wake, node)
        if step.open is not None:
            self._open(node, step.open)
        if step.start is not None:
            frame_number, first, end = step.start
            base = execution.frames[frame_number].base
            self._todo.extend((base + child, Start()) for child in range(first, end))
        if step.cancel:
            self._cancel_inside(view, before, Cancel("what it is part of has failed"))
        if step.awaits:
            execution.stops.wait(node)
            self._todo.append((node, AllStopped()))  # behind what is cancelled inside
        if step.choose is not None:
            self._choose(view, step.choose)
        if step.phase is not None:
            self._end(view, step.phase, step.failure)

    def _open(self, node: int, opening: Opening) -> None:
        frame = self._execution.open_frame(
            opening.graph, parent=node, parent_attempt=opening.attempt, items=opening.items
        )
        self._todo.extend((frame.base + entry, Start()) for entry in opening.graph.entries)

    def _choose(self, view: NodeView, chosen: str) -> None:
        execution, frame = self._execution, view.frame
        for case in frame.graph.cases.get(view.graph_index, ()):
            if frame.graph.node_id(case) == chosen:
                self._meet(frame, case)
            else:
                execution.phases[frame.base + case] = NodePhase.SKIPPED

    def _meet(self, frame: Frame, number: int) -> None:
        """One dependency of a node has fallen."""
        node = frame.base + number
        self._execution.unmet[node] -= 1
        if not self._execution.unmet[node]:
            self._todo.append((node, Start()))

    def _end(self, view: NodeView, phase: NodePhase, failure: Failure | None) -> None:
        execution, node, frame = self._execution, view.number, view.frame
        state = execution.states.pop(node, None)
        execution.phases[node] = phase
        execution.ended[node] = self._now - execution.created_at
        self._ended.append(view)
        frame.active -= 1
        execution.stops.forget(node)
        execution.slots.move(state, None)
        if failure is not None:
            execution.failures[node] = failure
        if frame.ended:
            return
        if frame.items:
            self._inner.append((frame.parent, ChildEnded(view.graph_index, failure)))
        elif view.graph_index == frame.graph.failure:
            self._end_frame(frame)
        elif (branch := frame.graph.case_of.get(view.graph_index)) is not None:
            self._inner.append((frame.base + branch, ChildEnded(view.graph_index, failure)))
        elif failure is not None:
            self._fail(frame, failure)
        elif phase is _SUCCEEDED and view.graph_index == frame.graph.end:
            self._end_frame(frame)
        elif phase is _SUCCEEDED:  # also where none may start any more: a rebuild counts so, too
            for successor in frame.graph.downstream[view.graph_index]:
                self._meet(frame, successor)
        if frame.failure is not None and not frame.ended:
            self._failing.append(frame)

    def _start_blocked(self) -> bool:
        """Start the first blocked node that still may start, if a slot is free; returns whether there is one."""
        slots = self._execution.slots
        if slots.blocked and slots.reserved and not slots.used and self._nothing_is_under_way():
            slots.release_reserved()
        while (node := slots.next_blocked()) is not None:
            if self._may_start(node):
                self._todo.append((node, Start()))
                return True
        return False

    def _nothing_is_under_way(self) -> bool:
        return all(state.waits_inside for state in self._execution.states.values())

    def _may_start(self, node: int) -> bool:
        frame = self._execution.frame_of(node)
        branch = frame.graph.case_of.get(node - frame.base)
        if frame.ended or (branch is not None and frame.base + branch not in self._execution.states):
            return False
        return self._may_go_on(frame) or node - frame.base == frame.graph.failure

    def _may_go_on(self, frame: Frame) -> bool:
        return frame.failure is None or frame.graph.policy is FailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE

    def _fail(self, frame: Frame, failure: Failure) -> None:
        """A node failed for good: the first failure is the frame's, and by its policy stops the others."""
        if frame.failure is not None:
            return
        frame.failure = failure
        if frame.parent < 0:
            self._execution.phase = WorkflowPhase.FAILING
        if frame.graph.policy is FailurePolicy.FAIL_IMMEDIATELY:
            self._todo.extend(_cancels(self._execution, frame, failure))  # behind the news that came with it

    def _settle(self) -> bool:
        """End failed frames in which nothing is active nor about to be, once their failure node, if any, has run.

        Returns whether that left something to do.
        """
        execution = self._execution
        while self._failing:
            frame = self._failing.pop()
            if frame.ended or frame.active or self._has_blocked(frame):
                continue
            failure_node = frame.graph.failure
            if failure_node is None:
                self._end_frame(frame)
            elif execution.unmet[frame.base + failure_node]:
                if frame.parent < 0:
                    execution.phase = WorkflowPhase.HANDLING_FAILURE_NODE
                self._meet(frame, failure_node)
        return bool(self._todo or self._inner)

    def _has_blocked(self, frame: Frame) -> bool:
        end = frame.base + len(frame.graph.nodes)
        return self._may_go_on(frame) and any(frame.base <= node < end for node in self._execution.slots.blocked)

    def _end_frame(self, frame: Frame) -> None:
        frame.ended = True
        if frame.parent >= 0:
            self._inner.append((frame.parent, SubgraphEnded(frame.failure)))
            return
        execution = self._execution
        execution.phase = WorkflowPhase.FAILED if frame.failure else WorkflowPhase.SUCCEEDED
        execution.failure = frame.failure
        self._nothing_more()

    def _nothing_more(self) -> None:
        execution = self._execution
        execution.ended_at = self._now
        execution.timers.clear()
        execution.todo.clear()

    def _cancel_inside(self, view: NodeView, state: State | None, event: Cancel) -> None:
        """Whatever runs inside a node is cancelled with it."""
        if state is None:
            return
        if (number := state.child_frame) is not None:
            self._cancel_frame(number, event)
        else:
            self._inner.extend((view.frame.base + case, event) for case in view.graph.cases.get(view.graph_index, ()))

    def _cancel_frame(self, number: int, event: Cancel) -> None:
        frame = self._execution.frames[number]
        frame.ended = True
        self._inner.extend((node, event) for node in self._execution.active_in(frame))

    def _end_execution(self, event: NodeEvent) -> None:
        """It is aborted, or its time is up."""
        execution = self._execution
        if execution.phase.ended:
            return
        if isinstance(event, TimerFired):
            limit = execution.info.spec.active_deadline_seconds
            late = Failure("TimeoutExpired", f"workflow active deadline [{limit}s] expired")
            self._stop(Cancel(late.message), WorkflowPhase.FAILED, execution.failure_so_far or late)
        elif isinstance(event, Cancel):
            self._stop(event, WorkflowPhase.ABORTED, Failure("Aborted", event.reason))

    def _stop(self, event: Cancel, phase: WorkflowPhase, failure: Failure) -> None:
        execution = self._execution
        for frame in execution.frames:
            frame.ended = True
        execution.slots.blocked.clear()
        for node in list(execution.states):
            view = execution.view(node)
            step = self._transitions[view.spec.kind](view, execution.states[node], event, self._now)
            if step is not None:
                self._apply(view, step)
        execution.phase = phase
        execution.failure = failure
        self._nothing_more()
        self._changed = True
