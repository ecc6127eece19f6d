"""The FlyteWorkflow type."""

from __future__ import annotations

from typing import Any


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
