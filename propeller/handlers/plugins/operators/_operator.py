"""One plugin for every operator: a kind of resource, a function that builds its spec, and one that reads its status.

Guarantees
    The pods of a resource come from the pod of the task: checked by the same policy, and completed by the same
    defaults. What a task may replace in a part of them (image, resources, arguments) is what Flyte's types of these
    tasks have.
    A resource that is suspended or queued waits. One that has ended, and of which pods still run, is deleted.
Source
    flyteplugins/go/tasks/plugins/k8s of FlytePropeller 1.16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from flyteidl.core import tasks_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

from propeller.config import OperatorName
from propeller.errors import ErrorKind, Invalid
from propeller.handlers.plugins._api import TaskPlugin, custom_of
from propeller.handlers.plugins._metadata import PRIMARY_CONTAINER
from propeller.handlers.plugins._settings import PodSettings
from propeller.handlers.plugins.pod import pod_template, replica_resources
from propeller.kube import KubeObject, Resource, is_label
from propeller.wire import ByName
from propeller.workflow import AttemptObserved, AttemptPhase, Failure, NodeView, Remains

Json = dict[str, Any]
Custom = TypeVar("Custom", bound=Message)
Status = TypeVar("Status", bound=KubeObject)

FAILED = "DownstreamSystemError"
"""Error code of an attempt that its operator reports as failed; FlytePropeller's."""


class Condition(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """What a resource's status says of it, in the form that most operators share."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""


class Task(NamedTuple):
    """What a spec is built from."""

    node: NodeView
    attempt: int
    settings: PodSettings
    template: Json
    """The pod that the task would have been: shared, not to be changed."""

    @property
    def primary(self) -> Json:
        """The container of the task itself."""
        containers: list[Json] = self.template["spec"]["containers"]
        name = self.template["metadata"]["annotations"].get(PRIMARY_CONTAINER)
        return next((found for found in containers if found["name"] == name), containers[0])

    @property
    def declared(self) -> tasks_pb2.TaskTemplate:
        """The task as its author declared it."""
        return self.node.graph.plan.task(self.node.spec.task)

    @property
    def name(self) -> str:
        """The resource's."""
        return self.node.execution.pod_name(self.node.number, self.attempt)

    def custom(self, kind: type[Custom]) -> Custom:
        """Decode the task's `custom`. Raises Invalid."""
        found = kind()
        try:
            json_format.ParseDict(custom_of(self.node), found, ignore_unknown_fields=True)
        except json_format.ParseError as error:
            raise Invalid(f"custom of task {self.declared.id.name} is no {kind.DESCRIPTOR.name}: {error}") from None
        return found

    def pod(
        self,
        container: str,
        *,
        image: str = "",
        resources: tasks_pb2.Resources | None = None,
        **fields: Any,
    ) -> Json:
        """Return the pod template of a part: the task's own, whose primary container is named `container` and has
        these `fields` instead of its own. Raises Invalid for malformed resources.
        """
        primary = self.primary
        own: Json = {**primary, **fields, "name": container}
        if image:
            own["image"] = image
        if resources is not None and (resources.requests or resources.limits):
            own["resources"] = replica_resources(self.node, resources, self.settings)
        metadata, spec = self.template["metadata"], self.template["spec"]
        annotations = metadata["annotations"]
        if PRIMARY_CONTAINER in annotations:
            annotations = {**annotations, PRIMARY_CONTAINER: container}
        containers = [own if found is primary else found for found in spec["containers"]]
        return {"metadata": {**metadata, "annotations": annotations}, "spec": {**spec, "containers": containers}}


class Reading(NamedTuple):
    """What a status says. `is_final`: no other attempt can help; `by_system`: the platform failed, not the task."""

    phase: AttemptPhase
    reason: str = ""
    code: str = FAILED
    is_final: bool = False
    by_system: bool = False
    runs_on: bool = False
    """Whether pods still run though it has ended."""
    is_held: bool = False
    """Whether a queue or an administrator holds it back: it waits, however long that takes."""


class Operator(NamedTuple, Generic[Status]):
    """One operator's kind. `build` returns the spec, and raises Invalid; `read` returns what the status says, None if
    that is a state that this version does not know; `pods` returns the labels that the operator gives the pods.
    """

    task_type: OperatorName
    resource: Resource[Status]
    build: Callable[[Task], Json]
    read: Callable[[Status], Reading | None]
    pods: Callable[[Status], Sequence[Mapping[str, str]]]
    pod_owners: tuple[Resource[Any], ...] = ()
    longest_name: int = 253
    """Characters of a resource's name that the operator accepts."""


class OperatorPlugin(TaskPlugin):
    """See the module's text."""

    def __init__(self, operator: Operator[Any]) -> None:
        self.task_types: frozenset[str] = frozenset({operator.task_type})
        self.resource: Resource[Any] = operator.resource
        self.pod_owners = operator.pod_owners
        self._operator = operator

    def build(self, node: NodeView, attempt: int, inputs: ByName, settings: PodSettings) -> Json:
        task = Task(node, attempt, settings, pod_template(node, attempt, inputs, settings))
        if len(task.name) > self._operator.longest_name:
            raise Invalid(
                f"the name of the {self.resource.kind}, {task.name}, has {len(task.name)} characters, and its operator "
                f"accepts {self._operator.longest_name}: give the execution a shorter name"
            )
        metadata = task.template["metadata"]
        return {"metadata": metadata, "spec": self._operator.build(task)}

    def observe(self, obj: Any, attempt: int) -> AttemptObserved | None:
        seen = self._operator.read(obj)
        if seen is None:
            return None
        remains = Remains.RUNNING if seen.runs_on else Remains.NOTHING
        if seen.phase is not AttemptPhase.FAILED:
            return AttemptObserved(attempt, seen.phase, seen.reason, remains=remains, gated=seen.is_held)
        kind = ErrorKind.SYSTEM if seen.by_system else ErrorKind.USER
        failure = Failure(seen.code, seen.reason, kind, recoverable=not seen.is_final, attempt=attempt)
        return AttemptObserved(attempt, seen.phase, failure=failure, remains=remains)

    def pods_of(self, obj: Any) -> Sequence[Mapping[str, str]]:
        found = self._operator.pods(obj)
        return [labels for labels in found if all(is_label(name, value) for name, value in labels.items())]


def named(label: str) -> Callable[[KubeObject], Sequence[Mapping[str, str]]]:
    """Pods that have the name of their resource in a label."""
    return lambda obj: ({label: obj.metadata.name},)


def between(api_version: str, kind: str) -> Resource[Any]:
    """A namespaced kind between a resource and its pods."""
    group, _, version = api_version.rpartition("/")
    return Resource(group=group, version=version, kind=kind, plural=f"{kind.lower()}s", type=KubeObject).metadata_only()


def waits(reason: str, *, is_held: bool = False) -> Reading:
    return Reading(AttemptPhase.PENDING, reason, is_held=is_held)


def runs(reason: str = "") -> Reading:
    return Reading(AttemptPhase.RUNNING, reason)


def failed(what: str, *causes: str) -> Reading:
    """A failure that another attempt may not have, on the budget of the task's retries."""
    said = " - ".join(filter(None, causes))
    return Reading(AttemptPhase.FAILED, f"{what}: {said}" if said else f"{what}, and its operator gave no reason")


def at_least_one(number: int, what: str) -> int:
    """Raise Invalid unless there is one."""
    if number < 1:
        raise Invalid(f"the number of {what} must be greater than 0, and is {number}")
    return number
