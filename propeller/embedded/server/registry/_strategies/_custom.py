"""Custom resources, by the definition that brought them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from propeller.embedded.server._errors import Cause, invalid_value
from propeller.embedded.server._storage import Object
from propeller.embedded.server.registry._strategies._base import Strategy, restore
from propeller.embedded.server.schema._jsonpath import first
from propeller.embedded.server.schema._schema import Schema
from propeller.embedded.server.schema._structural import fill_defaults, prune, validate
from propeller.embedded.server.schema._typecheck import check_metadata

_MAX_REPLICAS = 2**31 - 1
_TYPE_FIELDS = ("apiVersion", "kind", "metadata")
"""The fields that the schema of every custom resource has."""


class CustomStrategy(Strategy):
    """One version of one definition. `selectable` are the paths of its selectableFields, `replicas` its scale's."""

    unconditional_update = False

    def __init__(
        self, schema: Schema, *, has_status: bool, selectable: Sequence[str] = (), replicas: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self._schema = schema
        self.has_status = has_status
        self.selectable = tuple(selectable)
        self._replicas = tuple(replicas)
        self._is_open = schema.preserves_unknown and len(schema.fields) == len(_TYPE_FIELDS)

    def accept(self, obj: Object) -> tuple[Object, tuple[str, ...]]:
        metadata, unknown_metadata = check_metadata(obj.get("metadata", {}))
        obj["metadata"] = metadata
        unknown: list[str] = []
        if not self._is_open:
            own = {name: value for name, value in obj.items() if name != "metadata"}
            prune(own, self._schema, "", unknown)
            obj = {"metadata": metadata, **own}
        return obj, (*unknown_metadata, *unknown)

    def default(self, obj: Object) -> None:
        fill_defaults(obj, self._schema)

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        obj["metadata"]["generation"] = 1

    def prepare_update(self, obj: Object, old: Object) -> None:
        super().prepare_update(obj, old)
        if _without_metadata(obj) != _without_metadata(old):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def prepare_status(self, obj: Object, old: Object) -> None:
        """Everything but the status stays, metadata included."""
        super().prepare_status(obj, old)
        managed = obj["metadata"].get("managedFields")
        obj["metadata"] = copy.copy(old["metadata"])
        if managed is not None:
            obj["metadata"]["managedFields"] = managed
        else:
            restore(obj["metadata"], {}, "managedFields")

    def validate(self, obj: Object) -> list[Cause]:
        found = list(validate(obj, self._schema))
        if self._replicas and not found:
            found += self._validate_replicas(obj)
        return found

    def _validate_replicas(self, obj: Object) -> Iterator[Cause]:
        for path in self._replicas:
            count = first(obj, path)
            if isinstance(count, int) and not isinstance(count, bool) and count < 0:
                yield invalid_value(path, count, "should be a non-negative integer")
            elif isinstance(count, int) and count > _MAX_REPLICAS:
                yield invalid_value(path, count, f"should be less than or equal to {_MAX_REPLICAS}")

    def validate_status(self, obj: Object, old: Object) -> list[Cause]:
        return list(validate(obj["status"], self._schema.child("status"), "status")) if "status" in obj else []

    def is_sparse(self, subresource: str) -> bool:
        return not self.selectable and not self._replicas and (self._is_open or subresource == "status")

    def fields_of(self, obj: Object) -> tuple[str, ...]:
        return tuple(_text(first(obj, path)) for path in self.selectable) if self.selectable else ()


def _without_metadata(obj: Object) -> dict[str, Any]:
    return {name: value for name, value in obj.items() if name != "metadata"}


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)
