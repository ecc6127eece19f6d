"""The CustomResourceDefinition of RoutingTables: schema, CEL rules, columns of `kubectl get`.

Guarantees
    The API server refuses what types, bounds and CEL can say: unknown fields under strict validation, clusters and
    pools that are there twice, rules whose pool is unknown, negative weights, connections by two ways, isolated rules
    with fallbacks. What rules and pools say together is checked by the controller (`check`), and is in the status.
    The numbers of items are bounded such that each CEL rule is within the cost that the API server admits.
"""

from __future__ import annotations

from typing import Any

from propeller.crd_schema import COUNT, TEXT, Schema, accepted, an_object, cel, conditions, definition, keyed
from propeller.routing._checks import (
    MAX_CLUSTERS,
    MAX_COUNT,
    MAX_ITEMS,
    MAX_NAME,
    MAX_POOLS,
    MAX_PRIORITY,
    MAX_RULES,
    MAX_TEXT,
    MAX_WEIGHT,
    NAME,
)
from propeller.routing._declared import State
from propeller.routing._kind import ROUTING_TABLES
from propeller.routing._parse import GROUP, VERSION

MAX_FALLBACKS = 8
"""Of a rule. A CEL rule looks for each of their names among those of all pools."""


def routing_table_crd() -> dict[str, Any]:
    """The manifest."""
    return definition(
        GROUP,
        VERSION,
        ROUTING_TABLES.kind,
        plural=ROUTING_TABLES.plural,
        short="rt",
        columns=_COLUMNS,
        schema=_schema(),
    )


_ACCEPTED = '.status.conditions[?(@.type=="Accepted")]'
_COLUMNS: list[dict[str, Any]] = [
    {"name": "Accepted", "type": "string", "jsonPath": f"{_ACCEPTED}.status"},
    {"name": "Healthy", "type": "string", "jsonPath": ".status.healthy", "description": "Clusters, of all"},
    {"name": "Executions", "type": "integer", "jsonPath": ".status.executions", "description": "That run"},
    {"name": "Rules", "type": "integer", "jsonPath": ".status.rules", "description": "In force"},
    {"name": "Message", "type": "string", "jsonPath": f"{_ACCEPTED}.message", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


def _schema() -> Schema:
    spec = an_object(
        {
            "clusters": _named(_cluster(), MAX_CLUSTERS, "Clusters that executions may run on."),
            "pools": _named(_pool(), MAX_POOLS, "Sets of clusters."),
            "rules": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_RULES,
                "items": _rule(),
                "x-kubernetes-list-type": "atomic",
                "description": "Which work goes to which pool: the first that matches decides.",
            },
        },
        required=("clusters", "pools", "rules"),
        rules=[
            cel(
                "[self.pools.map(p, p.name)].all(names, self.rules.all(r, r.pool in names))",
                "a rule's pool has to be a pool of this table",
            )
        ],
    )
    return an_object({"spec": spec, "status": _status()}, required=("spec",))


def _cluster() -> Schema:
    count = {**COUNT, "minimum": 0, "maximum": MAX_COUNT}
    secret = an_object(
        {
            "namespace": _text("Of the Secret.", most=MAX_NAME),
            "name": _text("Of the Secret."),
            "key": _text("That has the kubeconfig; `kubeconfig` by default."),
        },
        required=("namespace", "name"),
    )
    connection = an_object(
        {
            "kubeconfig": _text("A file of the controller.", most=4096),
            "context": _text("Of the kubeconfig; by default its current one."),
            "secret": {**secret, "description": "A Secret of this cluster that has a kubeconfig."},
            "inCluster": {"type": "boolean", "description": "The cluster that the controller runs in."},
        },
        rules=[
            cel(
                "(has(self.kubeconfig) || (has(self.context) && !has(self.secret)) ? 1 : 0) "
                "+ (has(self.secret) ? 1 : 0) + (has(self.inCluster) && self.inCluster ? 1 : 0) == 1",
                "a connection needs one of kubeconfig (or context), secret, inCluster: true",
            )
        ],
    )
    states = {"type": "string", "enum": [str(state.value) for state in State]}
    priority = {**COUNT, "minimum": -MAX_PRIORITY, "maximum": MAX_PRIORITY}
    return an_object(
        {
            "name": _name(),
            "connection": connection,
            "state": {**states, "description": "What it may be given; active by default."},
            "weight": {
                "type": "number",
                "minimum": 0,
                "maximum": MAX_WEIGHT,
                "description": "Its share of new executions; 1 by default.",
            },
            "priority": {**priority, "description": "Clusters of the highest take all work while they can."},
            "labels": _texts_by_name("For the selectors of pools."),
            "capacity": {
                **an_object({"pods": count, "executions": count}),
                "description": "It gets no new work while it has as many.",
            },
        },
        required=("name", "connection"),
    )


def _pool() -> Schema:
    names = {"type": "array", "maxItems": MAX_CLUSTERS, "items": _name(), "x-kubernetes-list-type": "set"}
    return an_object(
        {
            "name": _name(),
            "clusters": {**names, "description": "By their names."},
            "selector": {"type": "string", "maxLength": 4096, "description": "Of labels; empty selects all clusters."},
        },
        required=("name",),
        rules=[cel("has(self.clusters) != has(self.selector)", "a pool needs either clusters or a selector")],
    )


def _rule() -> Schema:
    match = an_object(
        {
            "projects": _patterns(),
            "domains": _patterns(),
            "workflows": _patterns(),
            "launchPlans": _patterns(),
            "labels": _texts_by_name("Of the execution, and of a task: all of them have to be there."),
            "selector": {"type": "string", "maxLength": 4096, "description": "Of the same labels."},
            "taskTypes": _patterns(),
            "accelerators": _patterns(),
            "resources": {
                "type": "object",
                "maxProperties": MAX_ITEMS,
                "additionalProperties": {"x-kubernetes-int-or-string": True},
                "description": "A task requests at least so much of each.",
            },
            "interruptible": {"type": "boolean", "description": "Whether the task is."},
        }
    )
    fallbacks = {"type": "array", "maxItems": MAX_FALLBACKS, "items": _name(), "x-kubernetes-list-type": "atomic"}
    return an_object(
        {
            "name": _name(),
            "match": {**match, "description": "All conditions have to hold; none at all match everything."},
            "pool": _name(),
            "isolate": {"type": "boolean", "description": "Its work never leaves the pool, and no other enters it."},
            "fallbacks": {**fallbacks, "description": "Pools, in their order, for when none of the pool can take it."},
        },
        required=("name", "pool"),
        rules=[
            cel(
                "!(has(self.isolate) && self.isolate && has(self.fallbacks) && size(self.fallbacks) > 0)",
                "an isolated rule has no fallbacks, as its work never goes elsewhere",
            )
        ],
    )


def _status() -> Schema:
    """As the controller writes it. It has no bounds of its own, as the controller's are narrower."""
    cluster = {
        "name": TEXT,
        "state": TEXT,
        "healthy": {"type": "boolean"},
        "reason": TEXT,
        "executions": COUNT,
        "pods": COUNT,
    }
    return an_object(
        {
            "observedGeneration": {**COUNT, "description": "Generation of the spec that the condition is about."},
            "conditions": conditions(),
            "healthy": {**TEXT, "description": "Healthy clusters, of all."},
            "executions": {**COUNT, "description": "That run on these clusters."},
            "rules": {**COUNT, "description": "In force."},
            "clusters": keyed("name", an_object(cluster, required=("name",))),
            "accepted": accepted("What is in force: an earlier spec while the present one is refused."),
        }
    )


def _name() -> Schema:
    return {"type": "string", "maxLength": MAX_NAME, "pattern": f"^{NAME}$"}


def _text(description: str, *, most: int = MAX_TEXT) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": most, "description": description}


def _texts_by_name(description: str) -> Schema:
    value = {"type": "string", "maxLength": MAX_NAME}
    return {"type": "object", "maxProperties": MAX_ITEMS, "additionalProperties": value, "description": description}


def _patterns() -> Schema:
    pattern = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
    return {
        "type": "array",
        "maxItems": MAX_ITEMS,
        "items": pattern,
        "x-kubernetes-list-type": "atomic",
        "description": "Names, or begins of names with * after them: one has to fit.",
    }


def _named(items: Schema, most: int, description: str) -> Schema:
    """A list in which each name is there once, and which server-side apply merges by name."""
    return {"minItems": 1, "maxItems": most, **keyed("name", items), "description": description}
