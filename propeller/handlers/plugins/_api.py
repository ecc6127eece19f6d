"""What a task plugin has to do: make the Kubernetes resource of an attempt, and say what its state means.

Guarantees (of propeller, to a plugin)
    The resource of an attempt has a fixed name, is owned by its FlyteWorkflow, and carries the label and annotations by
    which it is found again: propeller sets these, whatever `build` returns. An attempt has one resource: a create that
    finds the name taken leads to `observe`, also after a crash.
    Attempts, retries, timeouts, quotas, checkpoints and the reading of outputs are propeller's. A plugin only reads and
    describes.
Assumptions
    Methods are pure and quick: they run on the controller's loop, `observe` for each event of each resource. A method
    that raises fails its attempt as the system's, with plugin and task named, and nothing else.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
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
"""The code of an attempt whose resource is gone, though nobody has asked for that, in FlytePropeller's words."""

ENTRY_POINTS = "propeller.tasks"
"""The group of entry points by which plugins are found: the name is the task type, the value a `TaskPlugin`."""


class PluginFailed(PropellerError):
    """A plugin cannot be used, or raised. The message names the plugin and the task."""


@runtime_checkable
class TaskPlugin(Protocol):
    """How tasks of some types run. Derive from it: all but `task_types`, `resource`, `build` and `observe` has defaults
    that fit most resources. One object serves all executions, and keeps nothing of any.
    """

    task_types: Collection[str]
    """The types of tasks (flytekit's `task_type`) that it runs."""

    resource: Resource[Any] | None
    """What it makes. The controller follows it with one informer, and needs the verbs get, list, watch, create and
    delete on it. Its `type` is a `KubeObject` with the fields that `observe` reads. None is reserved for plugins of
    remote services, which are not supported yet.
    """

    @abstractmethod
    def build(self, node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> dict[str, Any]:
        """Return the resource of an attempt as JSON: the same for the same arguments, with no more metadata than labels
        and annotations of its own. `inputs` are the task's literals by name.

        Raises Invalid, with the field and what mends it, if the task cannot be run: it fails for its user.
        """
        ...

    @abstractmethod
    def observe(self, obj: Any, attempt: int) -> AttemptObserved | None:
        """Say what the resource shows of its attempt; None if nothing is known yet.

        A resource that has `SUCCEEDED` or `FAILED` and still runs something says so in `remains`: it is deleted then.
        Else it stays, as the record of its attempt, until its workflow is deleted. A failure's `kind` and `recoverable`
        decide whether there is another attempt.
        """
        ...

    def missing(self, name: str, attempt: int) -> AttemptObserved:
        """Say what it means that the resource of that name is gone, though nobody has asked for that and no outputs
        were left: by default, a failure of the system's, after which there is another attempt.
        """
        kind = self.resource.kind if self.resource is not None else "resource"
        message = f"{kind} {name} is gone before its end was seen: somebody deleted it"
        failure = Failure(GONE, message, ErrorKind.SYSTEM, recoverable=True, attempt=attempt)
        return AttemptObserved(attempt, AttemptPhase.GONE, failure=failure)

    def is_alive(self, obj: Any) -> bool:
        """Whether the resource runs, or will, until it is deleted. A stop deletes it then, with what it owns before it
        (propagation policy Foreground).
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
        """Seconds that the resource has to stop once it is deleted: the next attempt waits for its end, but no longer
        than this and `controller.stop_margin`.
        """
        return DEFAULT_GRACE


def custom_of(node: NodeView) -> dict[str, Any]:
    """The `custom` of a node's task: what its flytekit class returned from `get_custom`. Raises Invalid."""
    task = node.graph.plan.task(node.spec.task)
    return struct_to_python(task.custom, f"custom of task {task.id.name}")
