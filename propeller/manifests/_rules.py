"""The rights of the controller, each with the request that needs it.

`tests/deploy/test_rights.py` compares them with the requests that a controller sends to a real API server: none is
missing, and none is unused.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from propeller.clusters import IDENTITY_NAMESPACE
from propeller.config import OperatorName, Settings
from propeller.fairqueues import FAIR_QUEUES
from propeller.handlers.plugins import POD, Plugins
from propeller.handlers.plugins.operators import OPERATORS
from propeller.routing import ROUTING_TABLES

PLUGIN_VERBS = ("get", "list", "watch", "create", "delete")
"""On what a task plugin makes."""


class Part(StrEnum):
    """What rights are for."""

    WORKFLOWS = "workflows"
    TASKS = "tasks"
    """In every cluster that runs tasks."""
    EVENTS = "events"
    """If the setting `events.enabled` is on."""
    QUOTAS = "quotas"
    """In every cluster that runs tasks, if the setting `launches.quotas` is on."""
    FAIR_QUEUES = "fairQueues"
    """If the setting `resources.fair_queues` is on. FairQueues have no namespace."""
    ROUTING_TABLES = "routingTables"
    """If the setting `routing.table` names one. RoutingTables have no namespace."""
    CLUSTERS = "clusters"
    """If the settings name a routing table, in a file or not, and not the cluster itself (`clusters.control`)."""
    LEASES = "leases"
    """In the namespace of the leader lease alone."""
    SHARDS = "shards"
    """There, too, if several controllers divide the workflows (`shards.count`)."""


class Grant(msgspec.Struct, frozen=True):
    """Verbs on a resource of an API group, and why the controller needs them."""

    part: Part
    group: str
    resource: str
    verbs: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()
    """Of the only objects that it is for, if it is for some alone."""


RULES = (
    Grant(
        Part.WORKFLOWS,
        "flyte.lyft.com",
        "flyteworkflows",
        ("get", "list", "watch", "create", "patch", "delete"),
        "follow workflows; start and stop those of launch plan nodes; write their status on a CRD without a status "
        "subresource; remove Flyte's finalizers; delete those that ended long ago (controller.ttl)",
    ),
    Grant(Part.WORKFLOWS, "flyte.lyft.com", "flyteworkflows/status", ("patch",), "write a status"),
    Grant(
        Part.WORKFLOWS,
        "flyte.lyft.com",
        "flyteworkflows/finalizers",
        ("update",),
        "set owner references that block deletion",
    ),
    Grant(
        Part.TASKS,
        "",
        "pods",
        ("get", "list", "watch", "create", "patch", "delete"),
        "launch, watch and stop tasks; tell uploaders of raw containers that their program has ended; remove our "
        "finalizer from pods of other clusters, and those that FlytePropeller's inject-finalizer left",
    ),
    Grant(
        Part.TASKS,
        "",
        "podtemplates",
        ("list", "watch"),
        "read the PodTemplates that tasks name (pod_defaults.template)",
    ),
    Grant(Part.EVENTS, "", "events", ("create", "patch"), "write Events on workflows, for kubectl describe"),
    Grant(Part.QUOTAS, "", "resourcequotas", ("list", "watch"), "count what has room before pods are created"),
    Grant(Part.QUOTAS, "", "limitranges", ("list", "watch"), "the same, as their defaults count"),
    Grant(Part.FAIR_QUEUES, FAIR_QUEUES.group, FAIR_QUEUES.plural, ("list", "watch"), "follow limits"),
    Grant(Part.FAIR_QUEUES, FAIR_QUEUES.group, f"{FAIR_QUEUES.plural}/status", ("patch",), "write usage and shares"),
    Grant(
        Part.ROUTING_TABLES, ROUTING_TABLES.group, ROUTING_TABLES.plural, ("list", "watch"), "follow the routing table"
    ),
    Grant(
        Part.ROUTING_TABLES,
        ROUTING_TABLES.group,
        f"{ROUTING_TABLES.plural}/status",
        ("patch",),
        "write what came of it, and how its clusters are",
    ),
    Grant(
        Part.CLUSTERS,
        "",
        "namespaces",
        ("get",),
        "tell this cluster from others by the uid of a namespace, in labels of what runs in those",
        (IDENTITY_NAMESPACE,),
    ),
    Grant(Part.LEASES, "coordination.k8s.io", "leases", ("get", "create", "update"), "hold the leader lease"),
    Grant(
        Part.SHARDS,
        "coordination.k8s.io",
        "leases",
        ("list", "watch", "delete"),
        "divide shards among controllers, which take over from those that are dead",
    ),
)
"""Of the controller, without those of task plugins."""


def parts_of(settings: Settings) -> list[Part]:
    """What a controller with these settings does, besides Leases."""
    optional = {
        Part.EVENTS: settings.events.enabled,
        Part.QUOTAS: settings.launches.quotas,
        Part.FAIR_QUEUES: settings.resources.fair_queues,
        Part.ROUTING_TABLES: bool(settings.routing.table),
        Part.CLUSTERS: bool(settings.routing.table or settings.routing.file) and not settings.clusters.control,
        Part.LEASES: False,
        Part.SHARDS: False,
    }
    return [part for part in Part if optional.get(part, True)]


def lease_parts_of(settings: Settings) -> list[Part]:
    """What a controller with these settings does with Leases."""
    return [Part.LEASES, *([Part.SHARDS] if settings.shards.count else [])]


def rules_of(parts: Iterable[Part], plugins: Plugins | None = None) -> list[dict[str, Any]]:
    """The rules of a Role for these parts, and for what `plugins` make, besides pods."""
    chosen = set(parts)
    rules = [_rule(one.group, one.resource, one.verbs, one.names) for one in RULES if one.part in chosen]
    return rules + (_plugin_rules(plugins) if plugins is not None else [])


def operator_rules() -> dict[OperatorName, list[dict[str, Any]]]:
    """The rules for what each operator of the setting `operators.enabled` takes, by its name there."""
    return {name: _plugin_rules(Plugins([plugin])) for name, plugin in OPERATORS.items()}


def _plugin_rules(plugins: Plugins) -> list[dict[str, Any]]:
    names = dict.fromkeys((plugin.resource.group, plugin.resource.plural) for plugin in plugins if plugin is not POD)
    between = dict.fromkeys((one.group, one.plural) for plugin in plugins for one in plugin.pod_owners)
    return [
        *(_rule(group, plural, PLUGIN_VERBS) for group, plural in names),
        *(_rule(group, plural, ("get",)) for group, plural in between if (group, plural) not in names),
    ]


def kubeconfig_rules(secrets: Iterable[str]) -> list[dict[str, Any]]:
    """The rules of a Role that lets the controller read the Secrets with the kubeconfigs of other clusters."""
    return [_rule("", "secrets", ("get",), tuple(secrets))]


def _rule(group: str, resource: str, verbs: tuple[str, ...], names: tuple[str, ...] = ()) -> dict[str, Any]:
    rule: dict[str, Any] = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    return rule | ({"resourceNames": list(names)} if names else {})
