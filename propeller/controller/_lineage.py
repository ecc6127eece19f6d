"""Events of lineage of one controller's executions.

Guarantees
    An execution has a START when it is accepted, and COMPLETE, FAIL or ABORT after its end is written. An attempt of a
    task has a START when its resource exists, and an end when that is decided; one that runs nothing (a cached task, a
    map task) has both at its end. Items of map tasks have none: their map task has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from propeller.clock import Clock
from propeller.config import Settings
from propeller.lineage import Emitter, Job, Report, State, run_id
from propeller.storage import Storage
from propeller.telemetry import Metrics
from propeller.workflow import CacheStatus, Execution, Failure, NodeKind, NodePhase, NodeView, WorkflowPhase

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

    def __init__(self, emitter: Emitter, namespace: str, clock: Clock) -> None:
        self._emitter = emitter
        self._namespace = namespace
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
            if view.item is None and view.spec.kind is NodeKind.TASK:
                self._submit(view, execution.attempts[node], State.ABORT, now)
        self._emitter.submit(Report(State.ABORT, now, self._job(execution), tags=_tags(execution)))

    def launched(self, view: NodeView, attempt: int) -> None:
        """The resource of an attempt exists."""
        if view.item is None:
            self._submit(view, attempt, State.START, self._clock.now())

    def retried(self, execution: Execution, failure: Failure) -> None:
        """An attempt has failed, and another one follows."""
        job = self._job_of(execution, failure.node, failure.attempt)
        tags = _tags(execution) | {"node": failure.node, "attempt": str(failure.attempt + 1)}
        parent = self._job(execution)
        self._emitter.submit(Report(State.FAIL, self._clock.now(), job, parent, tags, error=_error(failure)))

    def node_ended(self, view: NodeView) -> None:
        """A node has ended."""
        execution, node = view.execution, view.number
        state = _ENDS.get(NodePhase(execution.phases[node]))
        if state is None or view.item is not None or view.spec.kind not in (NodeKind.TASK, NodeKind.ARRAY):
            return
        attempt = execution.attempts[node]
        is_hit = execution.cache.of(node) is CacheStatus.HIT
        if is_hit or view.spec.kind is NodeKind.ARRAY:
            self._submit(view, attempt, State.START, execution.created_at + execution.started[node])
        failure = execution.failures.get(node) if state is State.FAIL else None
        error = "" if failure is None else _error(failure)
        self._submit(view, attempt, state, execution.created_at + execution.ended[node], error, is_hit=is_hit)

    def _submit(
        self, view: NodeView, attempt: int, state: State, at: float, error: str = "", *, is_hit: bool = False
    ) -> None:
        execution, node = view.execution, view.number
        name = execution.unique_id(node)
        tags = _tags(execution) | {"node": name, "attempt": str(attempt + 1)}
        if view.spec.kind is NodeKind.TASK:
            identity = view.graph.plan.task(view.spec.task).id
            tags |= {"task": identity.name, "task_version": identity.version, "cached": "true" if is_hit else ""}
        report = Report(
            state,
            at,
            self._job_of(execution, name, attempt),
            self._job(execution),
            tags,
            "" if state is State.START else execution.inputs_uri(node),
            f"{execution.output_directory(node, attempt)}/outputs.pb" if state is State.COMPLETE else "",
            error,
        )
        self._emitter.submit(report)

    def _job(self, execution: Execution) -> Job:
        namespace = self._namespace or execution.info.namespace
        return Job(namespace, _name(execution), run_id(execution.info.uid), "WORKFLOW")

    def _job_of(self, execution: Execution, node: str, attempt: int) -> Job:
        namespace = self._namespace or execution.info.namespace
        return Job(namespace, f"{_name(execution)}.{node}", run_id(execution.info.uid, node, attempt), "TASK")


def lineage(settings: Settings, storage: Storage, clock: Clock, metrics: Metrics) -> Lineage | None:
    """What reports on the executions of a controller; None if the settings name no receiver."""
    options = settings.lineage
    return Lineage(Emitter(options, storage, clock, metrics.lineage), options.namespace, clock) if options.url else None


def _name(execution: Execution) -> str:
    return execution.plan.root.id.rpartition(":")[2] or execution.info.name


def _tags(execution: Execution) -> dict[str, str]:
    info = execution.info
    return {"execution": execution.key, "project": info.project, "domain": info.domain}


def _error(failure: Failure) -> str:
    return f"{failure.kind.value} {failure.code}: {failure.message}"
