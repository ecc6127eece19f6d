"""Resource quotas: which resources they may limit, and for which pods (validation of
k8s.io/kubernetes/pkg/apis/core).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from propeller.embedded.server._errors import Cause, invalid_value, required
from propeller.embedded.server._storage import Object
from propeller.embedded.server.registry._strategies._base import Strategy
from propeller.embedded.server.registry._strategies._pod_defaults import amounts
from propeller.quantity import parse
from propeller.resourcemgr.quotas import PLAIN, PRIORITY, conditions_of

_COUNTED = {
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
}
_COMPUTE = {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"}
_STANDARD = (
    _COUNTED
    | _COMPUTE
    | {
        "ephemeral-storage",
        "limits.ephemeral-storage",
        "requests.ephemeral-storage",
        "requests.storage",
    }
)
_OF_PODS = _COMPUTE | {"pods"}
_OF_VOLUMES = {"persistentvolumeclaims", "requests.storage"}
_VOLUMES = "VolumeAttributesClass"
_ONLY_EXISTS = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


class ResourceQuotaStrategy(Strategy):
    has_status = True
    returns_deleted = True

    def default(self, obj: Object) -> None:
        for part, name in (("spec", "hard"), ("status", "hard"), ("status", "used")):
            if listed := (obj.get(part) or {}).get(name):
                obj[part][name] = amounts(listed)

    def prepare_create(self, obj: Object) -> None:
        obj["status"] = {}

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        return [*_validate_hard(spec.get("hard") or {}), *_validate_scopes(spec)]

    def validate_update(self, obj: Object, old: Object) -> list[Cause]:
        scopes, before = ((one.get("spec") or {}).get("scopes") or [] for one in (obj, old))
        if set(scopes) != set(before):
            return [invalid_value("spec.scopes", scopes, "field is immutable")]
        return []


def _validate_hard(hard: Mapping[str, str]) -> Iterator[Cause]:
    for name, amount in hard.items():
        field, number = f"spec.hard[{name}]", parse(amount)
        if "/" not in name and not _is_standard(name):
            yield invalid_value(field, name, "must be a standard resource type or fully qualified")
            yield invalid_value(field, name, "must be a standard resource for quota")
        if number < 0:
            yield invalid_value(field, amount, "must be greater than or equal to 0")
        if name in _COUNTED and number % 1:
            yield invalid_value(field, amount, "must be an integer")


def _is_standard(name: str) -> bool:
    return name in _STANDARD or name.startswith(("hugepages-", "requests.hugepages-"))


def _validate_scopes(spec: Mapping[str, Any]) -> Iterator[Cause]:
    if listed := spec.get("scopes"):
        for name in listed:
            yield from _validate_scope(name, "spec.scopes", listed, spec)
        yield from _validate_pairs(listed, "spec.scopes", listed)
    field = "spec.scopeSelector.matchExpressions"
    selected = list(conditions_of({"scopeSelector": spec.get("scopeSelector")}))
    shown = [{"ScopeName": name, "Operator": operator, "Values": values or None} for name, operator, values in selected]
    for name, operator, values in selected:
        yield from _validate_scope(name, field, {"MatchExpressions": shown}, spec)
        yield from _validate_operator(name, operator, values, field)
    yield from _validate_pairs([name for name, _, _ in selected], field, listed)


def _validate_scope(name: str, field: str, shown: Any, spec: Mapping[str, Any]) -> Iterator[Cause]:
    """Validate that a scope exists and fits the limited resources."""
    if name not in (*PLAIN, PRIORITY, _VOLUMES):
        listed = field == "spec.scopes"
        yield invalid_value(field if listed else f"{field}.scopeName", shown if listed else name, "unsupported scope")
        return
    limitable = {"BestEffort": {"pods"}, _VOLUMES: _OF_VOLUMES}.get(name, _OF_PODS)
    for limited in sorted(spec.get("hard") or ()):
        if _is_standard(limited) and limited not in limitable:
            yield invalid_value(field, shown, "unsupported scope applied to resource")


def _validate_operator(name: str, operator: str, values: list[str], field: str) -> Iterator[Cause]:
    if name in PLAIN and operator != "Exists":
        yield invalid_value(f"{field}.operator", operator, _ONLY_EXISTS)
    if operator in ("In", "NotIn") and not values:
        detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
        yield required(f"{field}.values", detail)
    elif operator in ("Exists", "DoesNotExist") and values:
        detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
        yield invalid_value(f"{field}.values", values, detail)
    elif operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        yield invalid_value(f"{field}.operator", operator, "not a valid selector operator")


def _validate_pairs(names: list[str], field: str, shown: Any) -> Iterator[Cause]:
    for one in ("BestEffort", "Terminating"):
        if one in names and f"Not{one}" in names:
            yield invalid_value(field, shown, "conflicting scopes")
