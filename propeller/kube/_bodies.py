"""Bodies of writes: typed objects as JSON, and the difference between two states of one.

Guarantees
    A body never removes a field that the struct does not know: a merge patch names the fields that differ, and a
    difference within a list of objects is refused, as a merge patch would replace the list.
Errors
    Invalid, naming the field and the alternative.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, cast

import msgspec
import orjson

from propeller.errors import Invalid
from propeller.kube._objects import ObjectMeta
from propeller.kube._resource import Resource

Body = Mapping[str, Any] | msgspec.Struct
"""An object, as plain JSON or as a struct."""


class PatchKind(enum.StrEnum):
    """The content types of patches."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


def whole(resource: Resource[Any], body: Body) -> dict[str, Any]:
    """The body with kind and version, which structs do not carry."""
    content: Mapping[str, Any] = msgspec.to_builtins(body) if isinstance(body, msgspec.Struct) else body
    return {"apiVersion": resource.api_version, "kind": resource.kind, **content}


def encoded(body: Any, what: str) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError as error:
        raise Invalid(f"{what}: the object cannot be written as JSON: {error}") from error


def metadata_of_body(body: Body) -> Mapping[str, Any]:
    """The metadata by the names of the wire; empty if there is none."""
    return _by_wire_name(_metadata(body))


def name_in(body: Body) -> str:
    metadata = _metadata(body)
    if isinstance(metadata, ObjectMeta):
        return metadata.name
    members = _by_wire_name(metadata)
    return str(members.get("name") or members.get("generateName", ""))


def _metadata(body: Body) -> Any:
    return getattr(body, "metadata", None) if isinstance(body, msgspec.Struct) else body.get("metadata")


def _by_wire_name(metadata: Any) -> Mapping[str, Any]:
    if isinstance(metadata, dict):  # nearly always; to ask an abstract class takes 1 us
        return metadata
    if isinstance(metadata, msgspec.Struct):
        return cast(Mapping[str, Any], msgspec.to_builtins(metadata))
    return metadata if isinstance(metadata, Mapping) else {}


def merge_patch(before: Any, after: Any, what: str) -> dict[str, Any]:
    """The merge patch (RFC 7386) from one state of an object to another, both structs or both JSON; {} if they are
    equal. A field that `after` has not is removed. Raises Invalid as the module says.
    """
    if type(before) is not type(after):
        raise Invalid(f"{what}: two states of one object are of one type, not {_type(before)} and {_type(after)}")
    changed = _difference(before, after, "", what)
    return {} if changed is _SAME else cast(dict[str, Any], changed)


_SAME = object()


def _difference(before: Any, after: Any, path: str, what: str) -> Any:
    if before == after and type(before) is type(after):
        return _SAME
    old, new = _members(before), _members(after)
    if old is None or new is None:
        if before and after and _is_list_of_objects(before) and new is None:
            raise Invalid(
                f"{what}: {path} holds objects in a list, of which the type may not know every field: writing the list "
                "would remove the others; use a JSON patch, apply, or `typed(dict)`"
            )
        return msgspec.to_builtins(after)
    changes: dict[str, Any] = {}
    for name in old.keys() | new.keys():
        where = f"{path}.{name}" if path else name
        if name not in new:
            changes[name] = None
        elif name not in old:
            changes[name] = msgspec.to_builtins(new[name])
        elif (inner := _difference(old[name], new[name], where, what)) is not _SAME:
            changes[name] = inner
    return changes


def _members(value: Any) -> Mapping[str, Any] | None:
    """The fields of an object by the names of the wire; None if it is no object."""
    if isinstance(value, msgspec.Struct):
        return {field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
    return value if isinstance(value, Mapping) else None


def _is_list_of_objects(value: Any) -> bool:
    if not isinstance(value, list | tuple | set | frozenset):
        return False
    return any(isinstance(item, msgspec.Struct) or _is_list_of_objects(item) for item in value)


def _type(value: Any) -> str:
    return type(value).__name__
