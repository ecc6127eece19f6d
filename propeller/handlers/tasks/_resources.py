"""Requests and limits of a task's containers, as FlytePropeller resolves them (flytek8s/container_helper.go).

The task's own values, overridden by the node's, completed by the execution's defaults, and cut to the execution's
limits. A request without a limit is its own limit, and the reverse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

from flyteidl.core import tasks_pb2

from propeller.errors import Invalid
from propeller.workflow import TaskResources

GPU = "nvidia.com/gpu"

_NAMES = {
    tasks_pb2.Resources.CPU: "cpu",
    tasks_pb2.Resources.GPU: GPU,
    tasks_pb2.Resources.MEMORY: "memory",
    tasks_pb2.Resources.EPHEMERAL_STORAGE: "ephemeral-storage",
}
"""STORAGE, which Kubernetes does not know, is left out as in Flyte."""

LONGEST_QUANTITY = 64
"""Characters: more than any amount that Kubernetes can hold exactly."""

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i)?)", re.ASCII)
_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}

Requirements = dict[str, dict[str, str]]


def task_resources(resources: tasks_pb2.Resources) -> Requirements:
    """A container's resources from its template."""
    return {
        "requests": {_NAMES[r.name]: r.value for r in resources.requests if r.name in _NAMES},
        "limits": {_NAMES[r.name]: r.value for r in resources.limits if r.name in _NAMES},
    }


def resolve(
    own: Requirements, overrides: Mapping[str, Mapping[str, str]] | None, platform: TaskResources
) -> Requirements:
    """What a task's container asks for. Raises Invalid with the quantity that is none."""
    requests = _sanitized(own.get("requests", {})) | _sanitized((overrides or {}).get("requests", {}))
    limits = _sanitized(own.get("limits", {})) | _sanitized((overrides or {}).get("limits", {}))
    defaults = {"cpu": platform.requests.cpu, "memory": platform.requests.memory}
    for name in dict.fromkeys((*requests, *limits, *defaults)):
        request = _set(requests.get(name), name) or _set(limits.get(name), name) or _set(defaults.get(name, ""), name)
        requests[name] = request or ""
        limits[name] = _set(limits.get(name), name) or request or ""
    return within({"requests": requests, "limits": limits}, platform)


def within(own: Requirements, platform: TaskResources) -> Requirements:
    """The same, cut to the execution's limits, and requests to their own limits. Raises Invalid."""
    ceilings = _ceilings(platform)
    requests, limits = _sanitized(own.get("requests", {})), _sanitized(own.get("limits", {}))
    cut_limits = {name: _smaller(value, ceilings.get(name)) for name, value in limits.items() if _set(value, name)}
    cut_requests = {
        name: _smaller(_smaller(value, ceilings.get(name)), cut_limits.get(name))
        for name, value in requests.items()
        if _set(value, name)
    }
    return {key: value for key, value in (("requests", cut_requests), ("limits", cut_limits)) if value}


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity ("500m", "1Gi", "1e3") as a number; raises Invalid."""
    if len(text) > LONGEST_QUANTITY:
        raise Invalid(f"{text[:20]!r}... is not a quantity: it has {len(text)} characters, over {LONGEST_QUANTITY}")
    return _number(text)


@lru_cache(1024)
def _number(text: str) -> Decimal:
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise Invalid(f"{text!r} is not a quantity; write it like 500m, 2 or 1Gi")
    digits, exponent, suffix = found.groups()
    return Decimal(digits) * (Decimal(10) ** int(exponent) if exponent else _SUFFIXES.get(suffix, Decimal(1)))


def _ceilings(platform: TaskResources) -> dict[str, str | None]:
    limits = platform.limits
    named = {"cpu": limits.cpu, "memory": limits.memory, "ephemeral-storage": limits.ephemeral_storage, GPU: limits.gpu}
    return {name: _set(value, f"the execution's limit of {name}") for name, value in named.items()}


def _sanitized(resources: Mapping[str, object]) -> dict[str, str]:
    """Quantities as text, where Kubernetes takes numbers too; "gpu" under its own name."""
    return {GPU if name == "gpu" else name: str(value) for name, value in resources.items()}


def _set(text: str | None, name: str) -> str | None:
    """The quantity unless it is none or zero. Raises Invalid, with the resource's name."""
    if not text:
        return None
    try:
        return text if quantity(text) else None
    except Invalid as error:
        raise Invalid(f"resources: {name}: {error}") from None


def _smaller(value: str, ceiling: str | None) -> str:
    return ceiling if ceiling is not None and quantity(ceiling) < quantity(value) else value
