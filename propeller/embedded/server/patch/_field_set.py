"""Sets of fields in the form of managedFields, and the fields that an object or a change has.

A set is the FieldsV1 tree itself: `f:name` for a field, `k:{"name":"c"}` for an item of a keyed list, `v:"x"` for one
of a set. A node without children is in the set; a node with children is in it if it has the member ".". The root only
contains.
Source: sigs.k8s.io/structured-merge-diff, fieldpath and typed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from propeller.embedded.server.schema._schema import ANYTHING, Schema, Shape

Fields = dict[str, Any]

_HERE = "."


class DuplicateItem(Exception):
    """A keyed list has two items of one key; the text names the list and the key."""


class Comparison(msgspec.Struct, frozen=True):
    """The changes of an object's fields. `changed` are those that were added or have another value."""

    changed: Fields
    removed: Fields


def has(node: Fields) -> bool:
    """Whether the node itself is in the set."""
    return not node or _HERE in node


def union(one: Fields, other: Fields) -> Fields:
    result = dict(one)
    for key, theirs in other.items():
        if key == _HERE:
            continue
        ours = result.get(key)
        result[key] = theirs if ours is None else _node(union(ours, theirs), has(ours) or has(theirs))
    return result


def difference(one: Fields, other: Fields) -> Fields:
    """Return the members of one set that are not in the other."""
    result: Fields = {}
    for key, ours in one.items():
        if key == _HERE:
            continue
        theirs = other.get(key)
        if theirs is None:
            result[key] = ours
            continue
        children = difference(ours, theirs)
        children.pop(_HERE, None)
        stays = has(ours) and not has(theirs)
        if children or stays:
            result[key] = _node(children, stays)
    return result


def intersection(one: Fields, other: Fields) -> Fields:
    result: Fields = {}
    for key, ours in one.items():
        theirs = other.get(key)
        if key == _HERE or theirs is None:
            continue
        children = intersection(ours, theirs)
        both = has(ours) and has(theirs)
        if children or both:
            result[key] = _node(children, both)
    return result


def without(fields: Fields, paths: Iterator[tuple[str, ...]] | tuple[tuple[str, ...], ...]) -> Fields:
    """The set without everything at or below some paths."""
    for path in paths:
        fields = _without(fields, path)
    return fields


def _without(fields: Fields, path: tuple[str, ...]) -> Fields:
    child = fields.get(path[0])
    if child is None:
        return fields
    rest = {key: value for key, value in fields.items() if key != path[0]}
    if len(path) > 1:
        smaller = {key: value for key, value in _without(child, path[1:]).items() if key != _HERE}
        if smaller or has(child):
            rest[path[0]] = _node(smaller, has(child))
    return rest


def paths_of(fields: Fields, prefix: str = "") -> Iterator[str]:
    """Yield the members in readable form, `.spec.containers[name="c"].image`; a node before its children."""
    shown = {prefix + _shown(key): fields[key] for key in sorted(fields) if key != _HERE}
    yield from (path for path, child in shown.items() if has(child))
    for path, child in shown.items():
        yield from paths_of(child, path)


def _shown(key: str) -> str:
    kind, _, name = key.partition(":")
    match kind:
        case "k":
            return "[" + ",".join(f"{part}={json.dumps(value)}" for part, value in json.loads(name).items()) + "]"
        case "v":
            return f"[={name}]"
        case _:
            return f".{name}"


def fields_of(value: Any, schema: Schema, path: str = "") -> Fields:
    """The fields that a configuration sets. Raises DuplicateItem."""
    if isinstance(value, list) and schema.shape is Shape.LIST and not schema.atomic:
        result: Fields = {}
        for item in value:
            key = item_key(item, schema)
            if key in result:
                raise DuplicateItem(f"{path}: duplicate entries for key {_shown(key)}")
            result[key] = _node(fields_of(item, schema.items, path + _shown(key)), True)
        return result
    if not isinstance(value, dict) or schema.atomic:
        return {}
    result = {}
    for name, member in value.items():
        child = schema.child(name)
        if member == [] and child.shape is Shape.LIST and not child.atomic:
            continue  # a list that is merged is nothing but its items
        below = fields_of(member, child, f"{path}.{name}")
        known = schema.shape is Shape.OBJECT and name in schema.fields
        result[f"f:{name}"] = _node(below, not known or not below)
    return result


def compare(old: Any, new: Any, schema: Schema) -> Comparison:
    """Compare two objects, by the fields of their schema."""
    changed: Fields = {}
    removed: Fields = {}
    _compare(old, new, schema, changed, removed)
    return Comparison(changed, removed)


def _compare(old: Any, new: Any, schema: Schema, changed: Fields, removed: Fields) -> None:
    """For two containers of one shape: note the differences of their members."""
    before, after = members(old, schema), members(new, schema)
    for key, (value, child) in after.items():
        if key not in before:
            changed[key] = _whole(value, child)
            continue
        was = before[key][0]
        if was is value or was == value:
            continue
        if value is None and (below := _below(was, child)):
            removed[key] = below  # null: the container, without its former content
        elif was is None and (below := _below(value, child)):
            changed[key] = below
        elif is_container(was, child) and is_container(value, child) and type(was) is type(value):
            below_changed: Fields = {}
            below_removed: Fields = {}
            _compare(was, value, child, below_changed, below_removed)
            if below_changed:
                changed[key] = below_changed
            if below_removed:
                removed[key] = below_removed
        else:
            changed[key] = _whole(value, child)
            if below := _below(was, child):
                removed[key] = below
    for key, (value, child) in before.items():
        if key not in after:
            removed[key] = _whole(value, child)


def _whole(value: Any, schema: Schema) -> Fields:
    """A container and everything in it."""
    if not is_container(value, schema):
        return {}
    below = {key: _whole(member, child) for key, (member, child) in members(value, schema).items()}
    return _node(below, True)


def _below(value: Any, schema: Schema) -> Fields:
    """Everything in a container."""
    return {key: node for key, node in _whole(value, schema).items() if key != _HERE}


def members(value: Any, schema: Schema) -> dict[str, tuple[Any, Schema]]:
    """Return a container's values by key; of items with the same key the last one."""
    if isinstance(value, list):
        return {item_key(item, schema): (item, schema.items) for item in value}
    return {f"f:{name}": (member, schema.child(name)) for name, member in value.items()}


def is_container(value: Any, schema: Schema) -> bool:
    """Whether a value is made of fields, and is not one itself."""
    if isinstance(value, list):
        return schema.shape is Shape.LIST and not schema.atomic
    return isinstance(value, dict) and not schema.atomic


def item_key(item: Any, schema: Schema) -> str:
    """The key of an item within its list."""
    if not schema.list_keys or not isinstance(item, dict):
        return f"v:{json.dumps(item, separators=(',', ':'))}"
    fields: Mapping[str, Schema] = schema.items.fields if schema.items.shape is Shape.OBJECT else {}
    key = {}
    for name in sorted(schema.list_keys):
        default = fields.get(name, ANYTHING).raw.get("default")
        value = item.get(name, default)
        if value is not None:
            key[name] = value
    return f"k:{json.dumps(key, separators=(',', ':'))}"


def _node(children: Fields, here: bool) -> Fields:
    """A node with these children, in the set or not."""
    children.pop(_HERE, None)
    return {_HERE: {}, **children} if here and children else children
