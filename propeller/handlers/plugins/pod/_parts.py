"""Pods of a task that is several pods: what a part may have of its own. The rest of it is the task's pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flyteidl.core import tasks_pb2

from propeller.errors import Invalid
from propeller.handlers.plugins._metadata import others_annotations, others_labels
from propeller.handlers.plugins._settings import PodSettings
from propeller.handlers.plugins.pod._merge import merged_objects
from propeller.handlers.plugins.pod._policy import check_pod
from propeller.handlers.plugins.pod._resources import Requirements, resolve, task_resources
from propeller.handlers.plugins.pod._shape import platform_resources, service_account
from propeller.workflow import NodeView

Json = dict[str, Any]

_LISTS = ("containers", "initContainers")


def overlaid(
    node: NodeView,
    pod: Json,
    spec: Mapping[str, Any],
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    settings: PodSettings,
) -> Json:
    """Return a pod template with what its author writes of a part: that wins, lists are appended, and containers are
    merged by name. Raises Invalid if the policy for pods forbids it, or if it names a container that there is not.
    """
    check_pod({"spec": spec, "metadata": {"annotations": annotations}}, service_account(node), settings.policy)
    own_spec, metadata = pod["spec"], pod["metadata"]
    merged = merged_objects(
        {key: value for key, value in own_spec.items() if key not in _LISTS},
        {key: value for key, value in spec.items() if key not in _LISTS},
    )
    for field in _LISTS:
        overlays = {one.get("name", ""): one for one in spec.get(field) or ()}
        merged[field] = [merged_objects(one, overlays.pop(one["name"], {})) for one in own_spec.get(field) or ()]
        if overlays:
            names = ", ".join(one["name"] for one in merged[field]) or "none"
            raise Invalid(f"{field} of a part names {next(iter(overlays))!r}, and the part has {names}")
    if not merged["initContainers"]:
        del merged["initContainers"]
    return {
        "metadata": {
            "labels": {**others_labels(labels), **metadata["labels"]},
            "annotations": {**others_annotations(annotations), **metadata["annotations"]},
        },
        "spec": merged,
    }


def replica_resources(node: NodeView, resources: tasks_pb2.Resources, settings: PodSettings) -> Requirements:
    """Return the resources of a container in a group of replicas, in the place of its task's: completed by the
    execution's defaults, and cut to its limits, as the task's own are. Raises Invalid for a malformed quantity.
    """
    gpu = settings.defaults.gpu_resource
    return resolve(task_resources(resources, gpu), None, platform_resources(node, settings), gpu)
