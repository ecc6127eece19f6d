"""Defaults of kube-apiserver for pods (k8s.io/kubernetes/pkg/apis/core/v1/defaults.go, and the admission plugins that
run by default: Priority and DefaultTolerationSeconds).
"""

from __future__ import annotations

from typing import Any

from propeller.embedded.server._storage import Object
from propeller.embedded.server.schema._typecheck import TypeMismatch
from propeller.quantity import MILLI, NotAQuantity, canonical

_SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
"""The priority classes that every cluster has."""

_TOLERATED_SECONDS = 300
_TOLERATED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_FILE_MODE = 0o644
_TOKEN_SECONDS = 3600
_MODED_VOLUMES = ("secret", "configMap", "downwardAPI", "projected")


def default_pod(pod: Object) -> None:
    """Fill in a pod's spec, in place. Raises TypeMismatch for an invalid quantity."""
    spec = pod.get("spec")
    if spec is None:
        return
    seconds = spec.get("terminationGracePeriodSeconds")
    if seconds is None:
        spec["terminationGracePeriodSeconds"] = 30
    elif seconds < 0:
        spec["terminationGracePeriodSeconds"] = 1
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    if not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirst"
    if not spec.get("restartPolicy"):
        spec["restartPolicy"] = "Always"
    if not spec.get("schedulerName"):
        spec["schedulerName"] = "default-scheduler"
    spec.setdefault("securityContext", {})
    spec.setdefault("enableServiceLinks", True)
    on_host = spec.get("hostNetwork", False)
    for container in spec.get("containers") or ():
        _default_container(container, on_host)
    for container in spec.get("initContainers") or ():
        _default_container(container, on_host)
    for volume in spec.get("volumes") or ():
        _default_volume(volume)
    if "overhead" in spec:
        spec["overhead"] = amounts(spec["overhead"])


def admit_pod(pod: Object) -> None:
    """Apply the admission plugins to a new pod."""
    spec = pod["spec"]
    spec.setdefault("priority", _SYSTEM_PRIORITIES.get(spec.get("priorityClassName", ""), 0))
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    _admit_tolerations(spec)


def admit_pod_update(pod: Object, old: Object) -> None:
    """Restore the admission plugins' fields in a pod whose writer omitted them."""
    spec, before = pod["spec"], old.get("spec") or {}
    for name in ("priority", "preemptionPolicy"):
        if name in before:
            spec.setdefault(name, before[name])
    _admit_tolerations(spec)


def has_only_admitted_tolerations(pod: Object) -> bool:
    """Return whether a pod has only the tolerations that every pod has."""
    return bool(pod["spec"].get("tolerations") == [_toleration(key) for key in _TOLERATED])


def _admit_tolerations(spec: dict[str, Any]) -> None:
    """A pod stays five minutes on a node that is not ready, unless it says otherwise."""
    tolerations = spec.setdefault("tolerations", [])
    for key in _TOLERATED:
        if not any(_tolerates(toleration, key) for toleration in tolerations):
            tolerations.append(_toleration(key))


def _toleration(key: str) -> dict[str, Any]:
    return {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _TOLERATED_SECONDS}


def amounts(resources: Any) -> dict[str, str]:
    """A resource list in the server's form: JSON numbers as text, rounded up to thousandths. Raises TypeMismatch."""
    try:
        return {name: canonical(str(amount).strip(), MILLI) for name, amount in resources.items()}
    except NotAQuantity as error:
        raise TypeMismatch(error.upstream) from error


def _tolerates(toleration: dict[str, Any], taint: str) -> bool:
    return toleration.get("key", "") in ("", taint) and toleration.get("effect", "") in ("", "NoExecute")


def _default_container(container: dict[str, Any], on_host: bool) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = "Always" if _is_latest(container.get("image", "")) else "IfNotPresent"
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    resources = container.setdefault("resources", {})
    if resources:
        _default_resources(resources)
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if on_host and not port.get("hostPort"):
            port["hostPort"] = port.get("containerPort")
    for variable in container.get("env") or ():
        if "valueFrom" in variable:
            _default_field_reference(variable["valueFrom"])
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            _default_probe(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict) and "httpGet" in hook:
            _default_http(hook["httpGet"])


def _default_resources(resources: dict[str, Any]) -> None:
    """Amounts in the server's form, and requests that default to the limits."""
    if limits := resources.get("limits"):
        resources["limits"] = limits = amounts(limits)
        resources["requests"] = {**limits, **amounts(resources.get("requests") or {})}
    elif requests := resources.get("requests"):
        resources["requests"] = amounts(requests)


def _is_latest(image: str) -> bool:
    if "@" in image:
        return False
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return not colon or tag == "latest"


def _default_field_reference(source: dict[str, Any]) -> None:
    if reference := source.get("fieldRef"):
        reference.setdefault("apiVersion", "v1")
    if reference := source.get("resourceFieldRef"):
        reference.setdefault("divisor", "0")


def _default_probe(probe: dict[str, Any]) -> None:
    for name, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        if not probe.get(name):
            probe[name] = value
    if "httpGet" in probe:
        _default_http(probe["httpGet"])
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _default_http(action: dict[str, Any]) -> None:
    action.setdefault("path", "/")
    action.setdefault("scheme", "HTTP")


def _default_volume(volume: dict[str, Any]) -> None:
    if len(volume) == 1 and "name" in volume:
        volume["emptyDir"] = {}
    for kind in _MODED_VOLUMES:
        if kind in volume:
            volume[kind].setdefault("defaultMode", _FILE_MODE)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    if "downwardAPI" in volume:
        _default_items(volume["downwardAPI"])
    for source in (volume.get("projected") or {}).get("sources") or ():
        if "downwardAPI" in source:
            _default_items(source["downwardAPI"])
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", _TOKEN_SECONDS)


def _default_items(volume: dict[str, Any]) -> None:
    for item in volume.get("items") or ():
        _default_field_reference(item)
