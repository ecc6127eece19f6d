"""What the controller needs in a cluster, as manifests: the resource type, and an account with just its rights."""

from __future__ import annotations

from typing import Any

NAME = "propeller"


def workflow_crd() -> dict[str, Any]:
    """The FlyteWorkflow type, as Flyte's own CRD but with a status subresource and columns for kubectl."""
    columns = [
        {"name": "State", "type": "string", "jsonPath": ".status.state"},
        {"name": "Succeeded", "type": "integer", "jsonPath": ".status.counts.succeeded"},
        {"name": "Running", "type": "integer", "jsonPath": ".status.counts.running"},
        {"name": "Message", "type": "string", "jsonPath": ".status.message", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "flyteworkflows.flyte.lyft.com"},
        "spec": {
            "group": "flyte.lyft.com",
            "scope": "Namespaced",
            "names": {
                "kind": "FlyteWorkflow",
                "listKind": "FlyteWorkflowList",
                "plural": "flyteworkflows",
                "singular": "flyteworkflow",
                "shortNames": ["fly"],
            },
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }


def manifests(namespace: str) -> list[dict[str, Any]]:
    """The CRD, a namespace, a service account, and the role with its binding."""
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": namespace}
    return [
        workflow_crd(),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": namespace}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": NAME},
            "rules": _rules(),
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
            "subjects": [subject],
        },
    ]


def _rules() -> list[dict[str, Any]]:
    """Only what requests of ours need; see docs/security.md for which request needs which."""
    return [
        {
            "apiGroups": ["flyte.lyft.com"],
            "resources": ["flyteworkflows"],
            "verbs": ["get", "list", "watch", "patch", "delete"],
        },
        {"apiGroups": ["flyte.lyft.com"], "resources": ["flyteworkflows/status"], "verbs": ["patch"]},
        {
            "apiGroups": ["flyte.lyft.com"],
            "resources": ["flyteworkflows/finalizers"],
            "verbs": ["update"],
        },
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["get", "create", "update"],
        },
    ]
