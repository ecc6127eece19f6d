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
from propeller.handlers.plugins._metadata import POOLS_ANNOTATION
from propeller.handlers.plugins._settings import PodSettings
from propeller.handlers.plugins.pod._shape import PLAIN, ContainerShape, Shape, can_be_pod, shape_of
from propeller.quantity import parse
from propeller.resourcemgr import Demand
from propeller.workflow import NodeView


def demand_of(node: NodeView, settings: PodSettings = PLAIN) -> Demand:
    """The demand of a task node's attempts. Raises Invalid for a request that is no quantity."""
    execution, plan = node.execution, node.graph.plan
    info, task = execution.info, plan.task(node.spec.task)
    wanted = plan.of_task(node.spec.task, _wanted) or info.annotations.get(POOLS_ANNOTATION, "")
    if not plan.of_task(node.spec.task, can_be_pod):
        return Demand(info.project, info.domain, task.type, info.labels, wanted=wanted)
    shape = shape_of(node, settings, strict=False)
    requests: dict[str, Decimal] = {}
    for container in shape.containers:
        for name, text in container.resources.get("requests", {}).items():
            requests[name] = requests.get(name, Decimal(0)) + parse(text)
    return Demand(info.project, info.domain, task.type, {**shape.labels, **info.labels}, requests, wanted)


class Footprint(msgspec.Struct, frozen=True):
    """What quotas of a namespace see of a task's pods. Those with an equal `kind` are alike."""

    kind: Hashable
    spec: Callable[[], dict[str, Any]]


def footprint_of(node: NodeView, settings: PodSettings = PLAIN) -> Footprint | None:
    """The footprint of a task node's pods; None if the task can be no pod."""
    try:
        shape = shape_of(node, settings, strict=False)
    except Invalid:
        return None
    return Footprint(shape, functools.partial(_footprint, shape))


def _footprint(shape: Shape) -> dict[str, Any]:
    def asking(container: ContainerShape) -> dict[str, Any]:
        own = container.own
        policy = {"restartPolicy": own["restartPolicy"]} if "restartPolicy" in own else {}
        return {"name": own.get("name", ""), **policy, "resources": container.resources}

    return {
        **shape.spec,
        "containers": [asking(found) for found in shape.containers],
        "initContainers": [asking(found) for found in shape.init_containers],
    }


def _wanted(task: tasks_pb2.TaskTemplate) -> str:
    own = task.k8s_pod.metadata.annotations if task.WhichOneof("target") == "k8s_pod" else {}
    of_task = task.metadata.metadata.annotations
    return str(of_task.get(POOLS_ANNOTATION) or own.get(POOLS_ANNOTATION) or "")
