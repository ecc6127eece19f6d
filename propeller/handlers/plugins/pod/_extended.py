"""Extended resources of a task and its node: accelerators and shared memory (flytek8s/pod_helper.go)."""

from __future__ import annotations

from typing import Any

from flyteidl.core import tasks_pb2
from google.protobuf import json_format

from propeller.errors import Invalid
from propeller.quantity import parse
from propeller.workflow import NodeSpec

Json = dict[str, Any]


def extended_resources(task: tasks_pb2.TaskTemplate, node: NodeSpec | None) -> tasks_pb2.ExtendedResources:
    """Return a task's extended resources; the node's override replaces each that it names. Raises Invalid."""
    found = tasks_pb2.ExtendedResources()
    found.CopyFrom(task.extended_resources)
    raw = b"{}" if node is None else bytes(node.extended_resources)
    if node is None or raw in {b"{}", b"null"}:
        return found
    try:
        override = json_format.Parse(raw, tasks_pb2.ExtendedResources(), ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise Invalid(f"extendedResources of node {node.id} are malformed: {error}") from error
    for field in ("gpu_accelerator", "shared_memory"):
        if override.HasField(field):
            getattr(found, field).CopyFrom(getattr(override, field))
    return found


def add_shared_memory(spec: Json, primary: str, memory: tasks_pb2.SharedMemory) -> None:
    """Mount a volume in memory into the primary container. Raises Invalid if its name or path is missing or taken, or
    its size is no quantity.
    """
    name, path = memory.mount_name, memory.mount_path
    if not name or not path:
        missing = "mount_path" if name else "mount_name"
        raise Invalid(f"shared memory needs a {missing}")
    if memory.size_limit:
        try:
            parse(memory.size_limit)
        except Invalid as error:
            raise Invalid(f"size_limit of the shared memory: {error}") from None
    volumes = spec.get("volumes") or ()
    if any(volume.get("name") == name for volume in volumes):
        raise Invalid(f"shared memory needs a volume {name!r}, and the pod has another one of that name")
    of_primary = next(found for found in spec["containers"] if found["name"] == primary)
    mounts = of_primary.get("volumeMounts") or ()
    if any(mount.get("mountPath") == path for mount in mounts):
        raise Invalid(f"shared memory is to be mounted at {path!r}, where its container mounts another volume")
    directory = {"medium": "Memory", **({"sizeLimit": memory.size_limit} if memory.size_limit else {})}
    spec["volumes"] = [*volumes, {"name": name, "emptyDir": directory}]
    of_primary["volumeMounts"] = [*mounts, {"name": name, "mountPath": path}]
