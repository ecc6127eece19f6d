"""The pod as a task plugin: it runs every task whose type no other plugin declares."""

from __future__ import annotations

from typing import Any

from propeller.handlers.plugins._api import TaskPlugin
from propeller.handlers.plugins._settings import PodSettings
from propeller.handlers.plugins.pod._ends import grace_of, has_ended
from propeller.handlers.plugins.pod._pod import build_pod
from propeller.handlers.plugins.pod._report import gone, is_alive, report
from propeller.kube import PODS, Pod
from propeller.wire import ByName
from propeller.workflow import AttemptObserved, NodeView


class PodPlugin(TaskPlugin):
    """Runs a task's container, or its pod template."""

    task_types = frozenset({"container", "container_array", "pod", "python-task", "raw-container", "sidecar"})
    resource = PODS

    def build(self, node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> dict[str, Any]:
        return build_pod(node, attempt, inputs, settings)

    def observe(self, obj: Pod, attempt: int) -> AttemptObserved:
        return report(obj, attempt)

    def missing(self, name: str, attempt: int) -> AttemptObserved:
        return gone(attempt, name)

    def is_alive(self, obj: Pod) -> bool:
        return is_alive(obj)

    def has_ended(self, obj: Pod) -> bool:
        return has_ended(obj)

    def grace_of(self, obj: Pod) -> float:
        return grace_of(obj)


POD = PodPlugin()
