"""Strategic merge patch: lists of built-in kinds are merged by the keys that their schema names.

Source: k8s.io/apimachinery/pkg/util/strategicpatch, directives included: `$patch`, `$retainKeys`,
`$deleteFromPrimitiveList/<list>`, `$setElementOrder/<list>`.
"""

from __future__ import annotations

from typing import Any

from propeller.embedded.server._patches import DoesNotApply
from propeller.embedded.server._schema import Schema

_PATCH, _RETAIN = "$patch", "$retainKeys"
_DELETE_FROM, _ORDER = "$deleteFromPrimitiveList/", "$setElementOrder/"


def strategic_merge(document: dict[str, Any], patch: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """The patched document; the old one is not changed. Raises DoesNotApply."""
    match patch.get(_PATCH):
        case "replace":
            replaced: dict[str, Any] = _without_directives(patch)
            return replaced
        case "delete":
            return {}
        case None | "merge":
            pass
        case other:
            raise DoesNotApply(f"unknown patch type: {other!r} in map")
    result = _retained(document, patch)
    for name, value in patch.items():
        if name.startswith(_DELETE_FROM):
            _delete_primitives(result, name.removeprefix(_DELETE_FROM), value)
    for name, value in patch.items():
        if name.startswith("$"):
            continue
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value, schema.child(name), patch.get(_ORDER + name))
    for name, order in patch.items():
        if name.startswith(_ORDER) and (listed := name.removeprefix(_ORDER)) not in patch and listed in result:
            result[listed] = _ordered(result[listed], order, schema.child(listed).merge_key, result[listed])
    return result


def _merged(old: Any, new: Any, schema: Schema, order: Any) -> Any:
    """A member's value after the patch's."""
    if isinstance(new, dict):
        return strategic_merge(old if isinstance(old, dict) else {}, new, schema)
    if not isinstance(new, list):
        return new
    if "merge" not in schema.merge_strategies:
        return [_without_directives(item) for item in new if not _is_directive(item)]
    before = old if isinstance(old, list) else []
    if schema.merge_key:
        result = _merge_items(before, new, schema)
    else:
        result = before + [item for item in new if item not in before]
    return result if order is None else _ordered(result, order, schema.merge_key, before)


def _merge_items(old: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    """Items merged by key; new ones go to the end."""
    key = schema.merge_key
    if any(_is_directive(item) and item[_PATCH] == "replace" and len(item) == 1 for item in patch):
        return [_without_directives(item) for item in patch if not _is_directive(item)]
    result = list(old)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise DoesNotApply(f"{item!r} does not contain declared merge key: {key}")
        places = [index for index, one in enumerate(result) if isinstance(one, dict) and one.get(key) == item[key]]
        if item.get(_PATCH) == "delete":
            result = [one for index, one in enumerate(result) if index not in places]
        elif item.get(_PATCH) == "replace":
            replaced = {name: value for name, value in item.items() if name != _PATCH}
            result = [one for index, one in enumerate(result) if index not in places] + [replaced]
        elif places:
            result[places[0]] = strategic_merge(result[places[0]], item, schema.items)
        else:
            result.append(strategic_merge({}, item, schema.items))
    return result


def _ordered(items: list[Any], order: list[Any], key: str, before: list[Any]) -> list[Any]:
    """Items in the order that the patch sets. Those that it does not know stay where they were between the others."""

    def key_of(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    rank = {key_of(item): index for index, item in enumerate(order)}
    place = {key_of(item): index for index, item in enumerate(before)}
    known = sorted((item for item in items if key_of(item) in rank), key=lambda item: rank[key_of(item)])
    result = []
    for item in (item for item in items if key_of(item) not in rank):
        while known and place.get(key_of(known[0]), -1) < place[key_of(item)]:
            result.append(known.pop(0))
        result.append(item)
    return result + known


def _retained(document: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    if _RETAIN not in patch:
        return dict(document)
    retained = patch[_RETAIN]
    if not isinstance(retained, list) or any(
        name not in retained for name, value in patch.items() if value is not None and not name.startswith("$")
    ):
        raise DoesNotApply("$retainKeys must list all the fields that the patch sets")
    return {name: value for name, value in document.items() if name in retained}


def _delete_primitives(result: dict[str, Any], name: str, values: Any) -> None:
    if not isinstance(values, list):
        raise DoesNotApply(f"{_DELETE_FROM}{name} must be a list")
    if isinstance(result.get(name), list):
        result[name] = [item for item in result[name] if item not in values]


def _is_directive(item: Any) -> bool:
    return isinstance(item, dict) and _PATCH in item


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_directives(member)
            for name, member in value.items()
            if not name.startswith("$") and member is not None
        }
    return [_without_directives(item) for item in value] if isinstance(value, list) else value
