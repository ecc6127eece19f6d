"""Executions that nodes start: the attempt of a launch plan's node is a FlyteWorkflow, run by the controller as any.

It is observed as the resource of a plugin, so that attempts of such nodes begin, end, time out, are stopped and are
found again as those of tasks. `handlers.executors` builds it, which takes I/O, in the cluster of the FlyteWorkflows.

Guarantees
    A FlyteWorkflow counts as an attempt's only by owner reference: labels name no owner here.
    Whatever its status says, nothing raises: it is a stranger's.
    An execution that failed or was aborted fails its node for good, with its own error: what could be retried was
    retried inside of it.
"""

from __future__ import annotations

from typing import Any

from propeller.errors import ErrorKind
from propeller.handlers.plugins._api import DEFAULT_GRACE, AttemptObserver
from propeller.kube import KubeObject, ObjectMeta, Resource
from propeller.workflow import AttemptObserved, AttemptPhase, Failure, Remains, WorkflowPhase

NESTING_ANNOTATION = "propeller/nesting"
"""How many executions are around this one, each started by a launch plan's node of the next."""

RECOVERED_PARENT_ANNOTATION = "propeller/recovered-parent"
"""The uid of the execution that has started the one which this one recovers: its name alone may be a namesake's."""

ABORTED = "RemoteChildWorkflowExecutionFailed"
"""Error code of a node whose execution was aborted or deleted; FlytePropeller's."""

KIND = "FlyteWorkflow"

_ENDED = {int(phase): phase for phase in WorkflowPhase if phase.ended}


class ChildWorkflow(KubeObject, frozen=True, rename="camel"):
    """What is read of an execution by the one that has started it."""

    status: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it


CHILD_WORKFLOWS: Resource[ChildWorkflow] = Resource(
    group="flyte.lyft.com", version="v1alpha1", kind=KIND, plural="flyteworkflows", type=ChildWorkflow
)


class ChildObserver(AttemptObserver):
    """Observes executions that nodes have started."""

    resource = CHILD_WORKFLOWS

    def observe(self, obj: Any, attempt: int) -> AttemptObserved:
        match phase_of(obj):
            case WorkflowPhase.SUCCEEDED:
                return AttemptObserved(attempt, AttemptPhase.SUCCEEDED)
            case None if obj.metadata.deletion_timestamp is not None:
                return AttemptObserved(attempt, AttemptPhase.RUNNING, remains=Remains.ENDING, grace=DEFAULT_GRACE)
            case None:
                return AttemptObserved(attempt, AttemptPhase.RUNNING)
            case phase:
                return AttemptObserved(attempt, AttemptPhase.FAILED, failure=_failure(obj, attempt, phase))

    def missing(self, name: str, attempt: int) -> AttemptObserved:
        message = f"execution {name} is gone before its end was seen: somebody deleted it"
        failure = Failure(ABORTED, message, ErrorKind.SYSTEM, attempt=attempt)
        return AttemptObserved(attempt, AttemptPhase.GONE, failure=failure)


CHILD = ChildObserver()


def phase_of(obj: Any) -> WorkflowPhase | None:
    """Return the phase of an execution that has ended, None for any other."""
    phase = obj.status.get("phase")
    return _ENDED.get(phase) if isinstance(phase, int) else None


def parents_of(metadata: ObjectMeta) -> tuple[str, ...]:
    """Return the uids of the executions that own one; for an index."""
    references = metadata.owner_references
    return tuple(one.uid for one in references if one.kind == KIND) if references else ()


def parent_of(metadata: ObjectMeta) -> str | None:
    """Return the name of the execution that owns one, in its namespace; None if none does."""
    return next((one.name for one in metadata.owner_references if one.kind == KIND), None)


def _failure(obj: Any, attempt: int, phase: WorkflowPhase) -> Failure:
    name, error = obj.metadata.name, obj.status.get("error")
    error = error if isinstance(error, dict) else {}
    said = _text(error.get("message"))
    if phase is WorkflowPhase.ABORTED:
        message = f"execution {name} was aborted" + (f": {said}" if said else "")
        return Failure(ABORTED, message, ErrorKind.SYSTEM, attempt=attempt)
    kind = ErrorKind.SYSTEM if error.get("kind") == ErrorKind.SYSTEM else ErrorKind.USER
    code = _text(error.get("code")) or "Unknown"
    return Failure(code, f"execution {name} failed: {said or 'its status does not say why'}", kind, attempt=attempt)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
