"""Render objects as rows of a table, as `kubectl get` requests.

Built-in kinds have the columns of kube-apiserver, custom resources those of their definition.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from propeller.embedded.server._storage import Object
from propeller.embedded.server.printers._durations import age
from propeller.embedded.server.printers._printers import DEFAULT, NAME, PRINTERS, Cells, Column, Printer
from propeller.embedded.server.registry._kinds import Kind
from propeller.embedded.server.schema._jsonpath import first

_FINISHED = {
    "Succeeded": "The pod has completed successfully.",
    "Failed": "The pod failed.",
}


def table(
    kind: Kind,
    objects: Iterable[Object],
    metadata: Mapping[str, Any],
    *,
    now: float,
    include: str,
    headers: bool = True,
) -> dict[str, Any]:
    """Return a meta.k8s.io/v1 Table; `include` is Metadata, Object or None: what each row has besides its cells."""
    printer = printer_of(kind)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [msgspec.to_builtins(column) for column in printer.columns] if headers else None,
        "rows": [_row(kind, printer, obj, now, include) for obj in objects],
    }


def printer_of(kind: Kind) -> Printer:
    if not kind.custom:
        return PRINTERS.get(kind.kind, DEFAULT)
    columns = kind.columns or ({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},)

    def cells(obj: Object, now: float) -> Cells:
        return [obj["metadata"]["name"], *(_cell(column, obj, now) for column in columns)]

    return Printer((NAME, *map(_column, columns)), cells)


def partial_metadata(obj: Object) -> dict[str, Any]:
    """An object reduced to its metadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _row(kind: Kind, printer: Printer, obj: Object, now: float, include: str) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": printer.cells(obj, now)}
    if kind.kind == "Pod" and not kind.custom:
        phase = (obj.get("status") or {}).get("phase")
        if phase in _FINISHED:
            condition = {"type": "Completed", "status": "True", "reason": phase, "message": _FINISHED[phase]}
            row["conditions"] = [condition]
    match include:
        case "None":
            row["object"] = None
        case "Object":
            row["object"] = {"kind": kind.kind, "apiVersion": kind.api_version, **obj}
        case _:
            row["object"] = partial_metadata(obj)
    return row


def _column(column: Mapping[str, Any]) -> Column:
    description = (
        column.get("description") or f"Custom resource definition column (in JSONPath format): {column['jsonPath']}"
    )
    return Column(column["name"], column["type"], column.get("format", ""), column.get("priority", 0), description)


def _cell(column: Mapping[str, Any], obj: Object, now: float) -> Any:
    """Return a column's value, converted to its type; None if there is none."""
    value = first(obj, column["jsonPath"])
    match column["type"]:
        case _ if value is None:
            return None
        case "date":
            return age(value, now) if isinstance(value, str) else None
        case "string":
            return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        case "boolean":
            return value if isinstance(value, bool) else None
        case "integer":
            return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        case _:
            return value if isinstance(value, int | float) and not isinstance(value, bool) else None
