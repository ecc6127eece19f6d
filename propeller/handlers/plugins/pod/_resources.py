"""Resolve requests and limits of a task's containers as FlytePropeller does (flytek8s/container_helper.go).

The task's own values, overridden by the node's, completed by the execution's defaults, and cut to the execution's
limits. A request without a limit is its own limit, and the reverse.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec
from flyteidl.core import tasks_pb2

from propeller.config import Amounts, ResourceRule
from propeller.errors import Invalid
from propeller.quantity import parse
from propeller.workflow import Quantities, TaskResources

GPU = "nvidia.com/gpu"
"""The resource that "gpu" stands for if the setting `pod_defaults.gpu_resource` says nothing else."""

_NAMES = {
    tasks_pb2.Resources.CPU: "cpu",
    tasks_pb2.Resources.GPU: "gpu",
    tasks_pb2.Resources.MEMORY: "memory",
    tasks_pb2.Resources.EPHEMERAL_STORAGE: "ephemeral-storage",
}
"""STORAGE, which Kubernetes does not know, is left out as in Flyte."""

Requirements = dict[str, dict[str, str]]


def task_resources(resources: tasks_pb2.Resources, gpu: str) -> Requirements:
    """Return a container's resources from its template."""
    return {
        what: _sanitized({_NAMES[r.name]: r.value for r in entries if r.name in _NAMES}, gpu)
        for what, entries in (("requests", resources.requests), ("limits", resources.limits))
    }


@lru_cache(1024)
def completed(given: TaskResources, rules: tuple[ResourceRule, ...], project: str, domain: str) -> TaskResources:
    """Return an execution's defaults and limits of resources; those that it does not have, by the operator's rules."""
    for rule in reversed(rules):
        if rule.project in ("", project) and rule.domain in ("", domain):
            given = TaskResources(_filled(given.requests, rule.requests), _filled(given.limits, rule.limits))
    return given


def _filled(given: Quantities, amounts: Amounts) -> Quantities:
    missing = {
        field: text
        for field in Quantities.__struct_fields__
        if (text := getattr(amounts, field)) and not _set(getattr(given, field), f"the execution's {field}")
    }
    return msgspec.structs.replace(given, **missing) if missing else given


def resolve(
    own: Requirements,
    overrides: Mapping[str, Mapping[str, str]] | None,
    platform: TaskResources,
    gpu: str = GPU,
) -> Requirements:
    """Return the resources of a task's container. Raises Invalid, naming a malformed quantity."""
    requests = _sanitized(own.get("requests", {}), gpu) | _sanitized((overrides or {}).get("requests", {}), gpu)
    limits = _sanitized(own.get("limits", {}), gpu) | _sanitized((overrides or {}).get("limits", {}), gpu)
    defaults = {"cpu": platform.requests.cpu, "memory": platform.requests.memory}
    for name in dict.fromkeys((*requests, *limits, *defaults)):
        request = _set(requests.get(name), name) or _set(limits.get(name), name) or _set(defaults.get(name, ""), name)
        requests[name] = request or ""
        limits[name] = _set(limits.get(name), name) or request or ""
    return within({"requests": requests, "limits": limits}, platform, gpu)


def within(own: Requirements, platform: TaskResources, gpu: str = GPU) -> Requirements:
    """Return resources cut to the execution's limits, and requests cut to their own limits. Raises Invalid."""
    ceilings = _ceilings(platform, gpu)
    requests, limits = _sanitized(own.get("requests", {}), gpu), _sanitized(own.get("limits", {}), gpu)
    cut_limits = {name: _smaller(value, ceilings.get(name)) for name, value in limits.items() if _set(value, name)}
    cut_requests = {
        name: _smaller(_smaller(value, ceilings.get(name)), cut_limits.get(name))
        for name, value in requests.items()
        if _set(value, name)
    }
    return {key: value for key, value in (("requests", cut_requests), ("limits", cut_limits)) if value}


def _ceilings(platform: TaskResources, gpu: str) -> dict[str, str | None]:
    limits = platform.limits
    named = {"cpu": limits.cpu, "memory": limits.memory, "ephemeral-storage": limits.ephemeral_storage, gpu: limits.gpu}
    return {name: _set(value, f"the execution's limit of {name}") for name, value in named.items()}


def _sanitized(resources: Mapping[str, object], gpu: str) -> dict[str, str]:
    """Convert quantities to text, as Kubernetes accepts numbers too; "gpu" gets its full name."""
    return {gpu if name == "gpu" else name: str(value) for name, value in resources.items()}


def _set(text: str | None, name: str) -> str | None:
    """Return the quantity unless it is missing or zero. Raises Invalid with the resource's name."""
    if not text:
        return None
    try:
        return text if parse(text) else None
    except Invalid as error:
        raise Invalid(f"resources: {name}: {error}") from None


def _smaller(value: str, ceiling: str | None) -> str:
    return ceiling if ceiling is not None and parse(ceiling) < parse(value) else value
