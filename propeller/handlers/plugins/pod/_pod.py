"""Build the pod of an attempt of a container task, python-task or pod task, as FlytePropeller does (plugins/k8s/pod).

Guarantees
    Pure: the same node, attempt, inputs and settings give the same pod, so that a second launch requests the same.
    Every pod names its execution by owner reference and labels, and its node and attempt by annotations.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from propeller.handlers.plugins._metadata import PRIMARY_CONTAINER, attempt_metadata, without_own
from propeller.handlers.plugins._overrides import check_override
from propeller.handlers.plugins._settings import PodSettings
from propeller.handlers.plugins.pod._environment import environment
from propeller.handlers.plugins.pod._policy import check_pod
from propeller.handlers.plugins.pod._resources import Requirements, resolve, within
from propeller.handlers.plugins.pod._shape import ContainerShape, shape_of
from propeller.handlers.plugins.pod._template import render
from propeller.handlers.plugins.pod._template_variables import template_values
from propeller.wire import ByName
from propeller.workflow import NodeView, TaskResources

_PLUGINS = frozenset({"container", "pod", "sidecar"})
"""Ids under which Flyte registers the plugin that makes pods."""

_CONTAINER_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def build_pod(node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> dict[str, Any]:
    """Return the pod as JSON, ready to create; parts of it are shared with other pods. Raises Invalid if the task
    cannot be a pod, requests something that the policy forbids, or is of an execution that requires another plugin.
    """
    check_override(node, _PLUGINS)
    return _checked_pod(node, attempt, inputs, settings)


def pod_template(node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> dict[str, Any]:
    """Return a pod template for a plugin's resource: the pod of `build_pod`, checked by the same policy, with labels
    and annotations as its only metadata. Parts of it are shared: do not change them in place. Raises Invalid as
    `build_pod` does.
    """
    pod = _checked_pod(node, attempt, inputs, settings)
    given = pod["metadata"]
    metadata = {"labels": given["labels"], "annotations": without_own(given["annotations"])}
    return {"metadata": metadata, "spec": pod["spec"]}


def _checked_pod(node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> dict[str, Any]:
    name = node.execution.pod_name(node.number, attempt)
    shape = node.graph.plan.of_task(node.spec.task, shape_of)
    primary = shape.primary or (name if _CONTAINER_NAME.fullmatch(name) else "primary")
    values = template_values(node, attempt, settings, shape.names)
    variables = environment(node, attempt, shape, settings)

    def filled(container: ContainerShape) -> dict[str, Any]:
        return {
            **container.own,
            "command": render(container.command, values, inputs, "command"),
            "args": render(container.args, values, inputs),
            "env": [*container.env, *variables],
            "resources": container_resources(container, node),
        }

    spec = {"restartPolicy": "Never", **shape.spec, "containers": [filled(found) for found in shape.containers]}
    if shape.init_containers:
        spec["initContainers"] = [filled(found) for found in shape.init_containers]
    of_primary = next(found for found in spec["containers"] if found["name"] == shape.primary)
    of_primary["name"] = primary
    if node.spec.container_image:
        of_primary["image"] = node.spec.container_image
    if account := _service_account(node):
        spec.setdefault("serviceAccountName", account)
    task = shape.variables["FLYTE_INTERNAL_TASK_NAME"]
    annotations = settings.annotations | shape.annotations
    described = attempt_metadata(node, attempt, task, shape.labels, annotations, settings.kueue)
    if shape.names_primary:
        described["annotations"][PRIMARY_CONTAINER] = primary
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": described, "spec": spec}
    check_pod(pod, account, settings.policy)
    return pod


def container_resources(container: ContainerShape, node: NodeView) -> Requirements:
    """Return the resources of a container. Sidecars are only cut to the execution's limits; others get the node's
    overrides and the defaults as well.
    """
    platform = node.execution.info.spec.execution_config.task_resources
    if node.spec.resources and not container.is_sidecar:
        return resolve(container.resources, node.spec.resources, platform)
    return _without_overrides(container, platform)


@lru_cache(1024)
def _without_overrides(container: ContainerShape, platform: TaskResources) -> Requirements:
    """Cached, as the result is the same for most pods of a task."""
    own = container.resources
    return within(own, platform) if container.is_sidecar else resolve(own, None, platform)


def _service_account(node: NodeView) -> str:
    """Return the service account. FlyteAdmin writes it in two places; if they differ, FlytePropeller uses the
    resource's own.
    """
    spec = node.execution.info.spec
    run_as = spec.security_context.run_as
    return spec.service_account_name or (run_as.k8s_service_account if run_as is not None else "")
