"""Executions and their tasks as a routing table sees them: from resources, as files and clusters have them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import msgspec
from flyteidl.core import literals_pb2

from propeller.cli._plan_text import short_name
from propeller.controller import FLYTE_WORKFLOWS
from propeller.decoding import UNDECODABLE, read
from propeller.errors import Invalid
from propeller.handlers import attempt_of, launch_plan_of, whole_of
from propeller.kube import Client, ObjectMeta
from propeller.routing import Running, Subject
from propeller.workflow import (
    Execution,
    ExecutionInfo,
    ExecutionSpec,
    Frame,
    Graph,
    NodeSpec,
    NodeView,
    WorkflowPhase,
    parse_plan,
)


class Whole(msgspec.Struct, frozen=True):
    """What a resource runs: its execution, and each of its tasks by a name for people."""

    execution: Subject
    tasks: tuple[tuple[str, Subject], ...]


class _Resource(ExecutionSpec, frozen=True, rename="camel", kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: msgspec.Raw = msgspec.Raw(b"")
    tasks: msgspec.Raw = msgspec.Raw(b"{}")
    sub_workflows: msgspec.Raw = msgspec.Raw(b"{}")


def whole_resource(content: bytes, source: str) -> Whole:
    """What the FlyteWorkflow of a text (JSON) runs. Raises Invalid."""
    try:
        found = msgspec.json.decode(content, type=_Resource)
    except UNDECODABLE:
        raise Invalid(f"{source} is no FlyteWorkflow: {read(_Resource, content).message}") from None
    if found.workflow_closure_reference:
        raise Invalid(
            f"{source} has its workflow in the object store (workflowClosureReference), which is not read here: "
            "describe the execution by options (--project, --launch-plan, --task-type, ...)"
        )
    if not found.spec:
        raise Invalid(f"{source} is no FlyteWorkflow: it has no spec (propeller compile writes one)")
    static = {b"spec": found.spec, b"tasks": found.tasks, b"subWorkflows": found.sub_workflows}
    closure = b"{" + b",".join(b'"%s":%s' % (name, bytes(part)) for name, part in static.items()) + b"}"
    metadata = found.metadata
    info = ExecutionInfo(
        name=metadata.name or "execution",
        namespace=metadata.namespace or "default",
        uid="",
        directory="",
        inputs=literals_pb2.LiteralMap(),
        labels=metadata.labels or {},
        annotations=metadata.annotations or {},
        spec=ExecutionSpec(**{field: getattr(found, field) for field in ExecutionSpec.__struct_fields__}),
    )
    execution = Execution(info, parse_plan(closure, ""), now=0.0)
    return Whole(whole_of(execution), tuple(_tasks(execution)))


def _tasks(execution: Execution) -> Iterator[tuple[str, Subject]]:
    plan = execution.plan
    for graph in (plan.root, *plan.sub_workflows.values()):
        where = "" if graph is plan.root else f"{graph.id.rpartition(':')[2]} "
        frame = Frame(0, 0, graph, -1, 0, items=False)
        for number, name, node in _task_nodes(graph):
            yield f"{where}{name}", attempt_of(NodeView(execution, frame, number, node), detailed=True)


def _task_nodes(graph: Graph) -> Iterator[tuple[int, str, NodeSpec]]:
    """Nodes that run a task, with their numbers: of a map, the node of its items."""
    for number, node in enumerate(graph.nodes):
        inner = node.array.sub_node_spec if node.array is not None else node
        if inner.task:
            yield number, f"{node.id} ({short_name(inner.task)})", inner


async def running_on(client: Client) -> AsyncIterator[Running]:
    """The executions of a cluster that have not ended, each with the cluster that its status names. Raises
    PropellerError.
    """
    async for page in client.pages(FLYTE_WORKFLOWS.typed(dict[str, Any])):
        for resource in page.items:
            if (found := running_of(resource)) is not None:
                yield found


def running_of(resource: Mapping[str, Any]) -> Running | None:
    """One execution, from its resource; None if it has ended."""
    status = _object(resource, "status")
    metadata, identity, spec = (_object(resource, field) for field in ("metadata", "executionId", "spec"))
    if _has_ended(status.get("phase")):
        return None
    labels = {str(key): str(value) for key, value in _object(metadata, "labels").items()}
    identifier = str(spec.get("id", ""))
    subject = Subject(
        key=f"{metadata.get('namespace', '')}/{metadata.get('name', '')}",
        project=str(identity.get("project") or labels.get("project", "")),
        domain=str(identity.get("domain") or labels.get("domain", "")),
        workflow=identifier.split(":", 2)[2] if identifier.count(":") >= 2 else labels.get("workflow-name", ""),
        launch_plan=launch_plan_of(_object(metadata, "annotations")),
        labels=labels,
    )
    cluster = status.get("cluster")
    return Running(subject, cluster if isinstance(cluster, str) else "")


def _object(parent: Mapping[str, Any], field: str) -> dict[str, Any]:
    found = parent.get(field)
    return found if isinstance(found, dict) else {}


def _has_ended(phase: Any) -> bool:
    try:
        return WorkflowPhase(phase or 0).ended
    except ValueError:
        return False
