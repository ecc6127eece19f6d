"""Validation of pods, as far as propeller relies on it (k8s.io/kubernetes/pkg/apis/core/validation)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from propeller.embedded.server._errors import (
    Cause,
    duplicate_value,
    forbidden_field,
    invalid_value,
    required,
    unsupported_value,
)
from propeller.embedded.server._storage import Object
from propeller.embedded.server.schema._names import label, qualified_name, subdomain
from propeller.quantity import parse

_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_MAX_INT32 = 2**31 - 1

_CHANGEABLE = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)


def validate_spec(pod: Object) -> list[Cause]:
    """Validate a pod's spec."""
    spec = pod.get("spec") or {}
    volumes = list(_validate_volumes(spec.get("volumes") or ()))
    causes = volumes
    names = {volume.get("name") for volume in spec.get("volumes") or ()}
    containers = spec.get("containers") or ()
    if not containers:
        causes.append(required("spec.containers"))
    seen: set[str] = set()
    for path, group in (("spec.containers", containers), ("spec.initContainers", spec.get("initContainers") or ())):
        for index, container in enumerate(group):
            causes += _validate_container(container, f"{path}[{index}]", seen, names)
    if spec.get("restartPolicy") not in _RESTART_POLICIES and "restartPolicy" in spec:
        causes.append(unsupported_value("spec.restartPolicy", spec["restartPolicy"], _RESTART_POLICIES))
    if spec.get("dnsPolicy") not in _DNS_POLICIES and "dnsPolicy" in spec:
        causes.append(unsupported_value("spec.dnsPolicy", spec["dnsPolicy"], _DNS_POLICIES))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _MAX_INT32:
        why = f"must be between 1 and {_MAX_INT32}, inclusive"
        causes.append(invalid_value("spec.activeDeadlineSeconds", deadline, why))
    for name in ("nodeName", "serviceAccountName"):
        if (value := spec.get(name)) and (why := subdomain(value)):
            causes.append(invalid_value(f"spec.{name}", value, why))
    return causes


def validate_spec_change(pod: Object, old: Object) -> list[Cause]:
    """Validate a change of a pod's spec, which may change almost nothing."""
    spec, before = pod.get("spec") or {}, old.get("spec") or {}
    if spec == before:
        return []
    for name in ("containers", "initContainers"):
        if len(spec.get(name) or ()) != len(before.get(name) or ()):
            return [forbidden_field(f"spec.{name}", "pod updates may not add or remove containers")]
    causes = _validate_deadline_change(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    tolerations, gates = spec.get("tolerations") or (), spec.get("schedulingGates") or ()
    if any(one not in tolerations for one in before.get("tolerations") or ()):
        causes.append(
            forbidden_field("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
        )
    if any(one not in (before.get("schedulingGates") or ()) for one in gates):
        causes.append(
            forbidden_field("spec.schedulingGates", "only deletion is allowed, but found new scheduling gate")
        )
    if _fixed_part(spec) != _fixed_part(before):
        changed = sorted(
            name for name in {*spec, *before} if _fixed_part(spec).get(name) != _fixed_part(before).get(name)
        )
        why = f"pod updates may not change fields other than {_CHANGEABLE}\nchanged: {', '.join(changed)}"
        causes.append(forbidden_field("spec", why))
    return causes


def validate_status_change(pod: Object, old: Object) -> list[Cause]:
    """Validate a status report: it may not restart an ended container that its policy leaves ended."""
    policy = (old.get("spec") or {}).get("restartPolicy", "Always")
    status, before = pod.get("status") or {}, old.get("status") or {}
    causes = []
    if status.get("qosClass") != before.get("qosClass"):
        causes.append(invalid_value("status.qosClass", status.get("qosClass", ""), "field is immutable"))
    if policy == "Always":
        return causes
    states = {one.get("name"): one.get("state") or {} for one in status.get("containerStatuses") or ()}
    for index, one in enumerate(before.get("containerStatuses") or ()):
        ended = (one.get("state") or {}).get("terminated")
        if ended is None or one.get("name") not in states or "terminated" in states[one["name"]]:
            continue
        if policy == "Never" or not ended.get("exitCode"):
            path = f"status.containerStatuses[{index}].state"
            causes.append(forbidden_field(path, "may not be transitioned to non-terminated state"))
    return causes


def _validate_deadline_change(after: int | None, before: int | None) -> list[Cause]:
    field = "spec.activeDeadlineSeconds"
    if before is not None and after is None:
        return [invalid_value(field, None, "must not update from a positive integer to nil value")]
    if before is not None and after is not None and after > before:
        return [invalid_value(field, after, "must be less than or equal to previous value")]
    return []


def _fixed_part(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the immutable part of a spec."""
    fixed = {
        name: value
        for name, value in spec.items()
        if name not in ("activeDeadlineSeconds", "tolerations", "schedulingGates")
    }
    for name in ("containers", "initContainers"):
        if name in fixed:
            fixed[name] = [{**container, "image": ""} for container in fixed[name]]
    return fixed


def _validate_volumes(volumes: Any) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        path = f"spec.volumes[{index}].name"
        name = volume.get("name", "")
        if not name:
            yield required(path)
        elif why := label(name):
            yield invalid_value(path, name, why)
        elif name in seen:
            yield duplicate_value(path, name)
        seen.add(name)


def _validate_container(
    container: Mapping[str, Any], path: str, seen: set[str], volumes: set[str | None]
) -> Iterator[Cause]:
    name = container.get("name", "")
    if not name:
        yield required(f"{path}.name")
    elif why := label(name):
        yield invalid_value(f"{path}.name", name, why)
    elif name in seen:
        yield duplicate_value(f"{path}.name", name)
    seen.add(name)
    image = container.get("image", "")
    if not image:
        yield required(f"{path}.image")
    elif image.strip() != image:
        yield invalid_value(f"{path}.image", image, "must not have leading or trailing whitespace")
    variables = [variable.get("name", "") for variable in container.get("env") or ()]
    if not all(map(_is_variable, variables)):
        yield from _validate_variables(variables, f"{path}.env")
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            missing = f'Not found: "{mount.get("name", "")}"'
            yield Cause("FieldValueNotFound", missing, f"{path}.volumeMounts[{index}].name")
        if not mount.get("mountPath"):
            yield required(f"{path}.volumeMounts[{index}].mountPath")
    if container.get("imagePullPolicy") not in _PULL_POLICIES:
        yield unsupported_value(f"{path}.imagePullPolicy", container.get("imagePullPolicy", ""), _PULL_POLICIES)
    if container.get("terminationMessagePolicy") not in _MESSAGE_POLICIES:
        policy = container.get("terminationMessagePolicy", "")
        yield unsupported_value(f"{path}.terminationMessagePolicy", policy, _MESSAGE_POLICIES)
    if resources := container.get("resources"):
        yield from _validate_resources(resources, f"{path}.resources")


def _validate_variables(names: list[str], path: str) -> Iterator[Cause]:
    why = "a valid environment variable name must consist only of printable ASCII characters other than '='"
    for index, name in enumerate(names):
        if not _is_variable(name):
            field = f"{path}[{index}].name"
            yield invalid_value(field, name, why) if name else required(field)


@functools.lru_cache(maxsize=10_000)
def _is_variable(name: str) -> bool:
    return bool(name) and "=" not in name and name.isascii() and name.isprintable()


def _validate_resources(resources: Mapping[str, Any], path: str) -> Iterator[Cause]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for field, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            where = f"{path}.{field}[{name}]"
            if "/" not in name and name not in _STANDARD_RESOURCES and not name.startswith("hugepages-"):
                yield invalid_value(where, name, "must be a standard resource type or fully qualified")
                yield invalid_value(where, name, "must be a standard resource for containers")
            elif "/" in name and (why := qualified_name(name)):
                yield invalid_value(where, name, why)
            elif parse(amount) < 0:
                yield invalid_value(where, amount, "must be greater than or equal to 0")
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is not None and parse(amount) > parse(limit):
            why = f"must be less than or equal to {name} limit of {limit}"
            yield invalid_value(f"{path}.requests", amount, why)
        elif limit is None and "/" in name:
            yield required(f"{path}.limits", "Limit must be set for non overcommitable resources")
