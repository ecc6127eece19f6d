"""Take over an execution that FlytePropeller (1.16) has left in flight.

Guarantees
    A node that has ended is not run again, and keeps the attempt under which FlytePropeller stored its outputs. An
    attempt that may have a pod is looked up by name, which is the same here, before anything is created. If the state
    cannot be taken over, NotUnderstood names the node and its state, and nothing has been done.
Assumptions
    FlytePropeller does not run any more. It writes a node's phase before the step that follows from it, so a node that
    it shows as not started has no pod.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from flyteidl.core import tasks_pb2

from propeller.clock import parse_rfc3339
from propeller.errors import ErrorKind, NotUnderstood
from propeller.status._flyte import ArrayStatus, BitArray, FlyteError, FlyteStatus, NodeStatus, TaskStatus
from propeller.status._snapshot import LoadGraph, recount
from propeller.workflow import (
    RUNNING_CASE,
    START_NODE,
    AtGate,
    BackingOff,
    Collecting,
    Execution,
    ExecutionInfo,
    Failure,
    Frame,
    Graph,
    ItemsGraph,
    Launching,
    NodeKind,
    NodePhase,
    NodeView,
    Plan,
    Preparing,
    Running,
    RunningSubgraph,
    RunningSubtasks,
    State,
    WorkflowPhase,
    WritingOutputs,
)

SUCCEEDED_PHASES = frozenset({4, 5, 12})
"""Succeeding (its outputs are stored, only its pod's finalizer may be left), Succeeded, Recovered."""
FAILED_PHASES = frozenset({3, 6, 9, 10})
"""Failing, Failed, TimingOut, TimedOut."""
STOPPING_PHASES = frozenset({3, 8, 9})
"""Failing, RetryableFailure, TimingOut: the pod still has to be deleted."""
SKIPPED, RETRYABLE_FAILURE = 7, 8

NO_POD_YET = frozenset({0, 1, 2, 9})
"""Phases of a task of which nothing was created: undefined, not ready, waiting for resources, waiting for the cache."""
POD_RUNS = 5

DYNAMIC_PARENT_DONE = frozenset({3, 4})
"""The dynamic node's own pod has ended, and its generated workflow has not begun."""
DYNAMIC_NODE = "dynamic-node"
"""Under which a dynamic node keeps the nodes that it made."""

ARRAY_EXECUTING, ARRAY_FAILING, ARRAY_SUCCEEDING = 1, 2, 3

_PHASES = {
    1: "Queued",
    2: "Running",
    3: "Failing",
    8: "RetryableFailure",
    9: "TimingOut",
    11: "DynamicRunning",
}

RunsPods = Callable[[tasks_pb2.TaskTemplate], bool]
"""Whether the attempts of a task are pods under the names that we know."""


async def take_over(
    info: ExecutionInfo, plan: Plan, status: dict[str, Any], load_graph: LoadGraph, runs_pods: RunsPods, now: float
) -> Execution:
    """Build the execution from FlytePropeller's status. Pods that must still be deleted are in
    `execution.slots.stopping`.

    Raises NotUnderstood, and what `load_graph` raises.
    """
    try:
        found = msgspec.convert(status, FlyteStatus)
    except (msgspec.ValidationError, RecursionError) as error:
        raise NotUnderstood(f"the status that FlytePropeller left of {info.namespace}/{info.name}: {error}") from error
    execution = Execution(info, plan, now=_time(found.started_at, now))
    await _Takeover(execution, found, load_graph, runs_pods, now).run()
    return execution


class _Takeover:
    def __init__(
        self, execution: Execution, status: FlyteStatus, load_graph: LoadGraph, runs_pods: RunsPods, now: float
    ) -> None:
        self._execution = execution
        self._status = status
        self._load_graph = load_graph
        self._runs_pods = runs_pods
        self._now = now
        self._handlers: dict[NodeKind, Callable[[NodeView, NodeStatus], Awaitable[State | None]]] = {
            NodeKind.TASK: self._task,
            NodeKind.WORKFLOW: self._workflow,
            NodeKind.BRANCH: self._branch,
            NodeKind.ARRAY: self._array,
            NodeKind.GATE: self._gate,
        }

    async def run(self) -> None:
        execution, phase = self._execution, WorkflowPhase(self._status.phase)
        root = await self._frame(execution.plan.root, self._status.node_status or {})
        if phase in {WorkflowPhase.FAILING, WorkflowPhase.HANDLING_FAILURE_NODE}:
            root.failure = root.failure or _failure(self._status.error, self._status.message, "")
        if phase is WorkflowPhase.HANDLING_FAILURE_NODE:
            self._abort_all_but(root.base + root.graph.failure if root.graph.failure is not None else -1)
        for frame in execution.frames:
            recount(execution, frame)
        execution.phase = WorkflowPhase.RUNNING if root.failure is None else WorkflowPhase.FAILING
        if _failure_node_has_ended(execution, root):
            root.ended = True
            execution.phase, execution.failure, execution.ended_at = WorkflowPhase.FAILED, root.failure, self._now

    async def _frame(
        self, graph: Graph, statuses: dict[str, NodeStatus | None], parent: int = -1, attempt: int = 0
    ) -> Frame:
        known = {START_NODE, *(graph.node_id(number) for number in range(len(graph.nodes)))}
        begun = (name for name, status in statuses.items() if status is not None and status.phase)
        if strange := sorted(set(begun) - known):
            where = self._execution.view(parent).log_name if parent >= 0 else self._execution.key
            raise NotUnderstood(f"{where}: FlytePropeller left states of nodes that it does not have, {strange[:3]}")
        frame = self._execution.open_frame(graph, parent=parent, parent_attempt=attempt)
        for number in range(len(graph.nodes)):
            status = statuses.get(graph.node_id(number))
            if status is not None and status.phase and number != graph.end:  # the end node is cheap to decide again
                await self._node(self._execution.view(frame.base + number), status)
        for branch, cases in graph.cases.items():
            self._settle_branch(frame, branch, cases)
        failed = (self._execution.failures.get(frame.base + number) for number in _deciding(graph))
        frame.failure = next((failure for failure in failed if failure is not None), None)
        return frame

    async def _node(self, node: NodeView, status: NodeStatus) -> None:
        execution, number = self._execution, node.number
        execution.attempts[number] = status.attempts
        if status.system_failures:
            execution.system_failures[number] = status.system_failures
        execution.started[number] = max(0.0, _time(status.queued_at, self._now) - execution.created_at)
        is_task = node.spec.kind is NodeKind.TASK
        if is_task and status.phase in STOPPING_PHASES:
            execution.slots.stopping.add((number, status.attempts))
        if status.phase in SUCCEEDED_PHASES:
            execution.phases[number] = NodePhase.SUCCEEDED
        elif status.phase == SKIPPED:
            execution.phases[number] = NodePhase.SKIPPED
        elif status.phase in FAILED_PHASES:
            self._fail(node, _failure(status.error, status.message, execution.unique_id(number)))
        elif status.phase not in _PHASES or node.spec.kind not in self._handlers:
            raise self._refusal(node, status, f"a {node.spec.kind} node is not gone on from")
        else:
            state = await self._handlers[node.spec.kind](node, status)
            if state is not None:
                execution.phases[number] = NodePhase.RUNNING
                execution.states[number] = state

    def _fail(self, node: NodeView, failure: Failure) -> None:
        self._execution.phases[node.number] = NodePhase.FAILED
        self._execution.failures[node.number] = failure

    async def _task(self, node: NodeView, status: NodeStatus) -> State:
        task = node.graph.plan.task(node.spec.task)
        if not self._runs_pods(task):
            raise self._refusal(
                node, status, f"its task is of type {task.type!r}, which runs as something else than a pod"
            )
        attempt, since = status.attempts, _time(status.last_attempt_started_at, self._now)
        if status.phase == RETRYABLE_FAILURE:
            if attempt == 255:
                raise self._refusal(node, status, "it has no further attempt")
            self._execution.attempts[node.number] = attempt + 1
            return BackingOff(attempt + 1, self._now, self._now, status.message)
        dynamic = status.dynamic_node_status
        if dynamic is not None and dynamic.phase in DYNAMIC_PARENT_DONE:
            return Collecting(attempt, since)
        if dynamic is not None and dynamic.phase:
            made = (status.sub_node_status or {}).get(DYNAMIC_NODE)
            graph = await self._load_graph(node, attempt)
            frame = await self._frame(graph, (made.sub_node_status if made else None) or {}, node.number, attempt)
            return RunningSubgraph(frame.number, attempt, since)
        phase = status.task_node_status.phase if status.task_node_status is not None else 0
        if phase in NO_POD_YET:
            return Launching(attempt, self._now)
        return Running(attempt, since, phase >= POD_RUNS)

    async def _workflow(self, node: NodeView, status: NodeStatus) -> State | None:
        reference = node.spec.workflow.sub_workflow_ref if node.spec.workflow is not None else None
        if not reference:
            raise self._refusal(node, status, "it runs a launch plan, whose execution is not followed")
        if status.phase == RETRYABLE_FAILURE:
            raise self._refusal(node, status, "a sub-workflow between two attempts is not gone on from")
        if not status.sub_node_status:
            return Preparing()
        graph = node.graph.plan.sub_workflows[reference]
        frame = await self._frame(graph, status.sub_node_status, node.number, status.attempts)
        own = status.workflow_node_status
        if own is not None and own.execution_error is not None and frame.failure is None:
            frame.failure = _failure(own.execution_error, "", self._execution.unique_id(node.number))
        if frame.failure is not None and _failure_node_has_ended(self._execution, frame):
            frame.ended = True
            self._fail(node, frame.failure)
            return None
        return RunningSubgraph(frame.number, status.attempts)

    async def _branch(self, node: NodeView, status: NodeStatus) -> State:
        own = status.branch_status
        if own is None or own.final is None:
            return Preparing()
        chosen = node.graph.number_of(own.final)
        if chosen is None or chosen not in node.graph.cases.get(node.graph_index, ()):
            raise self._refusal(node, status, f"it has chosen {own.final!r}, which is none of its cases")
        for case in node.graph.cases[node.graph_index]:
            if case != chosen:
                self._execution.phases[node.frame.base + case] = NodePhase.SKIPPED
        return RUNNING_CASE

    async def _gate(self, node: NodeView, status: NodeStatus) -> State:
        """Go on waiting. An answer that only FlyteAdmin knows has to be given again."""
        if status.phase == RETRYABLE_FAILURE:
            self._execution.attempts[node.number] = min(status.attempts + 1, 255)
            return AtGate(self._now)
        return AtGate(_time(status.last_attempt_started_at, self._now))

    def _settle_branch(self, frame: Frame, branch: int, cases: list[int]) -> None:
        """End a branch like its case; cases that were not chosen never run."""
        execution, base = self._execution, frame.base
        if execution.phases[base + branch] == NodePhase.SUCCEEDED:
            for case in cases:
                if execution.phases[base + case] == NodePhase.NOT_STARTED:
                    execution.phases[base + case] = NodePhase.SKIPPED
        if execution.states.get(base + branch) != RUNNING_CASE:
            return
        for case in cases:
            match execution.phases[base + case]:
                case NodePhase.SUCCEEDED:
                    del execution.states[base + branch]
                    execution.phases[base + branch] = NodePhase.SUCCEEDED
                case NodePhase.FAILED:
                    del execution.states[base + branch]
                    self._fail(execution.view(base + branch), execution.failures[base + case])

    async def _array(self, node: NodeView, status: NodeStatus) -> State | None:
        if status.phase == RETRYABLE_FAILURE:
            raise self._refusal(node, status, "a map task between two attempts is not gone on from")
        own = status.array_node_status
        if own is None and status.task_node_status is not None:
            raise self._refusal(node, status, "a task of type container_array in flight is not gone on from")
        if own is None or not own.phase:
            return Preparing()
        assert node.spec.array is not None
        if node.spec.array.sub_node_spec.kind is not NodeKind.TASK:
            raise self._refusal(node, status, "it maps over something else than a task")
        size = own.phases.count
        graph = ItemsGraph(node.graph.plan, node.spec, size)
        frame = self._execution.open_frame(graph, parent=node.number, parent_attempt=status.attempts, items=True)
        columns = (own.phases, own.task_phases, own.attempts, own.system_failures)
        rows = zip(*(_padded(column, size) for column in columns), strict=True)
        for number, (phase, task_phase, attempts, system_failures) in enumerate(rows):
            if phase:
                task = TaskStatus(task_phase)
                item = NodeStatus(phase, attempts=min(attempts, 255), system_failures=min(system_failures, 255))
                item = msgspec.structs.replace(item, task_node_status=task)
                await self._node(self._execution.view(frame.base + number), item)
        return self._of_items(node, frame, own)

    def _of_items(self, node: NodeView, frame: Frame, own: ArrayStatus) -> State | None:
        phases = self._execution.phases[frame.base : frame.base + len(frame.graph.nodes)]
        size = len(phases)
        succeeded, failed = phases.count(NodePhase.SUCCEEDED), phases.count(NodePhase.FAILED)
        first_failed = phases.find(NodePhase.FAILED)
        first = self._execution.failures[frame.base + first_failed] if first_failed >= 0 else None
        assert node.spec.array is not None
        if own.phase == ARRAY_FAILING or size - failed < node.spec.array.needed(size):
            unique_id = self._execution.unique_id(node.number)
            frame.ended = True
            self._abort(range(frame.base, frame.base + size))
            self._fail(node, first or _failure(own.error, "items of the map task failed", unique_id))
            return None
        if own.phase == ARRAY_SUCCEEDING or succeeded + failed == size:
            return WritingOutputs(frame.number)
        begun = max((at + 1 for at in range(size) if phases[at]), default=0)
        following = max(begun, min(size, node.spec.array.parallelism or size))
        return RunningSubtasks(frame.number, size, following, succeeded, failed, first, first_failed)

    def _abort_all_but(self, kept: int) -> None:
        """Abort nodes other than the failure node: FlytePropeller aborted them before it, without recording that."""
        execution = self._execution
        inside = {frame.number for frame in execution.frames if _is_within(execution, frame, kept)}
        others = [n for n in execution.states if n != kept and execution.frame_of(n).number not in inside]
        for frame in execution.frames[1:]:
            frame.ended = frame.ended or frame.number not in inside
        self._abort(others)

    def _abort(self, nodes: Any) -> None:
        for number in nodes:
            state = self._execution.states.pop(number, None)
            if state is None:
                continue
            self._execution.phases[number] = NodePhase.ABORTED
            if isinstance(state, Launching | Running):
                self._execution.slots.stopping.add((number, state.attempt))

    def _refusal(self, node: NodeView, status: NodeStatus, why: str) -> NotUnderstood:
        phase = _PHASES.get(status.phase, f"phase {status.phase}")
        return NotUnderstood(
            f"{node.log_name} was left by FlytePropeller as {phase} (attempt {status.attempts}): {why}"
        )


def _deciding(graph: Graph) -> list[int]:
    """The nodes whose failure is their graph's: a case's is its branch's, a failure node's comes after it."""
    return [n for n in range(len(graph.nodes)) if n not in graph.case_of and n != graph.failure]


def _failure_node_has_ended(execution: Execution, frame: Frame) -> bool:
    number = frame.graph.failure
    ended = {NodePhase.SUCCEEDED, NodePhase.FAILED}
    return frame.failure is not None and number is not None and execution.phases[frame.base + number] in ended


def _is_within(execution: Execution, frame: Frame, node: int) -> bool:
    """Whether a frame is inside of a node, however deep."""
    while frame.parent >= 0:
        if frame.parent == node:
            return True
        frame = execution.frame_of(frame.parent)
    return False


def _padded(column: BitArray, size: int) -> list[int]:
    numbers = column.numbers()[:size]
    return numbers + [0] * (size - len(numbers))


def _failure(error: FlyteError | None, message: str, node: str) -> Failure:
    if error is None:
        return Failure("UnknownError", message or "it failed under FlytePropeller, which left no reason", node=node)
    kind = ErrorKind.SYSTEM if error.kind in {"SYSTEM", 2} else ErrorKind.USER
    return Failure(error.code or "UnknownError", error.message, kind, node=node)


def _time(text: str | None, otherwise: float) -> float:
    try:
        found = parse_rfc3339(text or "")
    except ValueError:
        return otherwise
    return found if math.isfinite(found) else otherwise
