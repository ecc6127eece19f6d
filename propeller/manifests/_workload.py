"""The controller's own objects: its Deployment, settings, disruption budget, and the Service of its metrics."""

from __future__ import annotations

import hashlib
from typing import Any

import yaml

NAME = "propeller"
PORT = 10254
USER = 65532
"""Of the image. No user of a node has this number; distroless images use it, too."""

SETTINGS_FILE = "propeller.yaml"
_SETTINGS_DIRECTORY = "/etc/propeller"

_SELECTOR = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": NAME}


LOADER_IMAGE = "PROPELLER_RAW_CONTAINERS__IMAGE"
"""Variable of the setting `raw_containers.image`: the controller's own image."""


def workload(namespace: str, image: str, settings: str, *, only: str = "") -> list[dict[str, Any]]:
    """The objects that run `propeller controller` of `image` with a settings file (YAML) in `namespace`: two replicas,
    one of which acts. With `only` they run the workflows of that namespace alone.
    """
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(namespace, NAME),
        "data": {SETTINGS_FILE: settings},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(namespace, f"{NAME}-metrics"),
        "spec": {
            "type": "ClusterIP",
            "selector": _SELECTOR,
            "ports": [{"name": "metrics", "port": PORT, "targetPort": "metrics", "protocol": "TCP"}],
        },
    }
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(namespace, NAME),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _SELECTOR}},
    }
    return [config, service, budget, _deployment(namespace, image, settings, only)]


def _metadata(namespace: str, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "labels": _SELECTOR}


def _deployment(namespace: str, image: str, settings: str, only: str) -> dict[str, Any]:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _SELECTOR},
    }
    pod = {
        "serviceAccountName": NAME,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [spread],
        "containers": [_container(namespace, image, settings, only)],
        "volumes": [
            {"name": "config", "configMap": {"name": NAME}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }
    annotations = {"checksum/config": hashlib.sha256(settings.encode()).hexdigest()}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(namespace, NAME),
        "spec": {
            "replicas": 2,
            "revisionHistoryLimit": 5,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": _SELECTOR},
            "template": {"metadata": {"labels": _SELECTOR, "annotations": annotations}, "spec": pod},
        },
    }


def _container(namespace: str, image: str, settings: str, only: str) -> dict[str, Any]:
    arguments = [
        "controller",
        f"--config={_SETTINGS_DIRECTORY}/{SETTINGS_FILE}",
        f"--lease={namespace}/propeller-controller",
        "--metrics-host=0.0.0.0",
        f"--metrics-port={PORT}",
        "--log-level=info",
        "--log-format=json",
        *([f"--namespace={only}"] if only else []),
    ]
    return {
        "name": "controller",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["propeller"],
        "args": arguments,
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            *([] if _names_loader(settings) else [{"name": LOADER_IMAGE, "value": image}]),
        ],
        "ports": [{"name": "metrics", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/healthz", period=2, failures=60),
        "livenessProbe": _probe("/healthz", period=10, failures=3),
        "readinessProbe": _probe("/readyz", period=5, failures=2),
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": _SETTINGS_DIRECTORY, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
        ],
    }


def _names_loader(settings: str) -> bool:
    """Whether the settings file says the image of raw containers' loaders: the environment would win over it."""
    found = yaml.safe_load(settings)
    raw = found.get("raw_containers") if isinstance(found, dict) else None
    return isinstance(raw, dict) and bool(raw.get("image"))


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "metrics"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
