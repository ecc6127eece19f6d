"""The protocols of task plugins: build the Kubernetes resource of an attempt, and read its state.

`AttemptObserver` reads the resources of a kind, `TaskPlugin` builds them as well. Executions that nodes start are
observed, and built by no plugin.

Guarantees
    The resource of an attempt has a fixed name, an owner reference to its FlyteWorkflow, and the label and annotations
    by which the controller finds it again: propeller sets all of these after `build`. An attempt has one resource: if
    the name is taken when it is created, also after a crash, the existing one is observed.
    propeller does the rest: attempts, retries, timeouts, quotas, checkpoints, and reading outputs.
Assumptions
    Methods are pure and fast: they run on the controller's event loop, `observe` for each event of each resource.
Errors
    A method that raises fails its attempt with kind SYSTEM and a message that names both; nothing else is affected.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from propeller.errors import ErrorKind, PropellerError
from propeller.handlers.plugins._settings import PodSettings
from propeller.kube import Resource
from propeller.storage import struct_to_python
from propeller.wire import ByName
from propeller.workflow import AttemptObserved, AttemptPhase, Failure, NodeView, Remains

DEFAULT_GRACE = 30.0
"""Seconds that a pod has to stop if neither it nor its deletion says (Kubernetes' default)."""

GONE = "ResourceDeletedExternally"
"""Error code if the resource of an attempt was deleted, and not by propeller; FlytePropeller's."""

ENTRY_POINTS = "propeller.tasks"
"""Group of the entry points of plugins: the name is the task type, the value a `TaskPlugin`."""


class PluginFailed(PropellerError):
    """A plugin cannot be used, or raised. The message names the plugin and the task."""


@runtime_checkable
class AttemptObserver(Protocol):
    """Reads the state of attempts from the resources of a kind. One object serves all executions, and keeps no state
    of them.
    """

    resource: Resource[Any]
    """The kind. The controller runs one informer for it. `type` is a `KubeObject` with the fields that `observe`
    reads.
    """

    @abstractmethod
    def observe(self, obj: Any, attempt: int) -> AttemptObserved | None:
        """Return what the resource shows of its attempt, None if nothing yet.

        If the attempt has `SUCCEEDED` or `FAILED` and something of the resource still runs, set `remains`: the resource
        is then deleted. Otherwise it stays, as the record of its attempt, until its workflow is deleted. A failure's
        `kind` and `recoverable` decide whether there is another attempt.
        """
        ...

    def missing(self, name: str, attempt: int) -> AttemptObserved:
        """Return what it means if the resource of that name was deleted, not by propeller, and left no outputs: by
        default a recoverable failure of kind SYSTEM.
        """
        message = f"{self.resource.kind} {name} is gone before its end was seen: somebody deleted it"
        failure = Failure(GONE, message, ErrorKind.SYSTEM, recoverable=True, attempt=attempt)
        return AttemptObserved(attempt, AttemptPhase.GONE, failure=failure)

    def is_alive(self, obj: Any) -> bool:
        """Whether the resource runs, or will run, until it is deleted. Only then does a stop delete it, with
        propagation policy Foreground.
        """
        if obj.metadata.deletion_timestamp is not None:
            return False
        seen = self.observe(obj, 0)
        return seen is None or seen.phase < AttemptPhase.SUCCEEDED or seen.remains is Remains.RUNNING

    def has_ended(self, obj: Any) -> bool:
        """Whether nothing of the resource runs any more."""
        seen = self.observe(obj, 0)
        return seen is not None and seen.phase >= AttemptPhase.SUCCEEDED and seen.remains is Remains.NOTHING

    def grace_of(self, obj: Any) -> float:
        """Return the seconds that the resource needs to stop after its deletion: the next attempt waits until it is
        gone, at most this long plus `controller.stop_margin`.
        """
        return DEFAULT_GRACE

    pod_owners: tuple[Resource[Any], ...] = ()
    """Kinds between the resource and its pods, such as the RayCluster of a RayJob. The controller needs the verb get on
    them.
    """

    def pods_of(self, obj: Any) -> Sequence[Mapping[str, str]]:
        """Return the labels by which the pods are found that the resource has made; by default it makes none.

        Each mapping is one LIST in the resource's namespace, sent when an attempt has failed, or by who asks for logs.
        Of what it finds, pods count whose owner references lead to the resource: directly, by another of these pods, or
        by objects of `pod_owners`.
        """
        return ()


@runtime_checkable
class TaskPlugin(AttemptObserver, Protocol):
    """Runs tasks of some types, each attempt as a resource of a kind. Derive from it: only `task_types`, `resource`,
    `build` and `observe` have no defaults. For the kind, the controller needs the verbs get, list, watch, create and
    delete. A plugin of a remote service makes no resource: it is a `RemotePlugin`.
    """

    task_types: Collection[str]
    """The types of tasks (flytekit's `task_type`) that it runs."""

    @abstractmethod
    def build(self, node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> dict[str, Any]:
        """Return the resource of an attempt as JSON. The same arguments give the same resource; its metadata has labels
        and annotations only. `inputs` are the task's literals by name.

        Raises Invalid, naming the field and the fix, if the task cannot run: it fails with kind USER.
        """
        ...


def custom_of(node: NodeView) -> dict[str, Any]:
    """Return the `custom` of a node's task: the result of `get_custom` of its flytekit class. Raises Invalid."""
    task = node.graph.plan.task(node.spec.task)
    return struct_to_python(task.custom, f"custom of task {task.id.name}")
