"""What the controller needs in a cluster, as manifests: the resource type, and an account with just its rights."""

from __future__ import annotations

from typing import Any

from propeller.fairqueues import FAIR_QUEUES, fair_queue_crd
from propeller.handlers.plugins import POD, Plugins, installed_plugins

NAME = "propeller"

PLUGIN_VERBS = ("get", "list", "watch", "create", "delete")
"""On what a task plugin makes."""


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


def manifests(namespace: str, only: str = "", plugins: Plugins | None = None) -> list[dict[str, Any]]:
    """The CRDs, a namespace, a service account in it, and its rights: on leases in that namespace; on workflows, pods,
    events and what `plugins` make (None: those that are installed here) everywhere, or in the namespace `only` alone,
    for `propeller controller -n`. FairQueues, which have no namespace, are left out then.
    """
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": namespace}
    rules = [*_RULES, *_plugin_rules(installed_plugins() if plugins is None else plugins)]
    tasks = _granted("ClusterRole", "", NAME, [*rules, *_FAIR_QUEUE_RULES], account)
    if only:
        tasks = _granted("Role", only, NAME, rules, account)
    return [
        workflow_crd(),
        *([] if only else [fair_queue_crd()]),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": namespace}},
        *tasks,
        *_granted("Role", namespace, f"{NAME}-leases", _LEASE_RULES, account),
    ]


def _plugin_rules(plugins: Plugins) -> list[dict[str, Any]]:
    """What the controller does with the resources of other plugins than the pod."""
    resources = dict.fromkeys(
        plugin.resource for plugin in plugins if plugin is not POD and plugin.resource is not None
    )
    names = dict.fromkeys((resource.group, resource.plural) for resource in resources)
    return [{"apiGroups": [group], "resources": [plural], "verbs": list(PLUGIN_VERBS)} for group, plural in names]


def _granted(
    kind: str, namespace: str, name: str, rules: list[dict[str, Any]], account: dict[str, Any]
) -> list[dict[str, Any]]:
    """A Role in a namespace, or a ClusterRole, and its binding to the account."""
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return [
        {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
            "subjects": [account],
        },
    ]


_RBAC = "rbac.authorization.k8s.io"

# Only what requests of ours need; see docs/security.md for which request needs which.
_RULES: list[dict[str, Any]] = [
    {
        "apiGroups": ["flyte.lyft.com"],
        "resources": ["flyteworkflows"],
        "verbs": ["get", "list", "watch", "patch", "delete"],
    },
    {"apiGroups": ["flyte.lyft.com"], "resources": ["flyteworkflows/status"], "verbs": ["patch"]},
    {"apiGroups": ["flyte.lyft.com"], "resources": ["flyteworkflows/finalizers"], "verbs": ["update"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {"apiGroups": [""], "resources": ["resourcequotas", "limitranges"], "verbs": ["list", "watch"]},
]
_FAIR_QUEUE_RULES: list[dict[str, Any]] = [
    {"apiGroups": [FAIR_QUEUES.group], "resources": [FAIR_QUEUES.plural], "verbs": ["list", "watch"]},
    {"apiGroups": [FAIR_QUEUES.group], "resources": [f"{FAIR_QUEUES.plural}/status"], "verbs": ["patch"]},
]
_LEASE_RULES: list[dict[str, Any]] = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}
]
