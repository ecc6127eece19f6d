"""Read a task's pod as its author has written it: a container, a pod template, or the override of a node.

Guarantees
    Malformed pod specs are refused with the path of the first malformed field. Fields that are null are left out.
Source
    flytek8s/pod_helper.go of FlytePropeller 1.16, BuildRawPod.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flyteidl.core import tasks_pb2

from propeller.compiler import find_pod_fault
from propeller.decoding import UNDECODABLE
from propeller.errors import Invalid
from propeller.handlers.plugins._metadata import PRIMARY_CONTAINER
from propeller.handlers.plugins.pod._resources import GPU, task_resources
from propeller.storage import struct_to_python
from propeller.workflow import NodeSpec

Json = dict[str, Any]

RAW_CONTAINER = "raw-container"


class RawPod(msgspec.Struct, frozen=True, kw_only=True):
    """A pod's spec with its containers. The container of a container task has no name yet, and `primary` is ""."""

    spec: Json
    primary: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Metadata(msgspec.Struct, frozen=True):
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Override(msgspec.Struct, frozen=True):
    """flyteidl.core.K8sPod. FlyteAdmin writes proto's names (Go's encoding/json); proto's own JSON is read too."""

    metadata: _Metadata | None = None
    _proto_spec: Json | None = msgspec.field(default=None, name="pod_spec")
    _camel_spec: Json | None = msgspec.field(default=None, name="podSpec")
    _proto_primary: str = msgspec.field(default="", name="primary_container_name")
    _camel_primary: str = msgspec.field(default="", name="primaryContainerName")

    @property
    def spec(self) -> Json | None:
        return self._proto_spec if self._proto_spec is not None else self._camel_spec

    @property
    def primary(self) -> str:
        return self._proto_primary or self._camel_primary


def raw_pod(task: tasks_pb2.TaskTemplate, node: NodeSpec | None = None, gpu: str = GPU) -> RawPod:
    """Return a task's pod; that of the node's override if it has one. `gpu` is the resource that stands for GPUs.
    Raises Invalid if the task cannot be a pod.
    """
    override = None if node is None else _override_of(node)
    match task.WhichOneof("target"):
        case "container":
            given = RawPod(spec={"containers": [_container(task.container, gpu)]})
        case "k8s_pod":
            given = _pod_of_pod_task(task)
        case target:
            raise Invalid(
                f"task {task.id.name} of type {task.type!r} has {target or 'no target'} instead of a container: "
                "no plugin runs it here (see docs/differences.md)"
            )
    if node is None or override is None or override.spec is None:
        return given
    where = f"the pod template of node {node.id}"
    spec = _checked(override.spec, where, override.primary, "primary_container_name")
    metadata = override.metadata or _Metadata()
    return RawPod(
        spec=spec,
        primary=override.primary,
        labels={**given.labels, **(metadata.labels or {})},
        annotations={**given.annotations, **(metadata.annotations or {})},
    )


def _override_of(node: NodeSpec) -> _Override | None:
    raw = bytes(node.pod_template)
    if raw in {b"{}", b"null"}:
        return None
    try:
        return msgspec.json.decode(raw, type=_Override)
    except UNDECODABLE as error:
        raise Invalid(f"podTemplate of node {node.id} is malformed: {error}") from error


def _container(container: tasks_pb2.Container, gpu: str) -> Json:
    return {
        "name": "",
        "image": container.image,
        "command": list(container.command),
        "args": list(container.args),
        "env": [{"name": pair.key, "value": pair.value} for pair in container.env],
        "resources": task_resources(container.resources, gpu),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _pod_of_pod_task(task: tasks_pb2.TaskTemplate) -> RawPod:
    primary = task.config.get(PRIMARY_CONTAINER, "") or task.k8s_pod.primary_container_name
    where = f"the pod spec of task {task.id.name}"
    given = struct_to_python(task.k8s_pod.pod_spec, where)
    spec = _checked(given, where, primary, f"config[{PRIMARY_CONTAINER!r}]")
    own = task.k8s_pod.metadata
    return RawPod(spec=spec, primary=primary, labels=dict(own.labels), annotations=dict(own.annotations))


def _checked(given: Mapping[str, Any], where: str, primary: str, named_by: str) -> Json:
    """Return the spec without fields that are null. Raises Invalid unless it is well formed and has the primary
    container.
    """
    if fault := find_pod_fault(dict(given)):
        raise Invalid(f"{where} is malformed: {fault}")
    spec = {name: value for name, value in given.items() if value is not None}
    for field in ("containers", "initContainers"):
        for number, container in enumerate(spec.get(field, ())):
            if not container or not container.get("name"):
                raise Invalid(f"{where}: {field}[{number}] has no name")
        spec[field] = [
            {name: value for name, value in container.items() if value is not None} for container in spec.get(field, ())
        ]
    names = [container["name"] for container in spec["containers"]]
    if primary not in names:
        raise Invalid(f"{where}: {named_by} is {primary!r}, which is not among its containers {names}")
    return spec
