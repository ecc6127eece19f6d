"""Resolve requests and limits of a task's containers as FlytePropeller does (flytek8s/container_helper.go).

The task's own values, overridden by the node's, completed by the execution's defaults, and cut to the execution's
limits. A request without a limit is its own limit, and the reverse.
"""

from __future__ import annotations

from collections.abc import Mapping

from flyteidl.core import tasks_pb2

from propeller.errors import Invalid
from propeller.quantity import parse
from propeller.workflow import TaskResources

GPU = "nvidia.com/gpu"

_NAMES = {
    tasks_pb2.Resources.CPU: "cpu",
    tasks_pb2.Resources.GPU: GPU,
    tasks_pb2.Resources.MEMORY: "memory",
    tasks_pb2.Resources.EPHEMERAL_STORAGE: "ephemeral-storage",
}
"""STORAGE, which Kubernetes does not know, is left out as in Flyte."""

Requirements = dict[str, dict[str, str]]


def task_resources(resources: tasks_pb2.Resources) -> Requirements:
    """Return a container's resources from its template."""
    return {
        "requests": {_NAMES[r.name]: r.value for r in resources.requests if r.name in _NAMES},
        "limits": {_NAMES[r.name]: r.value for r in resources.limits if r.name in _NAMES},
    }


def resolve(
    own: Requirements, overrides: Mapping[str, Mapping[str, str]] | None, platform: TaskResources
) -> Requirements:
    """Return the resources of a task's container. Raises Invalid, naming a malformed quantity."""
    requests = _sanitized(own.get("requests", {})) | _sanitized((overrides or {}).get("requests", {}))
    limits = _sanitized(own.get("limits", {})) | _sanitized((overrides or {}).get("limits", {}))
    defaults = {"cpu": platform.requests.cpu, "memory": platform.requests.memory}
    for name in dict.fromkeys((*requests, *limits, *defaults)):
        request = _set(requests.get(name), name) or _set(limits.get(name), name) or _set(defaults.get(name, ""), name)
        requests[name] = request or ""
        limits[name] = _set(limits.get(name), name) or request or ""
    return within({"requests": requests, "limits": limits}, platform)


def within(own: Requirements, platform: TaskResources) -> Requirements:
    """Return resources cut to the execution's limits, and requests cut to their own limits. Raises Invalid."""
    ceilings = _ceilings(platform)
    requests, limits = _sanitized(own.get("requests", {})), _sanitized(own.get("limits", {}))
    cut_limits = {name: _smaller(value, ceilings.get(name)) for name, value in limits.items() if _set(value, name)}
    cut_requests = {
        name: _smaller(_smaller(value, ceilings.get(name)), cut_limits.get(name))
        for name, value in requests.items()
        if _set(value, name)
    }
    return {key: value for key, value in (("requests", cut_requests), ("limits", cut_limits)) if value}


def _ceilings(platform: TaskResources) -> dict[str, str | None]:
    limits = platform.limits
    named = {"cpu": limits.cpu, "memory": limits.memory, "ephemeral-storage": limits.ephemeral_storage, GPU: limits.gpu}
    return {name: _set(value, f"the execution's limit of {name}") for name, value in named.items()}


def _sanitized(resources: Mapping[str, object]) -> dict[str, str]:
    """Convert quantities to text, as Kubernetes accepts numbers too; "gpu" gets its full name."""
    return {GPU if name == "gpu" else name: str(value) for name, value in resources.items()}


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
