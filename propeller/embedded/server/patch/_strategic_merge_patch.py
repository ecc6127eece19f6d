"""Strategic merge patch: lists of built-in kinds are merged by the keys that their schema names.

Source: k8s.io/apimachinery/pkg/util/strategicpatch, directives included: `$patch`, `$retainKeys`,
`$deleteFromPrimitiveList/<list>`, `$setElementOrder/<list>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from propeller.embedded.server.patch._merge_patch import DoesNotApply
from propeller.embedded.server.schema._schema import Schema
from propeller.embedded.server.schema._typecheck import json_type

_PATCH, _RETAIN = "$patch", "$retainKeys"
_DELETE_FROM, _ORDER = "$deleteFromPrimitiveList/", "$setElementOrder/"


class Malformed(DoesNotApply):
    """A directive that has not the form that it must have."""


def strategic_merge(document: Mapping[str, Any], patch: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The patched document; the old one is not changed. Raises DoesNotApply."""
    match patch.get(_PATCH):
        case None:
            pass
        case "replace":
            return {name: _plain(value) for name, value in patch.items() if not name.startswith("$")}
        case "delete":
            return {}
        case other:
            raise _bad_directive(other, patch)
    result = _retained(document, patch)
    for name, value in patch.items():
        if name.startswith(_DELETE_FROM):
            _delete_primitives(result, name.removeprefix(_DELETE_FROM), value)
    for name, value in patch.items():
        if name.startswith("$"):
            continue
        order = patch.get(_ORDER + name)
        if order is not None:
            _check_list(order)
            _check_order(value, order, schema.child(name).merge_key)
        if value is None:
            result.pop(name, None)
        elif name not in result or json_type(result[name]) != json_type(value):
            _set_new(result, name, value)
        else:
            result[name] = _merged(result[name], value, schema.child(name))
        if order is not None and name in result:
            result[name] = _ordered(result[name], order, document.get(name) or (), schema.child(name).merge_key)
    for name, order in patch.items():
        if name.startswith(_ORDER) and (listed := name.removeprefix(_ORDER)) not in patch and listed in result:
            _check_list(order)
            result[listed] = _ordered(result[listed], order, result[listed], schema.child(listed).merge_key)
    return result


def _set_new(result: dict[str, Any], name: str, value: Any) -> None:
    """A member that was not there, or of another type."""
    if _has_directive(value):
        result.pop(name, None)
    else:
        result[name] = _plain(value)


def _merged(old: Any, new: Any, schema: Schema) -> Any:
    """A member's value after the patch's, which is of the same type."""
    if isinstance(new, dict):
        return strategic_merge(old, new, schema)
    if not isinstance(new, list) or "merge" not in schema.merge_strategies:
        return _plain(new)
    if not old and not new:
        return old
    if len({json_type(item) for item in (*old, *new)}) > 1:
        raise DoesNotApply(f"list element types are not identical: {go_text([old, new])}")
    if not isinstance((*old, *new)[0], dict):
        joined = [*old, *(item for index, item in enumerate(new) if item not in old and item not in new[:index])]
        return _ordered(joined, new, old, "")
    return _merged_items(old, new, schema)


def _merged_items(old: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    """Items merged by key, the patch's in its order."""
    key = schema.merge_key
    left, ordinary, replaces = list(old), [], False
    for item in patch:
        match item.get(_PATCH):
            case None:
                ordinary.append(item)
            case "replace":
                replaces = True
            case "delete":
                wanted = _key_of(item, key)
                left = [one for one in left if one.get(key) != wanted]
            case other:
                raise _bad_directive(other, item)
    if replaces:
        return [_plain(item) for item in ordinary]
    result = list(left)
    for item in ordinary:
        wanted = _key_of(item, key)
        place = next((index for index, one in enumerate(result) if one.get(key) == wanted), None)
        if place is None:
            result.append(_plain(item))
        else:
            result[place] = strategic_merge(result[place], item, schema.items)
    return _ordered(result, ordinary, left, key)


def _ordered(items: list[Any], order: Any, before: Any, key: str) -> list[Any]:
    """Order items as the patch says; items that it does not name stay before their former successors."""
    rank = _places(order, key)
    place = _places(before, key)
    known = [item for item in items if _key_of(item, key) in rank]
    known.sort(key=lambda item: rank[_key_of(item, key)])
    others = [item for item in items if _key_of(item, key) not in rank]
    result = []
    while known and others:
        ours, theirs = place.get(_key_of(known[0], key)), place.get(_key_of(others[0], key))
        first = others if ours is not None and theirs is not None and theirs < ours else known
        result.append(first.pop(0))
    return result + known + others


def _places(items: Any, key: str) -> dict[Any, int]:
    """Return the first position of each key."""
    found: dict[Any, int] = {}
    for index, item in enumerate(items):
        found.setdefault(_key_of(item, key), index)
    return found


def _key_of(item: Any, key: str) -> Any:
    """Return the key of an item within its list: text or a number."""
    if key and (not isinstance(item, dict) or key not in item):
        raise DoesNotApply(f"map: {go_text(item)} does not contain declared merge key: {key}")
    value = item[key] if key else item
    if isinstance(value, dict | list):
        raise DoesNotApply(f"{go_text(value)} cannot tell an item of a list from others")
    return value


def _check_list(order: Any) -> None:
    if not isinstance(order, list):
        raise DoesNotApply(f"expected a []interface {{}}, but received a {json_type(order)}")


def _check_order(patch: Any, order: Any, key: str) -> None:
    """A patch of a list must have its items in the order that it sets."""
    if not isinstance(patch, list):
        raise Malformed("invalid patch format of setElementOrder list")
    wanted = iter([_key_of(item, key) for item in order])
    if order and not all(_key_of(item, key) in wanted for item in patch if not _has_directive(item)):
        raise DoesNotApply(
            f"The order in patch list:\n{go_text(patch)}\n doesn't match $setElementOrder list:\n{go_text(order)}\n"
        )


def _retained(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    if _RETAIN not in patch:
        return dict(document)
    retained = patch[_RETAIN]
    if not isinstance(retained, list) or any(
        name not in retained for name, value in patch.items() if value is not None and not name.startswith("$")
    ):
        raise Malformed("invalid patch format of retainKeys")
    return {name: value for name, value in document.items() if name in retained}


def _delete_primitives(result: dict[str, Any], name: str, values: Any) -> None:
    if not isinstance(values, list):
        raise Malformed("invalid patch format of primitive list")
    if isinstance(result.get(name), list):
        result[name] = [item for item in result[name] if item not in values]


def _has_directive(item: Any) -> bool:
    return isinstance(item, dict) and _PATCH in item


def _plain(value: Any) -> Any:
    """A value of the patch as it is stored: without directives, and without nulls in objects."""
    if isinstance(value, dict):
        return {
            name: _plain(member)
            for name, member in value.items()
            if not name.startswith("$") and member is not None and not _has_directive(member)
        }
    return [_plain(item) for item in value if not _has_directive(item)] if isinstance(value, list) else value


def _bad_directive(directive: Any, patch: Mapping[str, Any]) -> DoesNotApply:
    return DoesNotApply(f"unknown patch type: {go_text(directive)} in map: {go_text(patch)}")


def go_text(value: Any) -> str:
    """Format a value as Go's %v does, which clients get to read."""
    match value:
        case dict():
            return f"map[{' '.join(f'{name}:{go_text(value[name])}' for name in sorted(value))}]"
        case list():
            return f"[{' '.join(map(go_text, value))}]"
        case None:
            return "<nil>"
        case bool():
            return str(value).lower()
        case _:
            return str(value)
