"""The FlyteWorkflow object as the informer keeps it: identity, status and what its execution asked for, without its
closure.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from flyteidl.core import literals_pb2

from propeller.clock import parse_rfc3339
from propeller.controller._kind import FLYTE_WORKFLOWS
from propeller.decoding import read
from propeller.errors import Invalid, NotUnderstood
from propeller.handlers.plugins import ChildWorkflow
from propeller.informers import Change
from propeller.kube import KubeObject, ObjectMeta, Resource
from propeller.storage import require_names
from propeller.wire import Literals
from propeller.workflow import (
    ExecutionInfo,
    ExecutionSpec,
    WorkflowPhase,
    check_execution,
    execution_directories,
    parse_message,
    without_signals,
)

EMPTY = msgspec.Raw(b"")
MAX_INPUT_OBJECTS = 200_000
"""JSON objects in the inputs of a resource: a literal of any value takes 40 bytes and has three, so that 1.5 MiB, which
is all that etcd takes, hold 120,000. Empty ones would be half a million.
"""

_NOTHING = (b"", b"null")

_PHASES = {int(phase): phase for phase in WorkflowPhase}


class FlyteWorkflow(ExecutionSpec, frozen=True, rename="camel", kw_only=True):
    """A FlyteWorkflow. Its closure, `spec` to `launch_plans`, is JSON, and empty once its plan is known."""

    metadata: ObjectMeta = ObjectMeta()
    status: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it
    spec: msgspec.Raw = EMPTY
    tasks: msgspec.Raw = EMPTY
    sub_workflows: msgspec.Raw = EMPTY
    launch_plans: msgspec.Raw = EMPTY

    @property
    def key(self) -> str:
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def phase(self) -> WorkflowPhase:
        try:
            return _PHASES[self.status.get("phase", 0)]
        except (KeyError, TypeError):
            return WorkflowPhase.READY  # somebody else wrote nonsense: the snapshot decides

    @property
    def stopped_at(self) -> float:
        """When it ended, epoch seconds; if its status does not say, when it was created."""
        return _seconds(self.status.get("stoppedAt")) or self.created_at

    @property
    def created_at(self) -> float:
        """When the object was created, epoch seconds."""
        return _seconds(self.metadata.creation_timestamp)


def _seconds(text: object) -> float:
    """The epoch seconds of a time in RFC 3339; 0 for nonsense."""
    try:
        return parse_rfc3339(text) if isinstance(text, str) else 0.0
    except ValueError:
        return 0.0


def as_child(workflow: FlyteWorkflow) -> ChildWorkflow:
    """The part that the execution which has started it reads."""
    return ChildWorkflow(workflow.metadata, workflow.status)


WORKFLOWS: Resource[FlyteWorkflow] = FLYTE_WORKFLOWS.typed(FlyteWorkflow)


class Head(KubeObject, frozen=True, rename="camel"):
    """The object's metadata and status, readable whatever somebody has written into its other fields."""

    status: msgspec.Raw = EMPTY

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(read(dict[str, Any], bytes(self.status)).value or {})


HEADS: Resource[Head] = FLYTE_WORKFLOWS.typed(Head)


class Closure(KubeObject, frozen=True, rename="camel"):
    """The object's static part, readable whatever somebody has written into its other fields."""

    spec: msgspec.Raw = EMPTY
    tasks: msgspec.Raw = EMPTY
    sub_workflows: msgspec.Raw = EMPTY
    launch_plans: msgspec.Raw = EMPTY


CLOSURES: Resource[Closure] = FLYTE_WORKFLOWS.typed(Closure)


def closure_of(workflow: FlyteWorkflow | Closure) -> bytes:
    """The static part as one JSON document, for `parse_plan`."""
    parts = {
        b"spec": workflow.spec,
        b"tasks": workflow.tasks,
        b"subWorkflows": workflow.sub_workflows,
        b"launchPlans": workflow.launch_plans,
    }
    members = (b'"%s":%s' % (name, bytes(raw)) for name, raw in parts.items() if bytes(raw))
    return b"{%s}" % b",".join(members)


def digest_of(closure: bytes) -> str:
    return hashlib.blake2b(closure, digest_size=16).hexdigest()


def _digest_of_json(value: Any) -> str:
    """The digest of a value that was decoded from JSON, however deep a stranger has nested it."""
    try:
        return digest_of(msgspec.json.encode(value))
    except RecursionError:
        return "nested too deep to be compared"


def fingerprint_of(status: dict[str, Any]) -> str:
    """What tells one status of ours from another: its phase, and its snapshot, wherever that is kept."""
    reference = status.get("nodesReference")
    digest = reference.get("sha256") if isinstance(reference, dict) else ""
    written = status.get("nodes") or digest
    if not written and (flytes := status.get("nodeStatus")):
        written = _digest_of_json(flytes)  # FlytePropeller's, which may still be at work
    return f"{status.get('phase', 0)} {written or ''}"


NO_STATUS = fingerprint_of({})


def without_closure(workflow: FlyteWorkflow) -> FlyteWorkflow:
    return msgspec.structs.replace(workflow, spec=EMPTY, tasks=EMPTY, sub_workflows=EMPTY, launch_plans=EMPTY)


def info_of(
    workflow: FlyteWorkflow,
    inputs: literals_pb2.LiteralMap | Literals,
    metadata_prefix: str,
    *earlier_prefixes: str,
    anywhere: bool = False,
) -> ExecutionInfo:
    """Who the execution is.

    Its directory is `<metadata prefix>/<project>-<domain>-<name>-<uid, 8 characters>`, and stays what it was once a
    status has named it. FlytePropeller's has no uid: there a name that is used again finds the errors of the one
    before. A status is believed if what it names is one of these two, or would be below an earlier prefix; any
    directory with `anywhere`. Raises Invalid for names that are no part of a path, NotUnderstood for another directory.
    """
    metadata = workflow.metadata
    labels = metadata.labels or {}
    identity = workflow.execution_id
    project = identity.project or labels.get("project", "")
    domain = identity.domain or labels.get("domain", "")
    name = identity.name or labels.get("execution-id", "")
    fields = {"executionId.project": project, "executionId.domain": domain, "executionId.name": name}
    require_names(fields.items())
    own = f"{project}-{domain}-{name}" if project and domain and name else metadata.name
    named = str(workflow.status.get("dataDir") or "").rstrip("/")
    own_forms = execution_directories((metadata_prefix, *earlier_prefixes), own, metadata.uid)
    if named and named not in own_forms and not anywhere:
        raise NotUnderstood(
            f"status.dataDir is {named!r}, and this execution's directory is {own_forms[0]!r}: the controller writes "
            "below storage.metadata_prefix only; set that to what it was, or remove the status to run it again"
        )
    spec = ExecutionSpec(
        **{field: getattr(workflow, field) for field in ExecutionSpec.__struct_fields__ if field != "inputs"}
    )
    check_execution(spec)
    return ExecutionInfo(
        name=metadata.name,
        namespace=metadata.namespace,
        uid=metadata.uid,
        directory=named or own_forms[0],
        inputs=inputs,
        labels=labels,
        annotations=without_signals(metadata.annotations or {}),
        spec=spec,
    )


def has_inline_inputs(workflow: FlyteWorkflow) -> bool:
    return bytes(workflow.inputs) not in _NOTHING


def inline_inputs(workflow: FlyteWorkflow) -> literals_pb2.LiteralMap:
    """The inputs written into the resource; raises Invalid."""
    inputs = literals_pb2.LiteralMap()
    if has_inline_inputs(workflow):
        if (objects := bytes(workflow.inputs).count(b"{")) > MAX_INPUT_OBJECTS:
            raise Invalid(
                f"inputs of {workflow.key} hold {objects} objects, and may hold {MAX_INPUT_OBJECTS}: store them, and "
                "name the place in offloadedInputs"
            )
        parse_message(bytes(workflow.inputs), inputs, "inputs")
    return inputs


def end_is_undone(change: Change[FlyteWorkflow]) -> bool:
    """Whether another client has removed an end that was written."""
    old, new = change.old, change.new
    return old is not None and new is not None and old.phase.ended and not new.phase.ended
