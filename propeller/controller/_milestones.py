"""Report on executions: log lines at info, metrics, and Kubernetes Events on the resource.

Guarantees
    One line when an execution is accepted, starts to wait, fails, is aborted or succeeds; none for a pod or a node that
    succeeds. An execution that waits repeatedly has at most one line per `WAIT_SECONDS`.
    The end is reported once its status is written. Reports cost no requests but the recorder's, which are limited, and
    block nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from propeller.clock import Clock
from propeller.controller._events import Recorder, Subject
from propeller.controller._executions import Executions
from propeller.controller._lineage import Lineage
from propeller.controller._resource import FlyteWorkflow
from propeller.controller._session import STAGES, Running, Session
from propeller.kube import ObjectMeta
from propeller.recording import NORMAL, WARNING
from propeller.telemetry import ExecutionMetrics
from propeller.text import headline
from propeller.workflow import (
    Decision,
    Execution,
    Failure,
    Launched,
    NodeEvent,
    NodeKind,
    NodePhase,
    NodeView,
    Refused,
    WorkflowPhase,
)

_log = logging.getLogger("propeller.controller")

WAIT_SECONDS = 600.0
"""Quotas have room for one pod now and then: an execution at its quota would be told of at each of them."""

HEADLINE = 300
"""Characters of an error in a line of the log, and of an event: the status has the whole."""

_PHASES = {int(phase): phase.name.lower() for phase in NodePhase}


class Milestones:
    """Reports on the executions of one process; `recorder` None: no Events; `lineage` None: none of
    OpenLineage.
    """

    def __init__(
        self, metrics: ExecutionMetrics, recorder: Recorder | None, clock: Clock, lineage: Lineage | None = None
    ) -> None:
        self._metrics = metrics
        self._recorder = recorder
        self._clock = clock
        self._lineage = lineage

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send events of lineage, if there is a receiver, until the block is left."""
        if self._lineage is None:
            yield
            return
        async with self._lineage.running():
            yield

    def follow(self, executions: Executions) -> None:
        """Have each scrape count the executions in memory and the evicted ones."""

        def states() -> Iterator[tuple[tuple[str, ...], float]]:
            stages = Counter(session.stage for session in executions.sessions.values())
            for stage in STAGES:
                yield (stage,), stages[stage]
            yield ("resting",), len(executions.evicted)

        def nodes_active() -> Iterator[tuple[tuple[str, ...], float]]:
            sessions = executions.sessions.values()
            yield (), sum(len(session.execution.states) for session in sessions if isinstance(session, Running))

        self._metrics.watch(states, nodes_active)

    def accepted(self, execution: Execution) -> None:
        """Report that it starts; not repeated after a restart."""
        self._metrics.accepted()
        _log.info("%s accepted", execution.key)
        if self._recorder is not None:
            self._recorder.record(_subject(execution), NORMAL, "Accepted", "the execution has begun")
        if self._lineage is not None:
            self._lineage.accepted(execution)

    def decided(self, execution: Execution, decision: Decision) -> None:
        """Report the nodes and attempts that a reconcile ended."""
        for view, retried in decision.retried:
            self._metrics.attempt_failed(retried.kind.value, retried.code, retried=True)
            if self._lineage is not None:
                self._lineage.retried(view, retried)
        for view in decision.ended:
            node, kind = view.number, view.spec.kind
            if kind is NodeKind.END:
                continue
            if self._lineage is not None:
                self._lineage.node_ended(view)
            seconds = execution.ended[node] - execution.started[node]
            self._metrics.node_ended(str(kind), _PHASES[execution.phases[node]], seconds)
            if execution.phases[node] == NodePhase.FAILED and (failure := execution.failures.get(node)) is not None:
                self._node_failed(execution, view, failure)

    def _node_failed(self, execution: Execution, view: NodeView, failure: Failure) -> None:
        if view.spec.has_attempts:
            self._metrics.attempt_failed(failure.kind.value, failure.code, retried=False)
        if self._recorder is not None and failure.node == execution.unique_id(view.number):  # and not by another's
            self._recorder.record(_subject(execution), WARNING, "NodeFailed", _said(failure))

    def launched(self, session: Running, node: NodeView, events: tuple[NodeEvent, ...]) -> None:
        """Report that a resource was created, or refused."""
        for event in events:
            if isinstance(event, Launched):
                self._metrics.launched()
                if self._lineage is not None:
                    self._lineage.launched(node, event.attempt)
            elif isinstance(event, Refused):
                self._metrics.refused()
                self.waits(session, node, event.reason)

    def waits(self, session: Running, node: NodeView, reason: str) -> None:
        """Report that a node's resource cannot be created, or cannot start."""
        now = self._clock.monotonic()
        if now < session.told_waiting + WAIT_SECONDS:
            return
        session.told_waiting = now
        why = f"node {node.execution.unique_id(node.number)}: {headline(reason, HEADLINE)}"
        _log.info("%s waits: %s", session.key, why)
        if self._recorder is not None:
            self._recorder.record(_subject(node.execution), WARNING, "Waiting", why)

    def left_alone(self, workflow: FlyteWorkflow, error: Exception) -> None:
        """Report that it waits, as its state is damaged or of another version. `UnknownStates` logs it."""
        if self._recorder is not None:
            why = f"its state is left as it is: {headline(str(error), HEADLINE)}"
            self._recorder.record(_subject_of(workflow.metadata), WARNING, "Waiting", why)

    def written(self, seconds: float, size: int) -> None:
        """Report a status write: its seconds, and the bytes of the snapshot."""
        self._metrics.written(seconds, size)

    def not_written(self) -> None:
        self._metrics.not_written()

    def ended(self, execution: Execution) -> None:
        """Report the end, after its status was written."""
        if self._lineage is not None:
            self._lineage.ended(execution)
        lasted = max(0.0, (execution.ended_at or execution.created_at) - execution.created_at)
        self._end(_subject(execution), execution.phase, execution.failure, lasted)

    def gone(self, session: Session) -> None:
        """Report that an execution was deleted, which may have been before its end."""
        if self._lineage is not None and isinstance(session, Running) and not session.execution.phase.ended:
            self._lineage.gone(session.execution)

    def rejected(self, workflow: FlyteWorkflow, phase: WorkflowPhase, failure: Failure) -> None:
        """Report that a workflow cannot run, or that no version can continue it."""
        self._end(_subject_of(workflow.metadata), phase, failure, 0.0)

    def _end(self, subject: Subject, phase: WorkflowPhase, failure: Failure | None, lasted: float) -> None:
        word = phase.name.lower()
        self._metrics.ended(word, failure.kind.value if failure else "", failure.code if failure else "", lasted)
        said = f"after {_duration(lasted)}" + (f": {_said(failure)}" if failure is not None else "")
        _log.info("%s/%s %s %s", subject.namespace, subject.name, word, said)
        if self._recorder is not None:
            type_ = WARNING if phase is WorkflowPhase.FAILED else NORMAL
            self._recorder.record_end(subject, type_, phase.name.title(), said)


def _said(failure: Failure) -> str:
    where = f"node {failure.node}, attempt {failure.attempt + 1}: " if failure.node else ""
    return f"{where}{failure.kind.value} {failure.code}: {headline(failure.message, HEADLINE)}"


def _duration(seconds: float) -> str:
    """`0.25 s`, `42 s`, `2 h 5 min`: as precise as people need it."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _subject(execution: Execution) -> Subject:
    info = execution.info
    return Subject(info.namespace, info.name, info.uid)


def _subject_of(metadata: ObjectMeta) -> Subject:
    return Subject(metadata.namespace, metadata.name, metadata.uid)
