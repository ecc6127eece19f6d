"""Managed fields: who wrote which fields of an object.

Guarantees
    The managers are those that kube-apiserver would record, at the first apply and after it.
Caveats
    managedFields are written into objects from their first apply on. Until then only the writers are remembered: the
    first writer owns everything that no other has changed since. So objects that are never applied, nearly all of them,
    cost neither the time to compute the fields nor the bytes to store and send them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from propeller.embedded.server._errors import bad_request
from propeller.embedded.server._storage import Object
from propeller.embedded.server.patch._field_set import Fields, compare, difference, union, without
from propeller.embedded.server.schema._schema import Schema

APPLY, UPDATE = "Apply", "Update"

_HERE = "."
_BEFORE_FIRST_APPLY = "before-first-apply"

_SYSTEM_PATHS = (
    ("f:apiVersion",),
    ("f:kind",),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "uid",
            "generation",
            "creationTimestamp",
            "resourceVersion",
            "selfLink",
            "managedFields",
        )
    ),
)
"""Fields without a manager."""

_OF_DELETION = (("f:metadata", "f:deletionTimestamp"), ("f:metadata", "f:deletionGracePeriodSeconds"))
"""Fields that a deletion sets: no writer owns them."""

_STRUCTS = ("f:metadata", "f:spec", "f:status")
"""Members that built-in objects always have: no writer owns their presence."""


class Manager(msgspec.Struct, frozen=True, kw_only=True):
    """A writer. `fields` is None for the first one: everything that no other owns."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""
    time: str = ""
    fields: Any = None

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Who this is; an applier stays the same whatever version it applies."""
        version = "" if self.operation == APPLY else self.api_version
        return self.name, self.operation, version, self.subresource

    @property
    def described(self) -> str:
        """As conflicts name it."""
        text = f'"{self.name}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text

    def having(self, fields: Fields) -> Manager:
        return msgspec.structs.replace(self, fields=fields)

    def __hash__(self) -> int:
        return hash(self.identity)


Managers = tuple[Manager, ...]


class Scope(msgspec.Struct, frozen=True):
    """The fields that a write may change: all of a kind's but the `ignored` members."""

    schema: Schema
    ignored: tuple[str, ...]
    custom: bool
    admitted: Callable[[Object], tuple[tuple[str, ...], ...]]
    """Paths that admission set in a new object: no writer owns them."""

    def managed(self, fields: Fields) -> Fields:
        """Return a set without fields that have no manager."""
        fields = without(fields, (*_SYSTEM_PATHS, *((f"f:{name}",) for name in self.ignored)))
        for key in ("f:metadata",) if self.custom else _STRUCTS:
            if key in fields and _HERE in fields[key]:
                fields = {**fields, key: {name: node for name, node in fields[key].items() if name != _HERE}}
        return {key: node for key, node in fields.items() if node or key != "f:metadata"}


def record_manager(managers: Managers, writer: Manager, old: Object, new: Object, scope: Scope) -> Managers:
    """Return the managers of an object that was never applied, after `writer` changed it or its status."""
    first = next((one for one in managers if one.fields is None and one.subresource == writer.subresource), None)
    if all(one.fields is None for one in managers):
        if first is None:
            return (*managers, writer) if managers else managers  # the first to write the status owns it
        if first.identity == writer.identity:
            return managers
    after = update_managers(managers, writer, old, new, scope)
    if first is not None and first.identity == writer.identity:
        return (first, *(one for one in after if one.identity != first.identity))
    return after


def update_managers(managers: Managers, writer: Manager, old: Object, new: Object, scope: Scope) -> Managers:
    """Return the managers of an object after `writer` changed it without applying: changed fields belong to the writer
    alone.
    """
    found = compare(old, new, scope.schema)
    taken = scope.managed(found.changed)
    own: Fields = {}
    others = []
    for one in managers:
        if one.identity == writer.identity:
            own = one.fields or {}
        elif one.fields is None:
            others.append(one)
        else:
            others.append(one.having(difference(difference(one.fields, taken), found.removed)))
    return drop_unowned((*others, writer.having(union(difference(own, found.removed), taken))))


def unknown(obj: Object, scope: Scope, applier: Manager) -> Managers:
    """Return the manager of an object whose writer is unknown, at its first apply."""
    before = msgspec.structs.replace(applier, name=_BEFORE_FIRST_APPLY, operation=UPDATE)
    return (before.having(scope.managed(_everything(obj, scope.schema))),)


def worked_out(managers: Managers, obj: Object, scope: Scope) -> Managers:
    """Everybody's fields, those of the first writers included, at the first apply of an object."""
    everything = without(_everything(obj, scope.schema), (*scope.admitted(obj), *_OF_DELETION))
    for one in managers:
        if one.fields is not None:
            everything = difference(everything, one.fields)
    rest = scope.managed(everything)
    everywhere = msgspec.structs.replace(scope, ignored=())
    status = everywhere.managed({key: node for key, node in everything.items() if key == "f:status"})
    return drop_unowned(
        tuple(
            one if one.fields is not None else one.having(status if one.subresource == "status" else rest)
            for one in managers
        )
    )


def _everything(obj: Object, schema: Schema) -> Fields:
    """Return the fields that an object's creator has set: a list that cannot be omitted existed before it had items."""
    fields = compare({}, obj, schema).changed
    spec = fields.get("f:spec", {})
    given = {
        name: {item: node for item, node in spec[name].items() if item != _HERE}
        for required in schema.child("spec").raw.get("required", ())
        if (name := f"f:{required}") in spec
    }
    return {**fields, "f:spec": {**spec, **given}} if given else fields


def drop_unowned(managers: Managers) -> Managers:
    """Drop managers that own nothing any more."""
    return tuple(one for one in managers if one.fields is None or one.fields)


def to_json(managers: Managers) -> list[dict[str, Any]]:
    """The managedFields of an object, in the server's order: appliers first, then by time."""
    ordered = sorted(managers, key=lambda one: (one.operation, one.time, one.name, one.subresource))
    return [
        {
            "manager": one.name,
            "operation": one.operation,
            "apiVersion": one.api_version,
            **({"time": one.time} if one.time else {}),
            "fieldsType": "FieldsV1",
            "fieldsV1": one.fields,
            **({"subresource": one.subresource} if one.subresource else {}),
        }
        for one in ordered
    ]


def from_json(entries: list[dict[str, Any]]) -> Managers:
    """Parse managedFields. Raises Failure for entries that no server could have written."""
    managers = []
    for entry in entries:
        if entry.get("operation") not in (APPLY, UPDATE) or not isinstance(entry.get("fieldsV1"), dict):
            raise bad_request("metadata.managedFields: an entry needs an operation, Apply or Update, and fieldsV1")
        managers.append(
            Manager(
                name=entry.get("manager", ""),
                operation=entry["operation"],
                api_version=entry.get("apiVersion", ""),
                subresource=entry.get("subresource", ""),
                time=entry.get("time") or "",
                fields=entry["fieldsV1"],
            )
        )
    return tuple(managers)
