"""The objects of one kind, by key and by index.

Guarantees
    `put` and `remove` move only forward: they never put an older state in the place of a newer one (resourceVersions
    are compared as numbers, KEP-5504; where they are not numbers, whatever comes last is taken).
    `replace` is a diff: readers see the store change from one list to the next, never an empty one between. A list is
    the truth, whatever its versions: after a restored backup they may be older.
    An index function that raises gives no values for that object, and is logged once per cause.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from propeller.kube import ObjectMeta
from propeller.telemetry import Causes

T = TypeVar("T")

log = logging.getLogger(__name__)

IndexFunction = Callable[[T], Iterable[str]]
"""The values under which an object is found."""


class Change(msgspec.Struct, Generic[T], frozen=True):
    """What happened to one object: `old` is None when it is new, `new` is None when it is gone (`old` is its last
    state); in a resync both are its state as it is.
    """

    key: str
    old: T | None
    new: T | None


class Store(Generic[T]):
    """Objects by `namespace/name` (`name` alone where there is no namespace), and by the indexes named at the start."""

    def __init__(self, indexes: Mapping[str, IndexFunction[T]] | None = None) -> None:
        self._objects: dict[str, T] = {}
        self._functions = dict(indexes or {})
        self._indexes: dict[str, dict[str, set[str]]] = {name: {} for name in self._functions}
        self._causes = Causes(log)

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: object) -> bool:
        return key in self._objects

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._objects.values()))

    def get(self, key: str, /) -> T | None:
        return self._objects.get(key)

    def keys(self) -> list[str]:
        return list(self._objects)

    def by_index(self, index: str, value: str) -> list[T]:
        """The objects that `index` gives that value; raises KeyError for an index that was not named at the start."""
        return [self._objects[key] for key in self._indexes[index].get(value, ())]

    def put(self, new: T) -> Change[T] | None:
        """Take an object in; None where the store has it already, or a newer one."""
        metadata = metadata_of(new)
        key = _key(metadata)
        old = self._objects.get(key)
        if old is not None and not _is_newer(metadata.resource_version, metadata_of(old).resource_version):
            return None
        return self._set(key, old, new)

    def remove(self, key: str, version: str = "") -> Change[T] | None:
        """Take an object out, unless the store has one newer than `version`."""
        old = self._objects.get(key)
        if old is None or (version and as_number(version) < as_number(metadata_of(old).resource_version)):
            return None
        del self._objects[key]
        self._reindex(key, old, None)
        return Change(key, old, None)

    def replace(self, objects: Iterable[T]) -> list[Change[T]]:
        """Become equal to a list; returns what that changed.

        An object that was made anew under its name is one that is gone and one that is new.
        """
        changes: list[Change[T] | None] = []
        seen: set[str] = set()
        for new in objects:
            metadata = metadata_of(new)
            key = _key(metadata)
            seen.add(key)
            old = self._objects.get(key)
            if old is not None:
                before = metadata_of(old)
                if before.uid != metadata.uid:
                    changes.append(self.remove(key))
                    old = None
                elif before.resource_version == metadata.resource_version:
                    continue
            changes.append(self._set(key, old, new))
        changes.extend(self.remove(key) for key in self._objects.keys() - seen)
        return [change for change in changes if change is not None]

    def _set(self, key: str, old: T | None, new: T) -> Change[T]:
        self._objects[key] = new
        self._reindex(key, old, new)
        return Change(key, old, new)

    def _reindex(self, key: str, old: T | None, new: T | None) -> None:
        for name, function in self._functions.items():
            before, after = self._values(function, old), self._values(function, new)
            index = self._indexes[name]
            for value in before - after:
                keys = index.get(value, set())
                keys.discard(key)
                if not keys:
                    index.pop(value, None)
            for value in after - before:
                index.setdefault(value, set()).add(key)

    def _values(self, function: IndexFunction[T], obj: T | None) -> set[str]:
        try:
            return set(function(obj)) if obj is not None else set()
        except Exception as error:  # noqa: BLE001 - it is the caller's function, and one object must not stop the others
            self._causes.report(error, "an index function raised on %s", key_of(obj))
            return set()


def metadata_of(obj: Any) -> ObjectMeta:
    """The metadata of a typed object, or of plain JSON."""
    if isinstance(obj, dict):
        return msgspec.convert(obj.get("metadata", {}), ObjectMeta)
    metadata: ObjectMeta = obj.metadata
    return metadata


def key_of(obj: Any) -> str:
    """`namespace/name`, or the name alone."""
    return _key(metadata_of(obj))


def as_number(version: str) -> int:
    """A resourceVersion as a number; 0 where it is none."""
    return int(version) if version.isdecimal() else 0


def later(one: str, other: str) -> str:
    """The later of two resourceVersions; `other` where they are not numbers."""
    return one if as_number(one) > as_number(other) > 0 else other


def _key(metadata: ObjectMeta) -> str:
    return f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name


def _is_newer(new: str, old: str) -> bool:
    if new.isdecimal() and old.isdecimal():
        return int(new) > int(old)
    return new != old
