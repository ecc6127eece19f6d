"""Events of lineage of one controller's executions.

Guarantees
    An execution has a START when it is accepted, and COMPLETE, FAIL or ABORT after its end is written. An attempt of a
    task, of a map node's item, or of a launch plan has a START when its resource exists, and an end when that is
    decided; one that runs nothing itself (a cached task, a map node, a sub-workflow) has both at its end. What runs
    inside of a node has the node's run as its parent. Items of map nodes with too many (`lineage.items`) have none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from propeller.clock import Clock
from propeller.config import LineageOptions, Settings
from propeller.lineage import Emitter, Job, Report, State, run_id
from propeller.storage import Storage
from propeller.telemetry import Metrics
from propeller.workflow import CacheStatus, Execution, Failure, NodeKind, NodePhase, NodeView, WorkflowPhase

_TOLD = frozenset({NodeKind.TASK, NodeKind.ARRAY, NodeKind.WORKFLOW})
_ENDS = {
    NodePhase.SUCCEEDED: State.COMPLETE,
    NodePhase.FAILED: State.FAIL,
    NodePhase.ABORTED: State.ABORT,
}
_ENDS_OF_EXECUTION = {
    WorkflowPhase.SUCCEEDED: State.COMPLETE,
    WorkflowPhase.FAILED: State.FAIL,
    WorkflowPhase.ABORTED: State.ABORT,
}


class Lineage:
    """See the module's text. Nothing here waits or raises."""

    def __init__(self, emitter: Emitter, options: LineageOptions, clock: Clock) -> None:
        self._emitter = emitter
        self._namespace = options.namespace
        self._items = options.items
        self._clock = clock

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send events until the block is left."""
        async with self._emitter.running():
            yield

    def accepted(self, execution: Execution) -> None:
        """The execution begins."""
        report = Report(State.START, execution.created_at, self._job(execution), tags=_tags(execution))
        self._emitter.submit(report)

    def ended(self, execution: Execution) -> None:
        """Its end is written."""
        at = execution.ended_at or self._clock.now()
        state, failure = _ENDS_OF_EXECUTION[execution.phase], execution.failure
        error = "" if failure is None else _error(failure)
        outputs = execution.frame_outputs_uri(execution.frames[0]) if state is State.COMPLETE else ""
        job, tags = self._job(execution), _tags(execution)
        self._emitter.submit(
            Report(state, at, job, tags=tags, inputs=execution.info.inputs, outputs=outputs, error=error)
        )

    def gone(self, execution: Execution) -> None:
        """It was deleted before its end."""
        now = self._clock.now()
        for node in execution.states:
            view = execution.view(node)
            if self._is_told(view):
                self._end(view, State.ABORT, now)
        self._emitter.submit(Report(State.ABORT, now, self._job(execution), tags=_tags(execution)))

    def launched(self, view: NodeView, attempt: int) -> None:
        """The resource of an attempt exists."""
        if self._is_told(view):
            self._submit(view, attempt, State.START, self._clock.now())

    def retried(self, view: NodeView, failure: Failure) -> None:
        """An attempt has failed, and another one follows."""
        if self._is_told(view):
            self._submit(view, failure.attempt, State.FAIL, self._clock.now(), _error(failure))

    def node_ended(self, view: NodeView) -> None:
        """A node has ended."""
        execution, node = view.execution, view.number
        state = _ENDS.get(NodePhase(execution.phases[node]))
        if state is not None and self._is_told(view):
            self._end(view, state, execution.created_at + execution.ended[node])

    def _is_told(self, view: NodeView) -> bool:
        """Whether the node has events."""
        return view.spec.kind in _TOLD and (view.item is None or len(view.graph.nodes) <= self._items)

    def _end(self, view: NodeView, state: State, at: float) -> None:
        execution, node = view.execution, view.number
        attempt = execution.attempts[node]
        is_hit = execution.cache.of(node) is CacheStatus.HIT
        if is_hit or not view.spec.has_attempts:
            self._submit(view, attempt, State.START, execution.created_at + execution.started[node])
        failure = execution.failures.get(node) if state is State.FAIL else None
        error = "" if failure is None else _error(failure)
        self._submit(view, attempt, state, at, error, is_hit=is_hit)

    def _submit(
        self, view: NodeView, attempt: int, state: State, at: float, error: str = "", *, is_hit: bool = False
    ) -> None:
        execution, node = view.execution, view.number
        tags = _tags(execution) | {"node": execution.unique_id(node), "attempt": str(attempt + 1)}
        if view.item is not None:
            tags["item"] = str(view.item)
        if view.spec.kind is NodeKind.TASK:
            identity = view.graph.plan.task(view.spec.task).id
            tags |= {"task": identity.name, "task_version": identity.version, "cached": "true" if is_hit else ""}
        report = Report(
            state,
            at,
            self._job_of(view, attempt),
            self._around(view),
            tags,
            "" if state is State.START else execution.inputs_uri(node),
            f"{execution.output_directory(node, attempt)}/outputs.pb" if state is State.COMPLETE else "",
            error,
            self._job(execution),
        )
        self._emitter.submit(report)

    def _job(self, execution: Execution) -> Job:
        namespace = self._namespace or execution.info.namespace
        return Job(namespace, _name(execution), run_id(execution.info.uid), "WORKFLOW")

    def _around(self, view: NodeView) -> Job:
        """The run of the node in whose graph this one is: a sub-workflow, a dynamic task, a map node; else of all."""
        frame, execution = view.frame, view.execution
        return (
            self._job(execution)
            if frame.parent < 0
            else self._job_of(execution.view(frame.parent), frame.parent_attempt)
        )

    def _job_of(self, view: NodeView, attempt: int) -> Job:
        """A node's job; all items of a map node are runs of one job."""
        execution, node = view.execution, view.execution.unique_id(view.number)
        named = node if view.item is None else f"{execution.unique_id(view.frame.parent)}.item"
        kind = "TASK" if view.spec.kind is NodeKind.TASK else "WORKFLOW"
        namespace = self._namespace or execution.info.namespace
        return Job(namespace, f"{_name(execution)}.{named}", run_id(execution.info.uid, node, attempt), kind)


def lineage(settings: Settings, storage: Storage, clock: Clock, metrics: Metrics) -> Lineage | None:
    """What reports on the executions of a controller; None if the settings name no receiver."""
    options = settings.lineage
    return Lineage(Emitter(options, storage, clock, metrics.lineage), options, clock) if options.url else None


def _name(execution: Execution) -> str:
    return execution.plan.root.id.rpartition(":")[2] or execution.info.name


def _tags(execution: Execution) -> dict[str, str]:
    info = execution.info
    return {"execution": execution.key, "project": info.project, "domain": info.domain}


def _error(failure: Failure) -> str:
    return f"{failure.kind.value} {failure.code}: {failure.message}"
