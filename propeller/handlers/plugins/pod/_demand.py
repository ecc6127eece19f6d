"""What the resource manager may ask about a task: what its pods take of quotas, what they request, and what its author
wants.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from decimal import Decimal
from typing import Any

import msgspec
from flyteidl.core import tasks_pb2

from propeller.errors import Invalid
from propeller.handlers.plugins.pod._pod import container_resources
from propeller.handlers.plugins.pod._shape import ContainerShape, Shape, shape_of
from propeller.quantity import parse
from propeller.resourcemgr import Demand
from propeller.workflow import NodeView

POOLS_ANNOTATION = "propeller/pools"
"""Of a task's pod template, or of an execution: tokens that its author wants (`hive-primary=2, api`)."""


def demand_of(node: NodeView) -> Demand:
    """The demand of a task node's attempts. Raises Invalid for a request that is no quantity."""
    execution, plan = node.execution, node.graph.plan
    info, task = execution.info, plan.task(node.spec.task)
    wanted = plan.of_task(node.spec.task, _wanted) or info.annotations.get(POOLS_ANNOTATION, "")
    try:
        shape = plan.of_task(node.spec.task, shape_of)
    except Invalid:  # it is no pod
        return Demand(info.project, info.domain, task.type, info.labels, wanted=wanted)
    requests: dict[str, Decimal] = {}
    for container in shape.containers:
        for name, text in container_resources(container, node).get("requests", {}).items():
            requests[name] = requests.get(name, Decimal(0)) + parse(text)
    return Demand(info.project, info.domain, task.type, {**shape.labels, **info.labels}, requests, wanted)


class Footprint(msgspec.Struct, frozen=True):
    """What quotas of a namespace see of a task's pods. Those with an equal `kind` are alike."""

    kind: Hashable
    spec: Callable[[], dict[str, Any]]


def footprint_of(node: NodeView) -> Footprint | None:
    """The footprint of a task node's pods; None if the task can be no pod."""
    try:
        shape = node.graph.plan.of_task(node.spec.task, shape_of)
    except Invalid:
        return None
    overrides = tuple((what, tuple(sorted(amounts.items()))) for what, amounts in (node.spec.resources or {}).items())
    kind = (shape, node.execution.info.spec.execution_config.task_resources, overrides)
    return Footprint(kind, functools.partial(_footprint, shape, node))


def _footprint(shape: Shape, node: NodeView) -> dict[str, Any]:
    def asking(container: ContainerShape) -> dict[str, Any]:
        own = container.own
        policy = {"restartPolicy": own["restartPolicy"]} if "restartPolicy" in own else {}
        return {"name": own.get("name", ""), **policy, "resources": container_resources(container, node)}

    return {
        **shape.spec,
        "containers": [asking(found) for found in shape.containers],
        "initContainers": [asking(found) for found in shape.init_containers],
    }


def _wanted(task: tasks_pb2.TaskTemplate) -> str:
    own = task.k8s_pod.metadata.annotations if task.WhichOneof("target") == "k8s_pod" else {}
    of_task = task.metadata.metadata.annotations
    return str(of_task.get(POOLS_ANNOTATION) or own.get(POOLS_ANNOTATION) or "")
