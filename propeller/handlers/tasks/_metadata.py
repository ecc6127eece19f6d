"""Who a pod belongs to and what it runs: its labels, annotations and owner (FlytePropeller's node_exec_context.go,
k8s/plugin_manager.go).
"""

from __future__ import annotations

from typing import Any

from flyteidl.core import tasks_pb2

from propeller.handlers._task import SYSTEM_RETRIES
from propeller.handlers.tasks._settings import PodSettings
from propeller.workflow import NodeView, label_value

NODE_ANNOTATION = "propeller/node"
ATTEMPT_ANNOTATION = "propeller/attempt"
SYSTEM_FAILURES_ANNOTATION = "propeller/system-failures"
"""How many of the attempts before this one were the system's fault: they have a budget of their own."""

PRIMARY_CONTAINER = "primary_container_name"
EXECUTION_LABEL = "execution-id"

_NOT_FOR_PODS = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
"""Annotations of a workflow that its pods do not get: this one has the whole workflow in it."""


def metadata(
    node: NodeView, attempt: int, task: tasks_pb2.TaskTemplate, own: dict[str, dict[str, str]], settings: PodSettings
) -> dict[str, Any]:
    """The pod's metadata; `own` are labels and annotations that the task's pod template has."""
    execution = node.execution
    of_task = task.metadata.metadata
    of_execution = {key: value for key, value in execution.info.annotations.items() if key not in _NOT_FOR_PODS}
    return {
        "name": execution.pod_name(node.number, attempt),
        "namespace": execution.info.namespace,
        "labels": own.get("labels", {}) | dict(of_task.labels) | _labels(node, task),
        "annotations": settings.annotations
        | own.get("annotations", {})
        | dict(of_task.annotations)
        | of_execution
        | {
            NODE_ANNOTATION: execution.unique_id(node.number),
            ATTEMPT_ANNOTATION: str(attempt),
            SYSTEM_FAILURES_ANNOTATION: str(execution.system_failures.get(node.number, 0)),
        },
        "ownerReferences": [owner_reference(node)],
    }


def owner_reference(node: NodeView) -> dict[str, Any]:
    info = node.execution.info
    return {
        "apiVersion": "flyte.lyft.com/v1alpha1",
        "kind": "FlyteWorkflow",
        "name": info.name,
        "uid": info.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_interruptible(node: NodeView) -> bool:
    """Whether the attempt may run on machines that can be taken away: never the last one that SYSTEM failures leave."""
    if node.execution.system_failures.get(node.number, 0) >= SYSTEM_RETRIES:
        return False
    if node.spec.interruptible is not None:
        return node.spec.interruptible
    spec = node.execution.info.spec
    chosen = spec.execution_config.interruptible
    return spec.node_defaults.interruptible if chosen is None else chosen


def _labels(node: NodeView, task: tasks_pb2.TaskTemplate) -> dict[str, str]:
    info = node.execution.info
    labels = info.labels | {
        EXECUTION_LABEL: info.labels.get(EXECUTION_LABEL, label_value(info.execution_name)),
        "node-id": label_value(node.id),
        "task-name": label_value(task.id.name),
        "interruptible": str(is_interruptible(node)).lower(),
    }
    run_as = info.spec.security_context.run_as
    if run_as is not None and run_as.execution_identity:
        labels["execution-identity"] = label_value(run_as.execution_identity)
    return labels
