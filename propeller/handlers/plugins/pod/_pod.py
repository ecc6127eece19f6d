"""Build the pod of an attempt of a container task, python-task or pod task, as FlytePropeller does (plugins/k8s/pod).

Guarantees
    Pure: the same node, attempt, inputs and settings give the same pod, so that a second launch requests the same.
    Every pod names its execution by owner reference and labels, and its node and attempt by annotations.
"""

from __future__ import annotations

from typing import Any

from propeller.handlers.plugins._metadata import PRIMARY_CONTAINER, attempt_metadata, without_own
from propeller.handlers.plugins._overrides import check_override
from propeller.handlers.plugins._settings import PodSettings
from propeller.handlers.plugins.pod._environment import environment
from propeller.handlers.plugins.pod._policy import check_annotations
from propeller.handlers.plugins.pod._shape import ContainerShape, shape_of
from propeller.handlers.plugins.pod._template import render
from propeller.handlers.plugins.pod._template_variables import template_values
from propeller.names import is_dns_label
from propeller.wire import ByName
from propeller.workflow import NodeView

_PLUGINS = frozenset({"container", "pod", "sidecar"})
"""Ids under which Flyte registers the plugin that makes pods."""


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
    shape = shape_of(node, settings)
    shape.check()
    primary = shape.primary or (name if is_dns_label(name) else "primary")
    values = template_values(node, attempt, settings, shape.names)
    variables = environment(node, attempt, shape, settings)

    def filled(container: ContainerShape) -> dict[str, Any]:
        return {
            **container.own,
            "command": render(container.command, values, inputs, "command"),
            "args": render(container.args, values, inputs),
            "env": [*container.env, *variables],
            "resources": container.resources,
        }

    spec = {**shape.spec, "containers": [filled(found) for found in shape.containers]}
    if shape.init_containers:
        spec["initContainers"] = [filled(found) for found in shape.init_containers]
    if not shape.primary:
        next(found for found in spec["containers"] if not found["name"])["name"] = primary
    task = shape.variables["FLYTE_INTERNAL_TASK_NAME"]
    described = attempt_metadata(node, attempt, task, shape.labels, shape.annotations, settings.kueue)
    annotations = described["annotations"]
    if "unconfined" in annotations.values():
        trusted = shape.trusted_annotations
        check_annotations({key: text for key, text in annotations.items() if trusted.get(key) != text}, settings.policy)
    if shape.names_primary:
        annotations[PRIMARY_CONTAINER] = primary
    return {"apiVersion": "v1", "kind": "Pod", "metadata": described, "spec": spec}
