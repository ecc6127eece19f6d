"""How a graph moves on: successors whose last dependency has completed start, a failure spreads by the graph's policy,
and a graph ends with its last node.

Assumptions
    One object serves one call of `decide`, which owns the execution and both queues.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from propeller.workflow._events import Cancel, ChildEnded, Failure, NodeEvent, Start, SubgraphEnded
from propeller.workflow._execution import Execution, Frame, NodePhase, NodeView, WorkflowPhase
from propeller.workflow._item_window import next_items, resumed_items, start_up_to
from propeller.workflow._plan import Graph
from propeller.workflow._spec import FailurePolicy
from propeller.workflow._states import State

_NOT_STARTED, _SUCCEEDED = NodePhase.NOT_STARTED, NodePhase.SUCCEEDED
"""In Python 3.11, looking up the member of an enum takes as long as a call."""

Queue = deque[tuple[int, NodeEvent]]
"""Pairs of a node's number and an event of it."""


def ready_nodes(execution: Execution, frame: Frame) -> Iterator[int]:
    """The nodes of a frame that was loaded that may start and have not, because no slot was free."""
    if frame.items:
        yield from resumed_items(execution, frame)
        return
    for node in range(frame.base, frame.base + len(frame.graph.nodes)):
        if execution.phases[node] == _NOT_STARTED and not execution.unmet[node]:
            yield node


def cancels(execution: Execution, frame: Frame, failure: Failure) -> Iterator[tuple[int, NodeEvent]]:
    """The events that stop the other nodes of a failed frame; not its failure node, which runs because of that."""
    reason = Cancel(f"node {failure.node} failed")
    return ((node, reason) for node in execution.active_in(frame) if node - frame.base != frame.graph.failure)


class GraphProgress:
    """The graphs of an execution during one call of `decide`.

    `todo` are events that a later call may handle. `inner` are events that follow from this call's decisions and that
    nothing else would send again: this call handles all of them.
    """

    __slots__ = ("_execution", "_inner", "_now", "_todo")

    def __init__(self, execution: Execution, todo: Queue, inner: Queue, now: float) -> None:
        self._execution = execution
        self._todo = todo
        self._inner = inner
        self._now = now

    def start(self, graph: Graph, parent: int, attempt: int, *, items: bool = False) -> Frame:
        """Start a graph inside the node `parent`, with the nodes that depend on nothing."""
        frame = self._execution.open_frame(graph, parent=parent, parent_attempt=attempt, items=items)
        self._todo.extend((frame.base + entry, Start()) for entry in graph.entries)
        return frame

    def start_items(self, frame: Frame, end: int) -> None:
        """Start the items of a map task's frame up to `end` (not included), as far as few of them wait."""
        self._todo.extend((node, Start()) for node in start_up_to(self._execution, frame, end))

    def start_waiting_items(self) -> bool:
        """Start items that the ones before them held back; returns whether that queued an event."""
        for frame in tuple(self._execution.filling):
            self._todo.extend((node, Start()) for node in next_items(self._execution, frame))
        return bool(self._todo)

    def select_case(self, view: NodeView, chosen: str) -> None:
        """Let the chosen case of a branch start, and skip the others."""
        frame = view.frame
        for case in frame.graph.cases.get(view.graph_index, ()):
            if frame.graph.node_id(case) == chosen:
                self._dependency_completed(frame, case)
            else:
                self._execution.phases[frame.base + case] = NodePhase.SKIPPED

    def may_start(self, node: int) -> bool:
        """Whether the node's graph, and its branch if it is a case, still run and start nodes."""
        frame = self._execution.frame_of(node)
        branch = frame.graph.case_of.get(node - frame.base)
        if frame.ended or (branch is not None and frame.base + branch not in self._execution.states):
            return False
        return self._starts_nodes(frame) or node - frame.base == frame.graph.failure

    def node_ended(self, view: NodeView, phase: NodePhase, failure: Failure | None) -> None:
        """Move the node's graph on after the node has ended."""
        frame = view.frame
        frame.active -= 1
        if frame.ended:
            return
        if frame.items:
            self._inner.append((frame.parent, ChildEnded(view.graph_index, failure)))
        elif view.graph_index == frame.graph.failure:
            self._end(frame)
        elif (branch := frame.graph.case_of.get(view.graph_index)) is not None:
            self._inner.append((frame.base + branch, ChildEnded(view.graph_index, failure)))
        elif failure is not None:
            self._fail(frame, failure)
        elif phase is _SUCCEEDED and view.graph_index == frame.graph.end:
            self._end(frame)
        elif phase is _SUCCEEDED:  # also if none may start any more: an execution that is loaded counts them, too
            for successor in frame.graph.downstream[view.graph_index]:
                self._dependency_completed(frame, successor)
        if frame.failure is not None and not frame.ended:
            self._execution.failing.append(frame)

    def cancel_inside(self, view: NodeView, state: State | None, event: Cancel) -> None:
        """Cancel the nodes inside a node: those of its frame, or the cases of a branch."""
        if state is None:
            return
        if (number := state.child_frame) is not None:
            frame = self._execution.frames[number]
            frame.ended = True
            self._inner.extend((node, event) for node in self._execution.active_in(frame))
        else:
            self._inner.extend((view.frame.base + case, event) for case in view.graph.cases.get(view.graph_index, ()))

    def finish_failed(self) -> bool:
        """End failed graphs in which no node is active or will start, after their failure node, if they have one.

        Returns whether that queued an event.
        """
        execution = self._execution
        while execution.failing:
            frame = execution.failing.pop()
            if frame.ended or frame.active or self._has_blocked(frame):
                continue
            failure_node = frame.graph.failure
            if failure_node is None:
                self._end(frame)
            elif execution.unmet[frame.base + failure_node]:
                if frame.parent < 0:
                    execution.phase = WorkflowPhase.HANDLING_FAILURE_NODE
                self._dependency_completed(frame, failure_node)
        return bool(self._todo or self._inner)

    def end_execution(self, phase: WorkflowPhase, failure: Failure | None) -> None:
        """End the execution: no timer and no event matters any more."""
        execution = self._execution
        execution.phase, execution.failure, execution.ended_at = phase, failure, self._now
        execution.timers.clear()
        self._todo.clear()

    def _dependency_completed(self, frame: Frame, number: int) -> None:
        node = frame.base + number
        self._execution.unmet[node] -= 1
        if not self._execution.unmet[node]:
            self._todo.append((node, Start()))

    def _starts_nodes(self, frame: Frame) -> bool:
        return frame.failure is None or frame.graph.policy is FailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE

    def _has_blocked(self, frame: Frame) -> bool:
        end = frame.base + len(frame.graph.nodes)
        return self._starts_nodes(frame) and any(frame.base <= node < end for node in self._execution.slots.blocked)

    def _fail(self, frame: Frame, failure: Failure) -> None:
        """Fail the graph by the first of its nodes that fails; its policy says whether the others are cancelled."""
        if frame.failure is not None:
            return
        frame.failure = failure
        if frame.parent < 0:
            self._execution.phase = WorkflowPhase.FAILING
        if frame.graph.policy is FailurePolicy.FAIL_IMMEDIATELY:
            self._todo.extend(cancels(self._execution, frame, failure))  # behind events that came at the same time

    def _end(self, frame: Frame) -> None:
        frame.ended = True
        if frame.parent >= 0:
            self._inner.append((frame.parent, SubgraphEnded(frame.failure)))
        else:
            self.end_execution(WorkflowPhase.FAILED if frame.failure else WorkflowPhase.SUCCEEDED, frame.failure)
