"""Where a pod may run, and other fields that the platform sets: tolerations, node selectors, affinity, accelerators.

Guarantees
    What an operator requires of machines (of interruptible pods, of accelerators) holds whichever of the task's own
    terms is met.
Source
    flytek8s/pod_helper.go of FlytePropeller 1.16: UpdatePod, ApplyGPUNodeSelectors, AddTolerationsForExtendedResources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from flyteidl.core import tasks_pb2

from propeller.config import NodeRequirement, PodDefaults, Toleration
from propeller.handlers.plugins.pod._merge import require

Json = dict[str, Any]

_NO_SCHEDULE = "NoSchedule"


def apply_defaults(spec: Json, resources: Iterable[str], defaults: PodDefaults, *, interruptible: bool) -> None:
    """Complete the spec of a task's pod; `resources` are the names of those that it requests."""
    spec.setdefault("restartPolicy", "Never")
    tolerations = list(_tolerations(sorted(set(resources)), defaults, interruptible=interruptible))
    if tolerations:
        spec["tolerations"] = [*map(msgspec.to_builtins, tolerations), *(spec.get("tolerations") or ())]
    if defaults.scheduler and not spec.get("schedulerName"):
        spec["schedulerName"] = defaults.scheduler
    selector = {**defaults.node_selector, **(spec.get("nodeSelector") or {})}
    if interruptible:
        selector |= defaults.interruptible_node_selector
    if selector:
        spec["nodeSelector"] = selector
    for field, value in (
        ("affinity", defaults.affinity),
        ("securityContext", defaults.pod_security_context),
        ("dnsConfig", defaults.dns_config),
    ):
        if value and not spec.get(field):
            spec[field] = value
    if defaults.host_network:
        spec["hostNetwork"] = True
    if defaults.image_pull_secrets:
        own = list(spec.get("imagePullSecrets") or ())
        ours = [{"name": name} for name in defaults.image_pull_secrets]
        spec["imagePullSecrets"] = [*own, *(one for one in ours if one not in own)]


def _tolerations(resources: Iterable[str], defaults: PodDefaults, *, interruptible: bool) -> Iterator[Toleration]:
    for name in resources:
        yield from defaults.resource_tolerations.get(name, ())
    if interruptible:
        yield from defaults.interruptible_tolerations
    yield from defaults.tolerations


def apply_environment(spec: Json, primary: str, defaults: PodDefaults) -> None:
    """Complete the containers: variables from Secrets and ConfigMaps, and what the primary one gets alone."""
    sources = [{"secretRef": {"name": name, "optional": True}} for name in defaults.environment_from_secrets]
    sources += [{"configMapRef": {"name": name, "optional": True}} for name in defaults.environment_from_config_maps]
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            if sources:
                container["envFrom"] = [*(container.get("envFrom") or ()), *sources]
            if field == "containers" and container["name"] == primary:
                if defaults.security_context and not container.get("securityContext"):
                    container["securityContext"] = defaults.security_context
                if defaults.image_pull_policy and not primary:
                    container["imagePullPolicy"] = defaults.image_pull_policy


def apply_requirements(spec: Json, defaults: PodDefaults, *, interruptible: bool) -> None:
    """Require machines for interruptible pods, or for all others. Called last, as a merge may add terms."""
    requirements = defaults.interruptible_requirements if interruptible else defaults.on_demand_requirements
    if requirements:
        require(spec, *map(_json, requirements))
    for name in defaults.extended_resource_tolerations:
        containers = (*spec["containers"], *(spec.get("initContainers") or ()))
        if any(name in (one.get("resources") or {}).get("requests", ()) for one in containers):
            _tolerate(spec, {"key": name, "operator": "Exists", "effect": _NO_SCHEDULE})


def apply_accelerator(spec: Json, accelerator: tasks_pb2.GPUAccelerator, defaults: PodDefaults) -> None:
    """Require machines with the accelerator, and tolerate their taints, if a container is limited to some GPUs."""
    gpu = defaults.gpu_resource
    if not any(gpu in (one.get("resources") or {}).get("limits", ()) for one in spec["containers"]):
        return
    if accelerator.device:
        device = defaults.gpu_devices.get(accelerator.device, accelerator.device)
        _choose(spec, defaults.gpu_device_label, device)
    match accelerator.WhichOneof("partition_size_value"):
        case "partition_size":
            _choose(spec, defaults.gpu_partition_label, accelerator.partition_size)
        case "unpartitioned" if accelerator.unpartitioned:
            absent = {"key": defaults.gpu_partition_label, "operator": "DoesNotExist"}
            require(spec, *(list(map(_json, defaults.gpu_unpartitioned_requirements)) or [absent]))
            for toleration in defaults.gpu_unpartitioned_tolerations:
                _tolerate(spec, _json(toleration))


def _choose(spec: Json, label: str, value: str) -> None:
    require(spec, {"key": label, "operator": "In", "values": [value]})
    _tolerate(spec, {"key": label, "operator": "Equal", "value": value, "effect": _NO_SCHEDULE})


def _tolerate(spec: Json, toleration: Json) -> None:
    own = spec.get("tolerations") or ()
    if toleration not in own:
        spec["tolerations"] = [*own, toleration]


def _json(value: NodeRequirement | Toleration) -> Json:
    found: Json = msgspec.to_builtins(value)
    return found
