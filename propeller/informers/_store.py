"""The objects of one kind, by key and by index.

Guarantees
    `upsert` and `delete` move only forward: they never put an older state in the place of a newer one (resourceVersions
    are compared as numbers, KEP-5504; if they are not numbers, the last one wins).
    A list is taken as a diff, page by page: readers see the store change from one list to the next, never an empty one
    between, and no second copy of the objects is held. A list always wins, even with lower resourceVersions: it is a
    consistent read, and after an etcd restore every version is lower.
    An index function that raises gives no values for that object, and is logged once per cause.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from propeller.decoding import read
from propeller.kube import ObjectMeta
from propeller.telemetry import Causes

T = TypeVar("T")

log = logging.getLogger(__name__)

IndexFunction = Callable[[T], Iterable[str]]
"""The values under which an object is found."""


class Change(msgspec.Struct, Generic[T], frozen=True):
    """A change of one object: `old` is None if it is new, `new` is None if it was deleted (`old` is its last state).

    `final_state_unknown`: the deletion is known from a list only, so the object may have had later states than `old`
    (client-go's DeletedFinalStateUnknown).
    """

    key: str
    old: T | None
    new: T | None
    final_state_unknown: bool = False


class Store(Generic[T]):
    """Objects by `namespace/name` (`name` alone if there is no namespace), and by the indexes named at the start.

    More than 15 methods: five of them make it a collection to read.
    """

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

    def upsert(self, new: T) -> Change[T] | None:
        """Insert or update an object; None if the store has it already, or a newer state."""
        metadata = metadata_of(new)
        key = _key(metadata)
        old = self._objects.get(key)
        if old is not None and not _is_newer(metadata.resource_version, metadata_of(old).resource_version):
            return None
        return self._set(key, old, new)

    def delete(self, gone: T) -> Change[T] | None:
        """Delete an object, unless the store has a newer state, or another object of that name."""
        metadata = metadata_of(gone)
        key = _key(metadata)
        old = self._objects.get(key)
        if old is None or not _is_same_object(metadata, metadata_of(old)):
            return None
        return self._drop(key, old)

    def forget(self, key: str) -> None:
        """Drop an object that no reader has use for any more; nobody is told. An event or a list brings it back."""
        if (old := self._objects.get(key)) is not None:
            self._drop(key, old)

    def replace_page(self, objects: Iterable[T], seen: set[str]) -> Iterator[Change[T]]:
        """Take some objects of a list, regardless of versions; their keys are added to `seen`. Yields the changes.

        An object that was created again under its name is a deletion and a creation. After a restore a version may
        occur twice, so objects of equal version are compared as a whole.
        """
        for new in objects:
            metadata = metadata_of(new)
            key = _key(metadata)
            seen.add(key)
            old = self._objects.get(key)
            if old is not None:
                before = metadata_of(old)
                if before.uid != metadata.uid:
                    yield self._drop(key, old, unknown=True)
                    old = None
                elif before.resource_version == metadata.resource_version and old == new:
                    continue
            yield self._set(key, old, new)

    def finish_replace(self, seen: set[str]) -> Iterator[Change[T]]:
        """Delete the objects that a complete list had not `seen`."""
        for key in self._objects.keys() - seen:
            yield self._drop(key, self._objects[key], unknown=True)

    def overwrite(self, new: T) -> Change[T]:
        """Insert or update an object regardless of its version; the store has none of its name with another uid."""
        key = key_of(new)
        return self._set(key, self._objects.get(key), new)

    def drop_other(self, metadata: ObjectMeta) -> Change[T] | None:
        """Delete an object of the same name with another uid: it was deleted before this one was created."""
        old = self._objects.get(key := _key(metadata))
        if old is None or not metadata.uid or metadata_of(old).uid == metadata.uid:
            return None
        return self._drop(key, old, unknown=True)

    def _drop(self, key: str, old: T, *, unknown: bool = False) -> Change[T]:
        del self._objects[key]
        self._reindex(key, old, None)
        return Change(key, old, None, unknown)

    def _set(self, key: str, old: T | None, new: T) -> Change[T]:
        self._objects[key] = new
        self._reindex(key, old, new)
        return Change(key, old, new)

    def _reindex(self, key: str, old: T | None, new: T | None) -> None:
        for name, function in self._functions.items():
            before, after = self._values(function, old), self._values(function, new)
            if before == after:
                continue
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
        metadata = obj.get("metadata", {})
        try:
            return msgspec.convert(metadata, ObjectMeta)
        except msgspec.ValidationError:  # a null, or a field of another type: read the other fields
            return read(ObjectMeta, msgspec.json.encode(metadata)).value or ObjectMeta()
    found: ObjectMeta = obj.metadata
    return found


def key_of(obj: Any) -> str:
    """`namespace/name`, or the name alone."""
    return _key(metadata_of(obj))


def as_number(version: str) -> int:
    """A resourceVersion as a number; 0 if it is none."""
    return int(version) if version.isdecimal() else 0


def later(one: str, other: str) -> str:
    """The later of two resourceVersions; `other` if they are not numbers."""
    return one if went_back(one, other) else other


def went_back(before: str, now: str) -> bool:
    """Whether a version is older than one from before; of versions that are not numbers nothing is known."""
    return now.isdecimal() and before.isdecimal() and 0 < int(now) < int(before)


def of_another_history(before: Any, now: Any) -> bool:
    """Whether two states of an object show that the server was restored between them: an older version afterwards, or
    the same version for another state.
    """
    earlier, later = metadata_of(before).resource_version, metadata_of(now).resource_version
    return went_back(earlier, later) or (earlier == later and before != now)


def _key(metadata: ObjectMeta) -> str:
    return f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name


def _is_same_object(gone: ObjectMeta, kept: ObjectMeta) -> bool:
    """Whether the deletion of an object concerns the state in the store."""
    if gone.uid and kept.uid and gone.uid != kept.uid:
        return False
    return not gone.resource_version or as_number(gone.resource_version) >= as_number(kept.resource_version)


def _is_newer(new: str, old: str) -> bool:
    if new.isdecimal() and old.isdecimal():
        return int(new) > int(old)
    return new != old
