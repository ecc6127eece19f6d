"""Everything that `propeller install` prints, in the order in which it has to be applied."""

from __future__ import annotations

from typing import Any

from propeller.config import Settings
from propeller.controller import workflow_crd
from propeller.fairqueues import fair_queue_crd
from propeller.handlers.plugins import Plugins, installed_plugins
from propeller.manifests._rules import Part, kubeconfig_rules, lease_parts_of, parts_of, rules_of
from propeller.manifests._workload import NAME, workload
from propeller.routing import routing_table_crd

WITHOUT_NAMESPACE = (Part.FAIR_QUEUES, Part.ROUTING_TABLES, Part.CLUSTERS)

_RBAC = "rbac.authorization.k8s.io"


def manifests(
    namespace: str,
    only: str = "",
    plugins: Plugins | None = None,
    settings: Settings = Settings(),
    kubeconfigs: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    """The CRDs, a namespace, a service account in it, and its rights: on leases in that namespace; on workflows, pods,
    events and what `plugins` make (None: those that are installed here) everywhere, or in the namespace `only` alone,
    for `propeller controller -n`. FairQueues and RoutingTables, which have no namespace, are left out then. Rights that
    `settings` do not need are left out as well, and so is the type of RoutingTables. `kubeconfigs` are Secrets of the
    namespace by which a routing table's clusters are reached.
    """
    parts = [part for part in parts_of(settings) if not (only and part in WITHOUT_NAMESPACE)]
    rules = rules_of(parts, _plugins_of(settings) if plugins is None else plugins)
    return [
        *types(only, settings),
        *_account(namespace),
        *_granted(namespace, only, NAME, rules),
        *_granted(namespace, namespace, f"{NAME}-leases", rules_of(lease_parts_of(settings))),
        *(_granted(namespace, namespace, f"{NAME}-clusters", kubeconfig_rules(kubeconfigs)) if kubeconfigs else ()),
    ]


def types(only: str, settings: Settings) -> list[dict[str, Any]]:
    """The CRDs that a controller of all namespaces, or of `only` one, needs with these settings."""
    if only:
        return [workflow_crd()]
    return [workflow_crd(), fair_queue_crd(), *([routing_table_crd()] if settings.routing.table else [])]


def installation(
    namespace: str,
    image: str,
    settings_file: str,
    only: str = "",
    settings: Settings = Settings(),
    kubeconfigs: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    """The same, and the controller itself: a Deployment of `image` with the text of a settings file, which says
    `settings`.
    """
    return [
        *manifests(namespace, only, settings=settings, kubeconfigs=kubeconfigs),
        *workload(namespace, image, settings_file, only=only),
    ]


def execution_cluster(
    namespace: str, plugins: Plugins | None = None, settings: Settings = Settings()
) -> list[dict[str, Any]]:
    """The account of a controller in a cluster that only runs tasks, and its rights there."""
    rules = rules_of([Part.TASKS, Part.QUOTAS], _plugins_of(settings) if plugins is None else plugins)
    return [*_account(namespace), *_granted(namespace, "", f"{NAME}-tasks", rules)]


def _plugins_of(settings: Settings) -> Plugins:
    return installed_plugins(settings.operators.enabled)


def _account(namespace: str) -> list[dict[str, Any]]:
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": namespace}},
    ]


def _granted(account: str, within: str, name: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A Role in the namespace `within`, or a ClusterRole, and its binding to the account of the namespace `account`."""
    kind = "Role" if within else "ClusterRole"
    metadata = {"name": name, "namespace": within} if within else {"name": name}
    return [
        {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": account}],
        },
    ]
