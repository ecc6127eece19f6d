"""The conditions of a terminating namespace: what it waits for.

Source: k8s.io/kubernetes/pkg/controller/namespace/deletion, status_condition_utils.go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from propeller.clock import rfc3339
from propeller.embedded.server._storage import Object, Record
from propeller.embedded.server.registry._kinds import Kind

_CONTENT, _FINALIZERS = "NamespaceContentRemaining", "NamespaceFinalizersRemaining"

_WELL: Mapping[str, tuple[str, str]] = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    _CONTENT: ("ContentRemoved", "All content successfully removed"),
    _FINALIZERS: ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}


def set_conditions(namespace: Object, remaining: Iterable[tuple[Kind, Record]], now: float) -> None:
    """Set a namespace's conditions from its remaining objects; `now` in epoch seconds."""
    kinds: Counter[str] = Counter()
    finalizers: Counter[str] = Counter()
    for kind, record in remaining:
        kinds[f"{kind.plural}.{kind.group}"] += 1
        finalizers.update(record.finalizers)
    found: dict[str, tuple[str, str]] = {}
    if kinds:
        listed = ", ".join(f"{name} has {kinds[name]} resource instances" for name in sorted(kinds))
        found[_CONTENT] = ("SomeResourcesRemain", f"Some resources are remaining: {listed}")
    if finalizers:
        listed = ", ".join(f"{name} in {finalizers[name]} resource instances" for name in sorted(finalizers))
        found[_FINALIZERS] = (
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {listed}",
        )
    status = namespace.get("status") or {}
    before = {one.get("type"): one for one in status.get("conditions") or ()}
    conditions = [_condition(name, found, before.get(name), now) for name in _WELL]
    others = [one for name, one in before.items() if name not in _WELL]
    namespace["status"] = {**status, "conditions": others + conditions}


def _condition(
    name: str, found: Mapping[str, tuple[str, str]], before: Mapping[str, Any] | None, now: float
) -> dict[str, Any]:
    reason, message = found.get(name, _WELL[name])
    status = "True" if name in found else "False"
    same = before is not None and before["status"] == status
    since = before["lastTransitionTime"] if before is not None and same else rfc3339(now)
    return {"type": name, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
