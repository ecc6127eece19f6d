"""The pod of one attempt of a container task, python-task or pod task, as FlytePropeller builds it (plugins/k8s/pod).

Guarantees
    Pure: the same node, attempt, inputs and settings give the same pod, so that launching twice asks for the same
    thing. Every pod names its execution by owner reference and labels, and its node and attempt by annotations.
"""

from __future__ import annotations

import re
from typing import Any

from flyteidl.core import literals_pb2, tasks_pb2

from propeller.errors import Invalid
from propeller.handlers.tasks._environment import environment
from propeller.handlers.tasks._metadata import PRIMARY_CONTAINER, metadata
from propeller.handlers.tasks._places import template_values
from propeller.handlers.tasks._resources import Requirements, resolve, task_resources, within
from propeller.handlers.tasks._settings import PodSettings
from propeller.handlers.tasks._template import render
from propeller.storage import struct_to_python
from propeller.workflow import NodeView

RAW_CONTAINER = "raw-container"

_CONTAINER_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def build_pod(
    node: NodeView, attempt: int, task: tasks_pb2.TaskTemplate, inputs: literals_pb2.LiteralMap, settings: PodSettings
) -> dict[str, Any]:
    """The pod as JSON, ready to create. Raises Invalid where the task cannot be a pod."""
    name = node.execution.pod_name(node.number, attempt)
    spec, own, primary = _raw_pod(task, name)
    values = template_values(node, attempt, settings)
    variables = environment(node, attempt, task, settings)
    sidecars = {container["name"] for container in spec["containers"]} - {primary}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        container["command"] = render(container.get("command", ()), values, inputs)
        container["args"] = render(container.get("args", ()), values, inputs)
        container["env"] = [*container.get("env", ()), *variables]
        container["resources"] = _resources(container, node, is_sidecar=container["name"] in sidecars)
    if node.spec.container_image:
        next(c for c in spec["containers"] if c["name"] == primary)["image"] = node.spec.container_image
    spec.setdefault("restartPolicy", "Never")
    if account := _service_account(node):
        spec.setdefault("serviceAccountName", account)
    described = metadata(node, attempt, task, own, settings)
    if sidecars or task.type != RAW_CONTAINER:
        described["annotations"][PRIMARY_CONTAINER] = primary
    return {"apiVersion": "v1", "kind": "Pod", "metadata": described, "spec": spec}


def _raw_pod(task: tasks_pb2.TaskTemplate, name: str) -> tuple[dict[str, Any], dict[str, dict[str, str]], str]:
    """The task's own pod spec, labels and annotations, and the name of its primary container."""
    match task.WhichOneof("target"):
        case "container":
            _refuse_copilot(task, task.container)
            container_name = name if _CONTAINER_NAME.fullmatch(name) else "primary"
            return {"containers": [_container(task.container, container_name)]}, {}, container_name
        case "k8s_pod":
            _refuse_copilot(task, task.k8s_pod)
            return _pod_of_pod_task(task)
        case target:
            raise Invalid(
                f"task {task.id.name} of type {task.type!r} has {target or 'no target'} instead of a container: "
                "no plugin runs it here (see docs/differences.md)"
            )


def _refuse_copilot(task: tasks_pb2.TaskTemplate, target: tasks_pb2.Container | tasks_pb2.K8sPod) -> None:
    """Every raw container asks for Flyte CoPilot; one that gets its inputs by its command and gives no outputs can do
    without.
    """
    config = target.data_config
    if not config.enabled:
        return
    if task.interface.outputs.variables or (config.input_path and task.interface.inputs.variables):
        raise Invalid(
            f"task {task.id.name}: raw containers whose inputs or outputs are files, loaded by Flyte CoPilot, are not "
            "supported; see docs/differences.md"
        )


def _container(container: tasks_pb2.Container, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": container.image,
        "command": list(container.command),
        "args": list(container.args),
        "env": [{"name": pair.key, "value": pair.value} for pair in container.env],
        "resources": task_resources(container.resources),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _pod_of_pod_task(task: tasks_pb2.TaskTemplate) -> tuple[dict[str, Any], dict[str, dict[str, str]], str]:
    primary = task.config.get(PRIMARY_CONTAINER, "") or task.k8s_pod.primary_container_name
    spec = struct_to_python(task.k8s_pod.pod_spec, f"the pod spec of task {task.id.name}")
    names = [container.get("name") for container in spec.get("containers", [])]
    if primary not in names:
        raise Invalid(
            f"task {task.id.name}: config[{PRIMARY_CONTAINER!r}] is {primary!r}, which is not among its containers "
            f"{names}"
        )
    own = task.k8s_pod.metadata
    return spec, {"labels": dict(own.labels), "annotations": dict(own.annotations)}, primary


def _resources(container: dict[str, Any], node: NodeView, *, is_sidecar: bool) -> Requirements:
    """Sidecars only stay within the execution's limits; others have the node's overrides and the defaults too."""
    own: Requirements = container.get("resources", {})
    platform = node.execution.info.spec.execution_config.task_resources
    return within(own, platform) if is_sidecar else resolve(own, node.spec.resources, platform)


def _service_account(node: NodeView) -> str:
    spec = node.execution.info.spec
    run_as = spec.security_context.run_as
    return (run_as.k8s_service_account if run_as is not None else "") or spec.service_account_name
