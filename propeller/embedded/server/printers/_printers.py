"""The columns that `kubectl get` shows of built-in kinds (k8s.io/kubernetes/pkg/printers/internalversion)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from propeller.clock import parse_rfc3339
from propeller.embedded.server._storage import Object
from propeller.embedded.server.printers._durations import age, human
from propeller.embedded.server.printers._pod_row import pod_cells

Cells = list[Any]


class Column(msgspec.Struct, frozen=True):
    """One column; those of priority 1 show with `-o wide` only."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""


class Printer(msgspec.Struct, frozen=True):
    """A kind's columns, and an object's cells at a time (epoch seconds)."""

    columns: tuple[Column, ...]
    cells: Callable[[Object, float], Cells]


NAME = Column("Name", format="name")
_AGE = Column("Age")
_CREATED = Column("Created At", "date")


def _wide(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, priority=1) for name in names)


def _columns(*names: str) -> tuple[Column, ...]:
    return (NAME, *(Column(name) for name in names), _AGE)


def default_cells(obj: Object, now: float) -> Cells:
    return [_name(obj), obj["metadata"].get("creationTimestamp")]


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _age(obj: Object, now: float) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _namespace(obj: Object, now: float) -> Cells:
    return [_name(obj), (obj.get("status") or {}).get("phase", ""), _age(obj, now)]


def _node(obj: Object, now: float) -> Cells:
    status = obj.get("status") or {}
    info = status.get("nodeInfo") or {}
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    states = ["Ready" if conditions["Ready"] == "True" else "NotReady"] if "Ready" in conditions else ["Unknown"]
    if (obj.get("spec") or {}).get("unschedulable"):
        states.append("SchedulingDisabled")
    labels = obj["metadata"].get("labels") or {}
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix) and key != prefix)
    addresses = {one.get("type"): one.get("address") for one in status.get("addresses") or ()}
    architecture = info.get("architecture")
    return [
        _name(obj),
        ",".join(states),
        ",".join(roles) or "<none>",
        _age(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage") or "<unknown>",
        (info.get("kernelVersion") or "<unknown>") + (f" ({architecture})" if architecture else ""),
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _event(obj: Object, now: float) -> Cells:
    about, source, series = obj.get("involvedObject") or {}, obj.get("source") or {}, obj.get("series")
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = (series or {}).get("lastObservedTime") or obj.get("lastTimestamp") or first
    count = (series or {}).get("count") or obj.get("count") or 1
    kind, name = about.get("kind", "").lower(), about.get("name")
    component = source.get("component") or obj.get("reportingComponent", "")
    host = source.get("host") or obj.get("reportingInstance", "")
    return [
        age(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{name}" if name else kind,
        about.get("fieldPath", ""),
        f"{component}, {host}" if host else component,
        obj.get("message", "").strip(),
        age(first, now),
        count,
        _name(obj),
    ]


def _config_map(obj: Object, now: float) -> Cells:
    return [_name(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), _age(obj, now)]


def _secret(obj: Object, now: float) -> Cells:
    return [_name(obj), obj.get("type", ""), len(obj.get("data") or ()), _age(obj, now)]


def _quota(obj: Object, now: float) -> Cells:
    status = obj.get("status") or {}
    used = status.get("used") or {}
    texts = {name: f"{name}: {used.get(name, '0')}/{hard}" for name, hard in sorted((status.get("hard") or {}).items())}
    requests = ", ".join(text for name, text in texts.items() if not name.startswith("limits."))
    limits = ", ".join(text for name, text in texts.items() if name.startswith("limits."))
    return [_name(obj), requests, limits, _age(obj, now)]


def _service_account(obj: Object, now: float) -> Cells:
    return [_name(obj), _age(obj, now)]


def _lease(obj: Object, now: float) -> Cells:
    return [_name(obj), (obj.get("spec") or {}).get("holderIdentity", ""), _age(obj, now)]


def _role_binding(obj: Object, now: float) -> Cells:
    role = obj.get("roleRef") or {}
    names: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.get("subjects") or ():
        namespace = subject.get("namespace")
        name = subject.get("name", "")
        names.setdefault(subject.get("kind", ""), []).append(f"{namespace}/{name}" if namespace else name)
    subjects = [", ".join(names[kind]) for kind in ("User", "Group", "ServiceAccount")]
    return [_name(obj), f"{role.get('kind', '')}/{role.get('name', '')}", _age(obj, now), *subjects]


def _definition(obj: Object, now: float) -> Cells:
    spec = obj.get("spec") or {}
    names = spec.get("names") or {}
    versions = (
        f"{one['name']}(storage)" if one.get("storage") else one["name"]
        for one in spec.get("versions") or ()
        if one.get("served")
    )
    conditions = (obj.get("status") or {}).get("conditions") or ()
    established = any(one.get("type") == "Established" and one.get("status") == "True" for one in conditions)
    return [
        _name(obj),
        spec.get("scope", ""),
        ",".join(versions),
        obj["metadata"].get("creationTimestamp"),
        spec.get("group", ""),
        names.get("kind", ""),
        ",".join(names.get("shortNames") or ()),
        established,
    ]


DEFAULT = Printer((NAME, _CREATED), default_cells)


def _job(obj: Object, now: float) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ()
    done, wanted, together = status.get("succeeded", 0), spec.get("completions"), spec.get("parallelism", 0)
    of: Any = wanted if wanted is not None else f"1 of {together}" if together > 1 else 1
    began, ended = status.get("startTime"), status.get("completionTime")
    return [
        _name(obj),
        _job_status(obj, status),
        f"{done}/{of}",
        "" if not began else human((parse_rfc3339(ended) if ended else now) - parse_rfc3339(began)),
        _age(obj, now),
        ",".join(one["name"] for one in containers),
        ",".join(one.get("image", "") for one in containers),
        ",".join(f"{key}={value}" for key, value in sorted(spec["selector"].get("matchLabels", {}).items())),
    ]


def _pod_template(obj: Object, now: float) -> Cells:
    template = obj.get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or ()
    labels = (template.get("metadata") or {}).get("labels") or {}
    return [
        _name(obj),
        ",".join(one["name"] for one in containers),
        ",".join(one.get("image", "") for one in containers),
        ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>",
        _age(obj, now),
    ]


def _job_status(obj: Object, status: Mapping[str, Any]) -> str:
    held = {one["type"] for one in status.get("conditions") or () if one.get("status") == "True"}
    for name in ("Complete", "Failed"):
        if name in held:
            return name
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    return next((name for name in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if name in held), "Running")


_POD = Printer(
    (*_columns("Ready", "Status", "Restarts"), *_wide("IP", "Node", "Nominated Node", "Readiness Gates")), pod_cells
)
_NODE = Printer(
    (
        NAME,
        Column("Status"),
        Column("Roles"),
        _AGE,
        Column("Version"),
        *_wide("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"),
    ),
    _node,
)
_EVENT = Printer(
    (
        Column("Last Seen"),
        Column("Type"),
        Column("Reason"),
        Column("Object"),
        *_wide("Subobject", "Source"),
        Column("Message"),
        *_wide("First Seen", "Count", "Name"),
    ),
    _event,
)
_BINDING = Printer((*_columns("Role"), *_wide("Users", "Groups", "ServiceAccounts")), _role_binding)
_DEFINITION = Printer(
    (
        NAME,
        Column("Scope"),
        Column("Versions"),
        _CREATED,
        *_wide("Group", "Kind", "ShortNames"),
        Column("Established", "boolean", priority=1),
    ),
    _definition,
)

PRINTERS: Mapping[str, Printer] = {
    "ClusterRoleBinding": _BINDING,
    "ConfigMap": Printer(_columns("Data"), _config_map),
    "CustomResourceDefinition": _DEFINITION,
    "Event": _EVENT,
    "Job": Printer((*_columns("Status", "Completions", "Duration"), *_wide("Containers", "Images", "Selector")), _job),
    "Lease": Printer(_columns("Holder"), _lease),
    "Namespace": Printer(_columns("Status"), _namespace),
    "Node": _NODE,
    "Pod": _POD,
    "PodTemplate": Printer(_columns("Containers", "Images", "Pod Labels"), _pod_template),
    "ResourceQuota": Printer(_columns("Request", "Limit"), _quota),
    "RoleBinding": _BINDING,
    "Secret": Printer(_columns("Type", "Data"), _secret),
    "ServiceAccount": Printer(_columns(), _service_account),
}
"""Printers by built-in kind; other kinds show their name and age."""
