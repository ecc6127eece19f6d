"""Worlds whose tasks run by a plugin of another package: what the simulation proves of pods holds for its resources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from propeller.controller import _controller
from propeller.controller._attempt_resources import AttemptResource, AttemptResources
from propeller.handlers.plugins import POD, Plugins, PodSettings, TaskPlugin
from propeller.handlers.plugins._guard import GuardedPlugin
from propeller.handlers.plugins.pod import gone, report
from propeller.kube import Pod, Resource
from propeller.wire import ByName
from propeller.workflow import AttemptObserved, NodeView
from tests.simulation.oracle import Oracle

RESOURCE: Resource[Pod] = Resource(kind="Pod", plural="pods", type=Pod)
"""Pods again, so that the kubelet runs them; but followed by an informer of its own, and stopped as any resource is."""


class PodsOfAPlugin(TaskPlugin):
    """Makes the same pods with no more than what the protocol gives a plugin: all else is its defaults."""

    task_types = frozenset({"python-task"})
    resource = RESOURCE

    def build(self, node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> dict[str, Any]:
        return POD.build(node, attempt, inputs, settings)

    def observe(self, obj: Pod, attempt: int) -> AttemptObserved:
        return report(obj, attempt)

    def missing(self, name: str, attempt: int) -> AttemptObserved:
        return gone(attempt, name)


@contextmanager
def all_tasks_are_plugged() -> Iterator[None]:
    """Every task runs by the plugin, in the controllers of all processes. What the pod's own informer has of these pods
    is nobody's: it would hide what the plugin's lacks.
    """
    plugins = Plugins([GuardedPlugin(PodsOfAPlugin(), "pods of a plugin", PodsOfAPlugin.task_types, RESOURCE)])
    of = AttemptResources.of

    def of_plugins(self: AttemptResources, uid: str) -> Sequence[AttemptResource]:
        return [one for one in of(self, uid) if one.plugin is not POD]

    with (
        mock.patch.object(_controller, "installed_plugins", return_value=plugins),
        mock.patch.object(AttemptResources, "of", of_plugins),
        mock.patch.object(Oracle, "kinds_of_pods", Oracle.kinds_of_pods | {"operator object"}),
    ):
        yield
