"""CustomResourceDefinitions and pieces of their schemas, as JSON, that several resource types have."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

ANY: Schema = {"x-kubernetes-preserve-unknown-fields": True}
"""Fields that the API server keeps without knowing them."""

COUNT: Schema = {"type": "integer", "format": "int64"}
TEXT: Schema = {"type": "string"}


def definition(
    group: str, version: str, kind: str, *, plural: str, short: str, columns: list[dict[str, Any]], schema: Schema
) -> dict[str, Any]:
    """The CustomResourceDefinition of a cluster-wide kind with one version and a status subresource. `short` is its
    short name for kubectl, `columns` what `kubectl get` shows.
    """
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def an_object(
    properties: Schema, *, required: tuple[str, ...] = (), rules: list[dict[str, str]] | None = None
) -> Schema:
    """An object with these fields, of which some are required. `rules` are CEL rules (`cel`)."""
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    if rules:
        schema["x-kubernetes-validations"] = rules
    return schema


def keyed(key: str, items: Schema) -> Schema:
    """A list whose items are identified by one field: no two have the same, and server-side apply merges by it."""
    return {"type": "array", "items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def cel(rule: str, message: str) -> dict[str, str]:
    """A CEL rule, and what the API server says if it does not hold."""
    return {"rule": rule, "message": message}


def conditions() -> Schema:
    """The conditions of a status, by their type."""
    fields = {
        "type": TEXT,
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": TEXT,
        "message": TEXT,
        "observedGeneration": COUNT,
        "lastTransitionTime": {"type": "string", "format": "date-time"},
    }
    return keyed("type", an_object(fields, required=("type", "status")))


def accepted(description: str) -> Schema:
    """The spec that is in force, in a status, with its generation."""
    spec = {"type": "object", **ANY}
    return {**an_object({"generation": COUNT, "spec": spec}), "description": description}
