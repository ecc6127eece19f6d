"""What the server says is there, and how far a store is from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from propeller.informers import Informer, key_of
from propeller.kube import Client
from tests.soak.fold import identity
from tests.soak.scopes import Scope

_MAX_SHOWN = 5  # differences of one sort


async def fresh_list(client: Client, scope: Scope) -> dict[str, Any]:
    """The objects of a scope by key, as its informer should hold them."""
    found: dict[str, Any] = {}
    async for page in client.pages(
        scope.resource, scope.namespace, label_selector=scope.label_selector, field_selector=scope.field_selector
    ):
        found |= {key_of(item): scope.transform(item) if scope.transform else item for item in page.items}
    return found


def versions_of(objects: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """What must be equal first: uids and resourceVersions."""
    return {key: identity(obj) for key, obj in objects.items()}


def objects_of(informer: Informer[Any]) -> dict[str, Any]:
    return {key_of(obj): obj for obj in informer.store}


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """How one collection is not the other, in a line for each sort; nothing where they are equal."""
    lines = [
        _listed("missing", (f"{key} {identity(expected[key])}" for key in expected.keys() - found.keys())),
        _listed("too many", (f"{key} {identity(found[key])}" for key in found.keys() - expected.keys())),
        _listed(
            "not the same",
            (
                f"{key} {identity(found[key])}, not {identity(expected[key])}"
                for key in expected.keys() & found.keys()
                if _content(found[key]) != _content(expected[key])
            ),
        ),
    ]
    return [line for line in lines if line]


def wrong_indexes(informer: Informer[Any], scope: Scope, expected: Mapping[str, Any], known: set[str]) -> list[str]:
    """The index values under which the store finds others than it should. `known` are all values that ever were."""
    wrong: list[str] = []
    for name, function in scope.indexes.items():
        wanted: dict[str, set[str]] = {}
        for key, obj in expected.items():
            for value in function(obj):
                wanted.setdefault(value, set()).add(key)
        known.update(wanted)
        for value in sorted(known):
            found = sorted(map(key_of, informer.store.by_index(name, value)))
            if found != sorted(wanted.get(value, ())):
                wrong.append(f"index {name} has {found} under {value!r}, not {sorted(wanted.get(value, ()))}")
    return wrong


def _content(obj: Any) -> Any:
    """What a list and a watch agree on: plain JSON names its kind in a watch alone."""
    if isinstance(obj, dict):
        return {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
    return obj


def _listed(what: str, lines: Iterable[str]) -> str:
    found = sorted(lines)
    more = f" and {len(found) - _MAX_SHOWN} more" if len(found) > _MAX_SHOWN else ""
    return f"{what}: {', '.join(found[:_MAX_SHOWN])}{more}" if found else ""
