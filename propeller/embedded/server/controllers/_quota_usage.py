"""An object's usage of a quota (k8s.io/kubernetes/pkg/quota/v1/evaluator/core)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from propeller.clock import parse_rfc3339
from propeller.embedded.server._storage import Object
from propeller.embedded.server.registry._kinds import Kind
from propeller.quantity import parse, render

Amounts = dict[str, Decimal]

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_CONSTRAINED = {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"}
_COUNTED_BY_PLURAL = ("configmaps", "secrets", "resourcequotas")
_MEMORY_NAMES = ("memory", "ephemeral-storage")
_FINISHED = ("Succeeded", "Failed")


def usage(kind: Kind, obj: Object, now: float | None = None) -> Amounts:
    """How much an object uses of each thing that can be limited.

    A pod that should have gone before `now` (epoch seconds) is not charged for; without it, that makes no difference.
    """
    plural = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    used = {f"count/{plural}": Decimal(1)}
    if kind.group == "" and kind.plural in _COUNTED_BY_PLURAL:
        used[kind.plural] = Decimal(1)
    if kind.group == "" and kind.kind == "Pod" and _counts(obj, now):
        spec = obj.get("spec") or {}
        requests, limits = _pod_total(spec, "requests"), _pod_total(spec, "limits")
        used["pods"] = Decimal(1)
        used |= {f"limits.{name}": amount for name, amount in limits.items() if name in _COMPUTE}
        used |= {f"requests.{name}": amount for name, amount in requests.items()}
        used |= {name: amount for name, amount in requests.items() if name in _COMPUTE}
    return used


def missing_constraints(obj: Object, hard: Iterable[str]) -> str:
    """Return what a pod must specify because a quota limits it, "" if it does. Every container has to."""
    wanted = _CONSTRAINED.intersection(hard)
    spec = obj.get("spec") or {}
    missing: dict[str, set[str]] = {}
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        resources = container.get("resources") or {}
        given = {f"limits.{name}" for name in resources.get("limits") or ()}
        for name in resources.get("requests") or ():
            given |= {name, f"requests.{name}"}
        for name in wanted - given:
            missing.setdefault(name, set()).add(container.get("name", ""))
    texts = (f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))
    return f"must specify {'; '.join(texts)}" if missing else ""


def written(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    """Amounts as quantities."""
    return {name: render(amount, binary=name.endswith(_MEMORY_NAMES)) for name, amount in amounts.items()}


def _counts(pod: Object, now: float | None) -> bool:
    """Whether a pod is charged for: not once it has ended, or should long have gone."""
    if (pod.get("status") or {}).get("phase") in _FINISHED:
        return False
    metadata = pod["metadata"]
    seconds, ends = metadata.get("deletionGracePeriodSeconds"), metadata.get("deletionTimestamp")
    return now is None or seconds is None or ends is None or now <= parse_rfc3339(ends) + float(seconds)


def _pod_total(spec: Mapping[str, Any], what: str) -> Amounts:
    """Return what a pod needs at the same time: its containers and sidecars, or one init container with the sidecars
    before it.
    """
    running: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = _amounts(container, what)
        if container.get("restartPolicy") == "Always":
            running = _sum(running, own)
            peak = _largest(peak, running)
        else:
            peak = _largest(peak, _sum(running, own))
    for container in spec.get("containers") or ():
        running = _sum(running, _amounts(container, what))
    overhead = {name: parse(amount) for name, amount in (spec.get("overhead") or {}).items()}
    return _sum(_largest(peak, running), overhead)


def _amounts(container: Mapping[str, Any], what: str) -> Amounts:
    listed = (container.get("resources") or {}).get(what) or {}
    return {name: parse(amount) for name, amount in listed.items()}


def _sum(one: Amounts, other: Amounts) -> Amounts:
    return {name: one.get(name, Decimal(0)) + other.get(name, Decimal(0)) for name in {**one, **other}}


def _largest(one: Amounts, other: Amounts) -> Amounts:
    return {name: max(one.get(name, Decimal(0)), other.get(name, Decimal(0))) for name in {**one, **other}}
