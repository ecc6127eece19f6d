"""The CustomResourceDefinition of FairQueues: schema, CEL rules, columns of `kubectl get`.

Guarantees
    The API server refuses what types, bounds and CEL can say: negative amounts, names that are there twice, a pool that
    limits nothing, a parent, limit or rule that names no pool of the same FairQueue. Cycles of pools, and what several
    FairQueues say together, are checked by the controller (`_merge`).
    The numbers of items are bounded such that each CEL rule is within the cost that the API server admits.
"""

from __future__ import annotations

from typing import Any

from propeller.crd_schema import COUNT, TEXT, Schema, accepted, an_object, cel, conditions, definition, keyed
from propeller.fairqueues._kind import FAIR_QUEUES, GROUP, VERSION
from propeller.resourcemgr import MAX_DEPTH, MAX_TOKENS, POOL_NAME

MAX_POOLS, MAX_TENANTS, MAX_RULES = 100, 1024, 256
MAX_LIMITS = 8
"""Pools that a tenant has limits for, and that a rule takes tokens of. A CEL rule looks for each name among those of
all pools, which costs a unit for each pool: the API server stops a rule at 1,000,000 units.
"""

MAX_NAME = 63

_NAMES = "[self.pools.map(p, p.name)]"
"""In CEL, a list of one list: `all` gives that a name, so that it is made once."""


def fair_queue_crd() -> dict[str, Any]:
    """The manifest."""
    return definition(
        GROUP, VERSION, FAIR_QUEUES.kind, plural=FAIR_QUEUES.plural, short="fq", columns=_COLUMNS, schema=_schema()
    )


_COLUMNS: list[dict[str, Any]] = [
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Waiting", "type": "integer", "jsonPath": ".status.waiting", "description": "Claims that wait"},
    {"name": "Usage", "type": "string", "jsonPath": ".status.usage", "description": "Held and capacity by pool"},
    {"name": "Tenants", "type": "integer", "jsonPath": ".status.activeTenants"},
    {
        "name": "Message",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].message',
        "priority": 1,
    },
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


def _schema() -> Schema:
    spec = an_object(
        {
            "pools": _named(_pool(), MAX_POOLS, "Tokens that tasks share."),
            "tenants": _named(_tenant(), MAX_TENANTS, "Weights and limits of projects and their domains."),
            "rules": {
                **_list(_rule(), MAX_RULES, "Which attempts take tokens. All that match count."),
                "x-kubernetes-list-type": "atomic",
            },
        },
        rules=[
            cel(
                f"{_NAMES}.all(names, self.pools.all(p, !has(p.parent) || p.parent in names))",
                "a pool's parent has to be a pool of this FairQueue",
            ),
            *(_names_a_pool("tenants", field) for field in ("limits", "borrowing", "lending")),
            *(_names_a_pool("rules", field) for field in ("pools", "resources")),
        ],
    )
    return an_object({"spec": spec, "status": _status()}, required=("spec",))


def _status() -> Schema:
    """As the controller writes it. It has no bounds of its own, as the controller's are narrower."""
    share = {"type": "number"}
    pool = {"name": TEXT, "held": COUNT, "capacity": COUNT, "waiting": COUNT}
    held = {"type": "object", "additionalProperties": COUNT, "description": "Tokens that it holds, by pool."}
    tenant = {"name": TEXT, "held": held, "waiting": COUNT, "share": share, "ideal": share}
    return an_object(
        {
            "observedGeneration": {**COUNT, "description": "Generation of the spec that the condition is about."},
            "conditions": conditions(),
            "waiting": {**COUNT, "description": "Claims that wait for these pools."},
            "usage": {**TEXT, "description": "Tokens held and capacity of each pool, for people."},
            "activeTenants": {**COUNT, "description": "Tenants that hold or wait for tokens of these pools."},
            "pools": keyed("name", an_object(pool, required=("name",))),
            "tenants": {"type": "array", "items": an_object(tenant), "x-kubernetes-list-type": "atomic"},
            "otherTenants": {
                **an_object({"tenants": COUNT, "waiting": COUNT}),
                "description": "Those that are not listed: their number, and their claims that wait.",
            },
            "accepted": accepted(
                "What is in force of this FairQueue: an earlier spec while the present one is refused."
            ),
        }
    )


def _pool() -> Schema:
    count = {**COUNT, "maximum": MAX_TOKENS}
    return an_object(
        {
            "name": _text(f"^{POOL_NAME}$", "As tasks name it in their annotation propeller/pools."),
            "capacity": {**count, "minimum": 0, "description": "Tokens that may be held at once; 0 pauses the pool."},
            "rate": {
                **_POSITIVE,
                "maximum": MAX_TOKENS,
                "description": "Tokens a second that may be taken; they are not given back.",
            },
            "burst": {**count, "minimum": 1, "description": "Tokens that may be taken at once after a pause."},
            "parent": _text(f"^{POOL_NAME}$", "Every token of this pool also takes one of its parent."),
        },
        required=("name",),
        rules=[
            cel("has(self.capacity) || has(self.rate)", "a pool needs a capacity, a rate, or both"),
            cel("!has(self.burst) || has(self.rate)", "a burst needs a rate"),
            cel("!has(self.parent) || self.parent != self.name", "a pool cannot be its own parent"),
        ],
    )


def _tenant() -> Schema:
    path = f"^[^/]+(/[^/]+){{0,{MAX_DEPTH - 1}}}$"
    return an_object(
        {
            "name": {
                **_text(path, "A project (ml), or a domain of one (ml/production)."),
                "maxLength": 2 * MAX_NAME + 1,
            },
            "weight": {**_POSITIVE, "description": "Its share relative to the tenants beside it; 1 by default."},
            "limits": _amounts("Tokens that it may hold at once, by pool."),
            "borrowing": _amounts("Tokens that it may hold beyond its share, by pool."),
            "lending": _amounts("Tokens of its share that others may hold, by pool; the rest is kept for it."),
        },
        required=("name",),
    )


def _rule() -> Schema:
    match = {"type": "string", "maxLength": 253}
    return an_object(
        {
            "project": match,
            "domain": match,
            "taskType": match,
            "labels": {"type": "object", "maxProperties": 32, "additionalProperties": match},
            "pools": _amounts("Tokens of each pool that an attempt takes."),
            "resources": {
                "type": "object",
                "maxProperties": MAX_LIMITS,
                "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 317},
                "description": "By pool, a resource: an attempt takes as many tokens as it requests of it.",
            },
        }
    )


_POSITIVE: Schema = {"type": "number", "minimum": 0, "exclusiveMinimum": True}


def _amounts(description: str) -> Schema:
    amount = {**COUNT, "minimum": 0, "maximum": MAX_TOKENS}
    return {
        "type": "object",
        "maxProperties": MAX_LIMITS,
        "additionalProperties": amount,
        "description": description,
    }


def _text(pattern: str, description: str) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": MAX_NAME, "pattern": pattern, "description": description}


def _list(items: Schema, most: int, description: str) -> Schema:
    return {"type": "array", "maxItems": most, "items": items, "default": [], "description": description}


def _named(items: Schema, most: int, description: str) -> Schema:
    """A list in which each name is there once, and which server-side apply merges by name."""
    return {**_list(items, most, description), **keyed("name", items)}


def _names_a_pool(of: str, field: str) -> dict[str, str]:
    return cel(
        f"{_NAMES}.all(names, self.{of}.all(t, !has(t.{field}) || t.{field}.all(name, name in names)))",
        f"{of}: {field} have to name pools of this FairQueue",
    )
