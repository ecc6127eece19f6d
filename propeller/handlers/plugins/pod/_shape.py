"""Parse a task's pod template once, when its first pod is launched: what all its pods have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flyteidl.core import tasks_pb2

from propeller.compiler import find_pod_fault
from propeller.errors import Invalid
from propeller.handlers.plugins._metadata import PRIMARY_CONTAINER, others_annotations, others_labels
from propeller.handlers.plugins.pod._resources import Requirements, task_resources
from propeller.handlers.plugins.pod._template import Text, names_in, parse
from propeller.storage import struct_to_python

RAW_CONTAINER = "raw-container"


class ContainerShape(msgspec.Struct, frozen=True, eq=False):
    """A container without what differs between pods. `own` are its fixed fields."""

    own: dict[str, Any]
    command: tuple[Text, ...]
    args: tuple[Text, ...]
    env: tuple[dict[str, Any], ...]
    resources: Requirements
    is_sidecar: bool


class Shape(msgspec.Struct, frozen=True, eq=False):
    """A task's pod without what differs between pods. Pods share its parts: do not change them.

    The container of a container task is named after its pod: then `primary` is "".
    """

    spec: dict[str, Any]
    """Without its containers."""
    init_containers: tuple[ContainerShape, ...]
    containers: tuple[ContainerShape, ...]
    primary: str
    names_primary: bool
    """Whether an annotation says which container counts."""
    labels: dict[str, str]
    annotations: dict[str, str]
    variables: dict[str, str]
    """By which a task knows who it is."""
    has_links: bool
    """Whether the task shows links into Flyte's console."""
    names: frozenset[str]
    """Values that its templates name."""

    @property
    def needs_template(self) -> bool:
        """Whether a command contains `{{.taskTemplatePath}}`, as those of flytekit's prebuilt-container tasks do."""
        return "tasktemplatepath" in self.names


def shape_of(task: tasks_pb2.TaskTemplate) -> Shape:
    """Return the shape of a task's pods. Raises Invalid if the task cannot be a pod."""
    match task.WhichOneof("target"):
        case "container":
            _refuse_copilot(task, task.container)
            return _shape(task, {"containers": [_container(task.container)]}, "")
        case "k8s_pod":
            _refuse_copilot(task, task.k8s_pod)
            own = task.k8s_pod.metadata
            return _shape(task, *_pod_of_pod_task(task), dict(own.labels), dict(own.annotations))
        case target:
            raise Invalid(
                f"task {task.id.name} of type {task.type!r} has {target or 'no target'} instead of a container: "
                "no plugin runs it here (see docs/differences.md)"
            )


def _shape(
    task: tasks_pb2.TaskTemplate,
    spec: dict[str, Any],
    primary: str,
    labels: Mapping[str, str] = {},
    annotations: Mapping[str, str] = {},
) -> Shape:
    rest = {key: value for key, value in spec.items() if key not in {"containers", "initContainers"}}
    init_containers = tuple(_of_container(found, is_sidecar=False) for found in spec.get("initContainers", ()))
    containers = tuple(_of_container(found, is_sidecar=found["name"] != primary) for found in spec["containers"])
    texts = [text for found in (*init_containers, *containers) for text in (*found.command, *found.args)]
    of_task = task.metadata.metadata
    return Shape(
        spec=rest,
        init_containers=init_containers,
        containers=containers,
        primary=primary,
        names_primary=len(containers) > 1 or task.type != RAW_CONTAINER,
        labels=others_labels(dict(labels) | dict(of_task.labels)),
        annotations=others_annotations(dict(annotations) | dict(of_task.annotations)),
        variables={
            "FLYTE_INTERNAL_TASK_PROJECT": task.id.project,
            "FLYTE_INTERNAL_TASK_DOMAIN": task.id.domain,
            "FLYTE_INTERNAL_TASK_NAME": task.id.name,
            "FLYTE_INTERNAL_TASK_VERSION": task.id.version,
        },
        has_links="link_type" in task.config,
        names=frozenset(names_in(texts)),
    )


def _of_container(container: dict[str, Any], *, is_sidecar: bool) -> ContainerShape:
    return ContainerShape(
        own={key: value for key, value in container.items() if key not in {"command", "args", "env", "resources"}},
        command=tuple(map(parse, container.get("command", ()))),
        args=tuple(map(parse, container.get("args", ()))),
        env=tuple(container.get("env", ())),
        resources=container.get("resources", {}),
        is_sidecar=is_sidecar,
    )


def _refuse_copilot(task: tasks_pb2.TaskTemplate, target: tasks_pb2.Container | tasks_pb2.K8sPod) -> None:
    """Raise Invalid if a raw container needs Flyte CoPilot, which all request: those with inputs in the command and no
    outputs do not need it.
    """
    config = target.data_config
    if not config.enabled:
        return
    if task.interface.outputs.variables or (config.input_path and task.interface.inputs.variables):
        raise Invalid(
            f"task {task.id.name}: raw containers whose inputs or outputs are files, loaded by Flyte CoPilot, are not "
            "supported; see docs/differences.md"
        )


def _container(container: tasks_pb2.Container) -> dict[str, Any]:
    return {
        "name": "",
        "image": container.image,
        "command": list(container.command),
        "args": list(container.args),
        "env": [{"name": pair.key, "value": pair.value} for pair in container.env],
        "resources": task_resources(container.resources),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _pod_of_pod_task(task: tasks_pb2.TaskTemplate) -> tuple[dict[str, Any], str]:
    """Return the task's own pod spec, and the name of its primary container."""
    primary = task.config.get(PRIMARY_CONTAINER, "") or task.k8s_pod.primary_container_name
    given = struct_to_python(task.k8s_pod.pod_spec, f"the pod spec of task {task.id.name}")
    if fault := find_pod_fault(given):
        raise Invalid(f"task {task.id.name}: the pod spec is malformed: {fault}")
    spec = {name: value for name, value in given.items() if value is not None}
    for field in ("containers", "initContainers"):
        for number, container in enumerate(spec.get(field, ())):
            if not container or not container.get("name"):
                raise Invalid(f"task {task.id.name}: {field}[{number}] of the pod has no name")
        spec[field] = [
            {name: value for name, value in container.items() if value is not None} for container in spec.get(field, ())
        ]
    names = [container["name"] for container in spec["containers"]]
    if primary not in names:
        raise Invalid(
            f"task {task.id.name}: config[{PRIMARY_CONTAINER!r}] is {primary!r}, which is not among its containers "
            f"{names}"
        )
    return spec, primary
