"""Server-side apply: a configuration merged into an object, with each field's owners.

Source: sigs.k8s.io/structured-merge-diff, merge; KEP-555.
"""

from __future__ import annotations

from typing import Any

import orjson

from propeller.embedded.server._errors import Failure
from propeller.embedded.server._storage import Object
from propeller.embedded.server.patch._field_set import (
    Fields,
    compare,
    difference,
    fields_of,
    has,
    intersection,
    is_container,
    item_key,
    members,
    paths_of,
    union,
)
from propeller.embedded.server.patch._managed_fields import Manager, Managers, Scope, drop_unowned
from propeller.embedded.server.schema._schema import Schema, Shape

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def apply(
    live: Object, config: Object, scope: Scope, managers: Managers, applier: Manager, *, force: bool
) -> tuple[Object, Managers]:
    """Apply a configuration; return the object and its managers.

    `applier` says who applies; its fields come from the configuration. Fields that it set last time and no longer sets
    are removed, unless another manager owns them too. Raises Failure for fields that others set to other values, unless
    `force` takes them over, and DuplicateItem.
    """
    config = {name: value for name, value in config.items() if name not in scope.ignored}
    schema = scope.schema
    wanted = owned = fields_of(config, schema)
    last: Fields = next((one.fields for one in managers if one.identity == applier.identity), {})
    others = tuple(one for one in managers if one.identity != applier.identity)
    for one in others:
        owned = union(owned, one.fields)
    result = _prune(merge(live, config, schema), schema, last, owned)
    assert isinstance(result, dict)
    found = compare(live, result, schema)
    conflicts = [(one, overlap) for one in others if (overlap := intersection(one.fields, found.changed))]
    if conflicts and not force:
        conflicts = _not_client_side(conflicts, live, applier, schema)
        if conflicts:
            raise _conflict_failure(conflicts)
    kept = (one.having(difference(difference(one.fields, found.changed), found.removed)) for one in others)
    return result, drop_unowned((*kept, applier.having(scope.managed(wanted))))


def _not_client_side(
    conflicts: list[tuple[Manager, Fields]], live: Object, applier: Manager, schema: Schema
) -> list[tuple[Manager, Fields]]:
    """Return the conflicts that remain if kubectl migrates from client-side apply: fields that it set itself are
    none.
    """
    last = (live.get("metadata") or {}).get("annotations", {}).get(LAST_APPLIED)
    if applier.name != "kubectl" or not last:
        return conflicts
    before = orjson.loads(last)
    found = compare(before, live, schema)
    own = difference(difference(fields_of(before, schema), found.changed), found.removed)
    return [(one, left) for one, overlap in conflicts if (left := difference(overlap, own))]


def merge(live: Any, config: Any, schema: Schema) -> Any:
    """`config` over `live`: containers by their members, everything else replaced. Neither is changed."""
    if not is_container(live, schema) or not is_container(config, schema) or type(live) is not type(config):
        return config
    if isinstance(live, list):
        return _merge_lists(live, config, schema)
    result = dict(live)
    for name, value in config.items():
        result[name] = merge(live[name], value, schema.child(name)) if name in live else value
    return result


def _merge_lists(live: list[Any], config: list[Any], schema: Schema) -> list[Any]:
    """Merge lists: the configuration's items in its order; live items that it lacks stay where they are, between its
    own.

    An item of both is taken in its turn: if live has them in another order, the configuration's wins.
    """
    ours = {item_key(item, schema): item for item in live}
    theirs = {item_key(item, schema): item for item in config}
    shared = [key for key in theirs if key in ours]
    live_keys, config_keys = list(ours), list(theirs)
    taken: dict[str, None] = {}
    while live_keys or config_keys:
        if live_keys and config_keys and live_keys[0] != config_keys[0]:
            key = live_keys[0]
            if key in theirs and next((one for one in shared if one not in taken), key) != key:
                live_keys.pop(0)  # its turn comes later
                continue
        if live_keys and live_keys[0] not in theirs:
            taken[live_keys.pop(0)] = None
            continue
        if live_keys and (live_keys[0] in taken or (config_keys and live_keys[0] == config_keys[0])):
            live_keys.pop(0)
        if config_keys:
            taken[config_keys.pop(0)] = None
    return [
        merge(ours[key], theirs[key], schema.items) if key in ours and key in theirs else theirs.get(key, ours.get(key))
        for key in taken
    ]


def _prune(value: Any, schema: Schema, last: Fields, owned: Fields) -> Any:
    """Return a container without the members that were in `last` and that no manager owns now.

    A named field stays if a manager owns something inside it; a map's value or an item does not stay as a whole.
    """
    named = {f"f:{name}" for name in schema.fields} if schema.shape is Shape.OBJECT else set()
    kept: dict[str, Any] = {}
    for key, (member, child) in members(value, schema).items():
        if key in last:
            is_owned = key in owned and (key in named or has(owned[key]))
            if has(last[key]) and not is_owned:
                continue
            if last[key] and member and is_container(member, child):
                member = _prune(member, child, last[key], owned.get(key, {})) or None
        kept[key] = member
    if isinstance(value, list):
        return list(kept.values())
    return {key.removeprefix("f:"): member for key, member in kept.items()}


def _conflict_failure(conflicts: list[tuple[Manager, Fields]]) -> Failure:
    """Return the failure that names each field and its manager."""
    paths = sorted((one.described, list(paths_of(fields))) for one, fields in conflicts)
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path}
        for who, listed in paths
        for path in listed
    ]
    count = len(causes)
    if count == 1:
        text = f"{causes[0]['message']}: {causes[0]['field']}"
    else:
        text = "\n".join(
            f"conflicts with {who}:\n" + "\n".join(f"- {path}" for path in listed) for who, listed in paths
        )
    message = f"Apply failed with {count} conflict{'' if count == 1 else 's'}: {text}"
    return Failure(409, "Conflict", message, details={"causes": causes})
