"""Pods: defaults, QoS class, immutable fields, and grace period."""

from __future__ import annotations

from typing import Any

from propeller.embedded.server._errors import Cause
from propeller.embedded.server._storage import Object
from propeller.embedded.server.registry._strategies._base import Strategy, restore
from propeller.embedded.server.registry._strategies._pod_defaults import (
    admit_pod,
    admit_pod_update,
    default_pod,
    has_only_admitted_tolerations,
)
from propeller.embedded.server.registry._strategies._pod_rules import (
    validate_spec,
    validate_spec_change,
    validate_status_change,
)
from propeller.quantity import parse

FINISHED = ("Succeeded", "Failed")


class PodStrategy(Strategy):
    has_status = True
    returns_deleted = True
    selectable = (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    )

    def default(self, obj: Object) -> None:
        default_pod(obj)

    def prepare_create(self, obj: Object) -> None:
        obj["metadata"]["generation"] = 1
        if obj.get("spec"):
            admit_pod(obj)
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj)}
        if (obj.get("spec") or {}).get("schedulingGates"):
            gated = {
                "type": "PodScheduled",
                "status": "False",
                "lastTransitionTime": obj["metadata"]["creationTimestamp"],
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
            obj["status"]["conditions"] = [gated]

    def prepare_update(self, obj: Object, old: Object) -> None:
        restore(obj, old, "status")
        if obj.get("spec"):
            admit_pod_update(obj, old)
        if obj.get("spec") != old.get("spec"):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def prepare_status(self, obj: Object, old: Object) -> None:
        restore(obj, old, "spec")
        restore(obj["metadata"], old["metadata"], "ownerReferences")
        status = obj.setdefault("status", {})
        if not status.get("qosClass"):
            restore(status, old.get("status") or {}, "qosClass")

    def validate(self, obj: Object) -> list[Cause]:
        return validate_spec(obj)

    def validate_update(self, obj: Object, old: Object) -> list[Cause]:
        return validate_spec_change(obj, old)

    def validate_status(self, obj: Object, old: Object) -> list[Cause]:
        return validate_status_change(obj, old)

    def fields_of(self, obj: Object) -> tuple[str, ...]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        addresses = status.get("podIPs")
        return (
            spec.get("nodeName", ""),
            spec.get("restartPolicy", ""),
            spec.get("schedulerName", ""),
            spec.get("serviceAccountName", ""),
            "true" if spec.get("hostNetwork") else "false",
            status.get("phase", ""),
            addresses[0].get("ip", "") if addresses else "",
            status.get("nominatedNodeName", ""),
        )

    def admitted(self, obj: Object) -> tuple[tuple[str, ...], ...]:
        names = ["priority", "preemptionPolicy"]
        if has_only_admitted_tolerations(obj):
            names.append("tolerations")
        status = [("f:status", "f:qosClass")]
        if (obj.get("status") or {}).get("phase") == "Pending":
            status.append(("f:status", "f:phase"))
        return (*(("f:spec", f"f:{name}") for name in names), *status)

    def grace(self, obj: Object, asked: int | None) -> int | None:
        spec = obj.get("spec") or {}
        if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in FINISHED:
            return 0
        seconds = spec.get("terminationGracePeriodSeconds", 30) if asked is None else asked
        return 1 if seconds < 0 else int(seconds)


def qos_class(pod: Object) -> str:
    """Return the QoS class: BestEffort without requests, Guaranteed if every container's CPU and memory requests equal
    its limits.
    """
    spec = pod.get("spec") or {}
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    classes = {_container_class(container.get("resources") or {}) for container in containers}
    return classes.pop() if len(classes) == 1 else "Burstable" if classes else "BestEffort"


def _container_class(resources: dict[str, Any]) -> str:
    requests = _computed(resources.get("requests") or {})
    limits = _computed(resources.get("limits") or {})
    if not requests and not limits:
        return "BestEffort"
    return "Guaranteed" if requests == limits and len(limits) == 2 else "Burstable"


def _computed(amounts: dict[str, str]) -> dict[str, Any]:
    return {name: amount for name in ("cpu", "memory") if (amount := parse(amounts.get(name, "0")))}
