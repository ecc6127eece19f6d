"""Which pods a quota is about: its scopes, and its scope selector (k8s.io/kubernetes/pkg/quota/v1/evaluator/core)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Object = Mapping[str, Any]

PRIORITY = "PriorityClass"
CROSS_NAMESPACE = "CrossNamespacePodAffinity"
PLAIN = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", CROSS_NAMESPACE)
"""Scopes that a pod is in or not; of a priority class the name counts, too."""


def is_about(spec: Mapping[str, Any], pod: Object | None) -> bool:
    """Whether a quota with this spec counts a pod; with any scope, it counts nothing but pods (`pod` None)."""
    if not spec.get("scopes") and not spec.get("scopeSelector"):
        return True
    return pod is not None and all(_holds(pod, *condition) for condition in conditions_of(spec))


def conditions_of(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """All scopes of a quota, as (name, operator, values)."""
    for name in spec.get("scopes") or ():
        yield name, "Exists", []
    for one in (spec.get("scopeSelector") or {}).get("matchExpressions") or ():
        yield one.get("scopeName", ""), one.get("operator", ""), one.get("values") or []


def _holds(pod: Object, name: str, operator: str, values: list[str]) -> bool:
    spec = pod.get("spec") or {}
    best_effort = (pod.get("status") or {}).get("qosClass") == "BestEffort"
    match name:
        case "BestEffort":
            return best_effort
        case "NotBestEffort":
            return not best_effort
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "PriorityClass":
            return _selects(spec.get("priorityClassName", ""), operator, values)
        case "CrossNamespacePodAffinity":
            return any(term.get("namespaces") or "namespaceSelector" in term for term in _terms(spec))
        case _:
            return False


def _selects(value: str, operator: str, values: list[str]) -> bool:
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return bool(value)
        case _:
            return not value


def _terms(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The terms of a pod's affinity to other pods, whichever way they count."""
    affinity = spec.get("affinity") or {}
    for way in ("podAffinity", "podAntiAffinity"):
        wanted = affinity.get(way) or {}
        yield from wanted.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        for weighted in wanted.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            yield weighted.get("podAffinityTerm") or {}
