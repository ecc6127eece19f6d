"""Executions and attempts as the rules of a routing table see them.

Guarantees
    Pure, and the same for all attempts of a node, but for whether they are interruptible: its last attempt by the
    system's fault never is.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from flyteidl.core import tasks_pb2

from propeller.decoding import UNDECODABLE
from propeller.errors import Invalid
from propeller.handlers.plugins import LAUNCH_PLAN_ANNOTATION, is_interruptible
from propeller.handlers.plugins.pod import demand_of
from propeller.routing import Subject, Task
from propeller.workflow import Execution, NodeView

_SOME_TASK = Task()
"""A task of which nothing matters: no rule asks."""


class _Accelerator(msgspec.Struct, frozen=True, rename="camel"):
    device: str = ""


class _Extended(msgspec.Struct, frozen=True, rename="camel"):
    gpu_accelerator: _Accelerator | None = None


def whole_of(execution: Execution) -> Subject:
    """Return an execution as a whole."""
    return execution.cached(_whole)


def attempt_of(node: NodeView, *, detailed: bool) -> Subject:
    """Return an attempt of a task node; if not `detailed`, without what only rules about tasks ask for."""
    whole = whole_of(node.execution)
    if not detailed:
        return msgspec.structs.replace(whole, task=_SOME_TASK)
    template = node.graph.plan.task(node.spec.task)
    try:
        demand = demand_of(node)
    except Invalid:  # it will fail by that, wherever it is launched
        task = Task(type=template.type, interruptible=is_interruptible(node), labels=whole.labels)
        return msgspec.structs.replace(whole, task=task)
    task = Task(
        type=template.type,
        accelerator=_accelerator(node, template),
        requests=demand.requests,
        interruptible=is_interruptible(node),
        labels=demand.labels,
    )
    return msgspec.structs.replace(whole, task=task)


def _accelerator(node: NodeView, template: tasks_pb2.TaskTemplate) -> str:
    """Return the kind of GPU that the task asks for; the node's override wins."""
    try:
        override = msgspec.json.decode(node.spec.extended_resources, type=_Extended).gpu_accelerator
    except UNDECODABLE:
        override = None
    if override is not None and override.device:
        return override.device
    return str(template.extended_resources.gpu_accelerator.device)


def _whole(execution: Execution) -> Subject:
    info = execution.info
    return Subject(
        key=execution.key,
        project=info.project,
        domain=info.domain,
        workflow=_workflow_name(execution.plan.root.id) or info.labels.get("workflow-name", ""),
        launch_plan=launch_plan_of(info.annotations),
        labels=info.labels,
    )


def launch_plan_of(annotations: Mapping[str, str]) -> str:
    """Return the name of the launch plan of an execution with these annotations, "" if it is not known."""
    return str(annotations.get(LAUNCH_PLAN_ANNOTATION, ""))


def _workflow_name(identifier: str) -> str:
    """Return the name in `project:domain:name`, "" if it is none."""
    return identifier.split(":", 2)[2] if identifier.count(":") >= 2 else ""
