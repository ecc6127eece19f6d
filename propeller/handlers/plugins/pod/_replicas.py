"""Resources of a group of replicas that asks for other ones than its task."""

from __future__ import annotations

from flyteidl.core import tasks_pb2

from propeller.handlers.plugins._settings import PodSettings
from propeller.handlers.plugins.pod._resources import Requirements, completed, resolve, task_resources
from propeller.workflow import NodeView


def replica_resources(node: NodeView, resources: tasks_pb2.Resources, settings: PodSettings) -> Requirements:
    """Return the resources of a container in a group of replicas, in the place of its task's: completed by the
    execution's defaults, and cut to its limits, as the task's own are. Raises Invalid for a malformed quantity.
    """
    info, gpu = node.execution.info, settings.defaults.gpu_resource
    platform, rules = info.spec.execution_config.task_resources, settings.defaults.task_resources
    if rules:
        platform = completed(platform, rules, info.project, info.domain)
    return resolve(task_resources(resources, gpu), None, platform, gpu)
