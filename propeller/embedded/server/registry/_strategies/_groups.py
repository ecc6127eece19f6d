"""Kinds of other groups: leases, and the roles that are kept but not enforced."""

from __future__ import annotations

from typing import Any

from propeller.clock import parse_rfc3339, rfc3339
from propeller.embedded.server._errors import Cause, invalid_value, required, unsupported_value
from propeller.embedded.server._storage import Object
from propeller.embedded.server.registry._strategies._base import Strategy
from propeller.embedded.server.schema._names import NameRule, path_segment
from propeller.embedded.server.schema._typecheck import TypeMismatch

RBAC = "rbac.authorization.k8s.io"


class LeaseStrategy(Strategy):
    create_on_update = True
    unconditional_update = False

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for name in ("acquireTime", "renewTime"):
            if text := spec.get(name):
                spec[name] = _micro_time(text)

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        causes = []
        if (seconds := spec.get("leaseDurationSeconds")) is not None and seconds <= 0:
            causes.append(invalid_value("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
        if (transitions := spec.get("leaseTransitions")) is not None and transitions < 0:
            causes.append(invalid_value("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
        return causes


class RoleStrategy(Strategy):
    create_on_update = True
    name_rule: NameRule = staticmethod(path_segment)

    def default(self, obj: Object) -> None:
        obj.setdefault("rules", None)

    def validate(self, obj: Object) -> list[Cause]:
        causes = []
        for index, rule in enumerate(obj.get("rules") or ()):
            path = f"rules[{index}]"
            if not rule.get("verbs"):
                causes.append(required(f"{path}.verbs", "verbs must contain at least one value"))
            if rule.get("nonResourceURLs"):
                continue
            if not rule.get("apiGroups"):
                causes.append(required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
            if not rule.get("resources"):
                causes.append(required(f"{path}.resources", "resource rules must supply at least one resource"))
        return causes


class RoleBindingStrategy(Strategy):
    create_on_update = True
    name_rule: NameRule = staticmethod(path_segment)
    role_kinds: tuple[str, ...] = ("Role", "ClusterRole")

    def default(self, obj: Object) -> None:
        role = obj.setdefault("roleRef", {})
        if not role.get("apiGroup"):
            role["apiGroup"] = RBAC
        for subject in obj.get("subjects") or ():
            if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = RBAC

    def validate(self, obj: Object) -> list[Cause]:
        role = obj.get("roleRef") or {}
        causes = []
        if role.get("kind") not in self.role_kinds:
            causes.append(unsupported_value("roleRef.kind", role.get("kind", ""), self.role_kinds))
        if not role.get("name"):
            causes.append(required("roleRef.name"))
        for index, subject in enumerate(obj.get("subjects") or ()):
            causes += self._validate_subject(subject, f"subjects[{index}]")
        return causes

    def validate_update(self, obj: Object, old: Object) -> list[Cause]:
        if obj.get("roleRef") != old.get("roleRef"):
            return [invalid_value("roleRef", obj.get("roleRef"), "cannot change roleRef")]
        return []

    def _validate_subject(self, subject: dict[str, Any], path: str) -> list[Cause]:
        kinds = ("ServiceAccount", "User", "Group")
        causes = [] if subject.get("name") else [required(f"{path}.name")]
        if subject.get("kind") not in kinds:
            causes.append(unsupported_value(f"{path}.kind", subject.get("kind", ""), kinds))
        if subject.get("kind") == "ServiceAccount" and not subject.get("namespace") and "Role" not in self.role_kinds:
            causes.append(required(f"{path}.namespace"))
        return causes


class ClusterRoleBindingStrategy(RoleBindingStrategy):
    role_kinds = ("ClusterRole",)


def _micro_time(text: str) -> str:
    try:
        return rfc3339(parse_rfc3339(text), microseconds=True)
    except ValueError as error:
        raise TypeMismatch(f'parsing time "{text}" as "2006-01-02T15:04:05.000000Z07:00": {error}') from error
