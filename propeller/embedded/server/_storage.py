"""The objects: encoded, versioned, in key order, with a window of their history.

Guarantees
    One counter numbers every write of every kind (etcd's revision); it only grows, until a copy is restored (_backup).
    A record never changes: readers, watches and pages share it without copying. It has the object's JSON, and besides
    that only what reads select by, so that 50,000 pods cost little more than their JSON.
    The state at any version within the window can be read (`at`); pages and watches resume from it.
Caveats
    Everything is in memory and lost with the process.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, Protocol

import msgspec
import orjson

Object = dict[str, Any]
"""An object as parsed JSON, without `kind` and `apiVersion`: those depend on the version that it is read in."""

_FEW = 64
"""Changes of the key set up to which the sorted keys are updated one by one; above it sorting again is faster."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Record(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One state of one object. `tail` is its JSON without the opening brace, so that `kind` and `apiVersion` can be put
    before it; `fields` are the values of the kind's selectable fields, in its order; `owners` are uids.
    """

    key: str
    namespace: str
    name: str
    uid: str
    version: int
    tail: bytes
    labels: Mapping[str, str]
    fields: tuple[str, ...]
    owners: tuple[str, ...]
    finalizers: tuple[str, ...]
    deleting: bool
    writers: Any = None
    """Who wrote which fields, if the object has never been applied (see patch/_managed_fields)."""

    def parsed(self) -> Object:
        obj: Object = orjson.loads(b"{" + self.tail)
        return obj

    def sparse(self, names: Container[str]) -> Object:
        """Return the object with only these members parsed; the others stay JSON, which can be written and compared."""
        members = _MEMBERS.decode(b"{" + self.tail)
        return {
            name: orjson.loads(bytes(raw)) if name in names else orjson.Fragment(bytes(raw))
            for name, raw in members.items()
        }

    def at(self, version: int) -> Record:
        """Return the same state at another version: the resourceVersion is at the beginning of the tail."""
        tail = _tail_head(version) + self.tail[len(_tail_head(self.version)) :]
        return msgspec.structs.replace(self, version=version, tail=tail)


class Change(msgspec.Struct, frozen=True, gc=False):
    """One write. A creation has no `before`; of a deletion `after` is the last state, at the deletion's version."""

    version: int
    before: Record | None
    after: Record
    deleted: bool = False


class Expired(Exception):
    """The version is older than the window, whose oldest version is `floor`."""

    def __init__(self, floor: int) -> None:
        super().__init__(f"older than {floor}")
        self.floor = floor


class History:
    """The latest changes of one kind, at most `max_changes` of them and about `max_bytes`.

    A position counts all changes ever made; it stays valid while the window moves on.
    """

    def __init__(self, max_changes: int, max_bytes: int, floor: int) -> None:
        self._max_changes = max_changes
        self._max_bytes = max_bytes
        self._changes: list[Change] = []
        self._start = 0  # position of the first change that is kept
        self._bytes = 0
        self.floor = floor
        """Changes after this version are all here."""
        self.watch_floor = floor
        """The oldest version for watches: a restarted server has lost their history, but not its objects."""

    @property
    def end(self) -> int:
        """The position after the latest change."""
        return self._start + len(self._changes)

    def append(self, change: Change) -> None:
        self._changes.append(change)
        self._bytes += len(change.after.tail)
        if len(self._changes) > self._max_changes or self._bytes > self._max_bytes:
            self._trim()

    def position_after(self, version: int) -> int:
        """Return the position of the first change after `version`. Raises Expired."""
        if version < self.watch_floor:
            raise Expired(self.watch_floor)
        return self._start + bisect_right(self._changes, version, key=_version)

    def since(self, position: int, limit: int) -> list[Change] | None:
        """Return at most `limit` changes from a position on; None if the window has moved past it."""
        index = position - self._start
        return None if index < 0 else self._changes[index : index + limit]

    def after(self, version: int) -> list[Change]:
        """All changes after a version. Raises Expired."""
        if version < self.floor:
            raise Expired(self.floor)
        return self._changes[bisect_right(self._changes, version, key=_version) :]

    def forget(self, version: int) -> None:
        """Drop all that is kept, as of `version`."""
        self._drop(len(self._changes))
        self.floor = self.watch_floor = version

    def _trim(self) -> None:
        """Drop a quarter at least, so that trimming costs little per change; the latest change stays."""
        count = max(len(self._changes) // 4, 1)
        left = self._bytes - sum(len(change.after.tail) for change in self._changes[:count])
        while left > self._max_bytes and count < len(self._changes) - 1:
            left -= len(self._changes[count].after.tail)
            count += 1
        if count < len(self._changes):
            self._drop(count)

    def _drop(self, count: int) -> None:
        dropped = self._changes[:count]
        del self._changes[:count]
        self._start += count
        self._bytes -= sum(len(change.after.tail) for change in dropped)
        if dropped:
            self.floor = max(self.floor, dropped[-1].version)
            self.watch_floor = max(self.watch_floor, self.floor)


def _version(change: Change) -> int:
    return change.version


class Waiter(Protocol):
    """A watch that has seen everything and waits for the next change."""

    def notice(self, change: Change) -> bool:
        """Whether it goes on waiting: the change is none of its business."""

    def end(self) -> None:
        """The collection is dropped: nothing more comes."""


class Collection:
    """All objects of one kind. `fields_of` gives the values of its selectable fields."""

    def __init__(self, name: str, fields_of: Callable[[Object], tuple[str, ...]], history: History) -> None:
        self.name = name
        self.fields_of = fields_of
        self.history = history
        self.records: dict[str, Record] = {}
        self.dropped = False
        self.waiting: dict[Waiter, None] = {}  # in order of arrival, which is the order of waking
        self._keys: list[str] = []
        self._added: list[str] = []
        self._removed: set[str] = set()

    def __len__(self) -> int:
        return len(self.records)

    def select_by(self, fields_of: Callable[[Object], tuple[str, ...]]) -> None:
        """Change which fields can be selected by, for the objects that are there, too."""
        self.fields_of = fields_of
        for key, record in self.records.items():
            self.records[key] = msgspec.structs.replace(record, fields=fields_of(record.parsed()))

    def keys(self, namespace: str = "", after: str = "") -> Iterator[str]:
        """Keys in order: of one namespace or of all, those greater than `after`. To be read before the next change."""
        begin, end = self._range(namespace, after)
        return map(self._keys.__getitem__, range(begin, end))

    def _range(self, namespace: str, after: str) -> tuple[int, int]:
        keys = self._sorted()
        begin = bisect_right(keys, after) if after else 0
        end = len(keys)
        if namespace:
            begin = max(begin, bisect_left(keys, f"{namespace}/"))
            end = bisect_left(keys, f"{namespace}0")  # "0" follows "/"
        return begin, end

    def count(self, namespace: str = "", after: str = "") -> int:
        """How many keys `keys` would give."""
        begin, end = self._range(namespace, after)
        return max(end - begin, 0)

    def at(self, version: int, namespace: str = "", after: str = "") -> Iterator[Record]:
        """The records as they were at a version, in order of their keys. Raises Expired, before the first."""
        then: dict[str, Record | None] = {}
        for change in self.history.after(version):
            then.setdefault(change.after.key, change.before)
        return self._at(then, namespace, after)

    def _at(self, then: Mapping[str, Record | None], namespace: str, after: str) -> Iterator[Record]:
        gone = [key for key, record in then.items() if record is not None and key not in self.records]
        keys: Iterator[str] = self.keys(namespace, after)
        if gone:
            prefix = f"{namespace}/" if namespace else ""
            gone = [key for key in gone if key > after and key.startswith(prefix)]
            keys = heapq.merge(keys, sorted(gone))
        for key in keys:
            record = then[key] if key in then else self.records[key]
            if record is not None:
                yield record

    def apply(self, change: Change) -> None:
        """Apply a change, and wake those that wait for one."""
        key = change.after.key
        if change.deleted:
            del self.records[key]
            self._note_removed(key)
        else:
            self.records[key] = change.after
            if change.before is None:
                self._note_added(key)
        self.history.append(change)
        if self.waiting:
            self.waiting = {waiter: None for waiter in self.waiting if waiter.notice(change)}

    def _note_added(self, key: str) -> None:
        if key in self._removed:
            self._removed.discard(key)
        else:
            self._added.append(key)

    def _note_removed(self, key: str) -> None:
        self._removed.add(key)

    def _sorted(self) -> list[str]:
        if not self._added and not self._removed:
            return self._keys
        keys = self._keys
        if len(self._added) + len(self._removed) <= _FEW:
            for key in self._added:
                insort(keys, key)
            for key in self._removed:
                del keys[bisect_left(keys, key)]
        else:
            keys.extend(self._added)
            removed = self._removed
            self._keys = keys = sorted(key for key in keys if key not in removed) if removed else sorted(keys)
        self._added = []
        self._removed = set()
        return keys


Listener = Callable[[Collection, Change], None]


class Storage:
    """All collections, and the counter that numbers their writes."""

    def __init__(self, *, max_changes: int, max_bytes: int) -> None:
        self._max_changes = max_changes
        self._max_bytes = max_bytes
        self._version = 1
        self.collections: list[Collection] = []
        self._by_uid: dict[str, tuple[Collection, str]] = {}
        self._dependents: dict[str, dict[tuple[Collection, str], None]] = {}  # ordered, as all that work follows from
        self.listeners: list[Listener] = []
        """Called with every change, synchronously: controllers that queue follow-up work."""

    @property
    def version(self) -> int:
        """The version of the latest write."""
        return self._version

    def collection(self, name: str, fields_of: Callable[[Object], tuple[str, ...]]) -> Collection:
        """A new, empty collection."""
        collection = Collection(name, fields_of, History(self._max_changes, self._max_bytes, self._version))
        self.collections.append(collection)
        return collection

    def drop(self, collection: Collection) -> None:
        """Forget an empty collection: its kind is served no more, and its watches end."""
        self.collections.remove(collection)
        collection.dropped = True
        for waiter in tuple(collection.waiting):
            waiter.end()

    def amend(self, collection: Collection, record: Record, change: Callable[[Object], None]) -> Record:
        """Change an object on behalf of the server itself; store nothing if nothing changes."""
        obj = record.parsed()
        change(obj)
        if obj == record.parsed():
            return record
        return self.put(collection, encode(collection, obj, self._version + 1, record.writers), record)

    def find(self, uid: str) -> tuple[Collection, Record] | None:
        """The object with a uid."""
        found = self._by_uid.get(uid)
        return None if found is None else (found[0], found[0].records[found[1]])

    def dependents(self, uid: str) -> list[tuple[Collection, Record]]:
        """The objects with an owner reference to a uid."""
        return [(collection, collection.records[key]) for collection, key in self._dependents.get(uid, ())]

    def put(self, collection: Collection, record: Record, before: Record | None) -> Record:
        """Store a new state of an object, encoded for the version that is next, or of a copy for a later one."""
        assert record.version > self._version, "the record was encoded for another version"
        self._version = record.version
        if before is None:
            self._by_uid[record.uid] = (collection, record.key)
        if before is None or before.owners != record.owners:
            self._relink(collection, record.key, before.owners if before else (), record.owners)
        self._announce(collection, Change(record.version, before, record))
        return record

    def delete(self, collection: Collection, record: Record) -> Record:
        """Remove an object; returns its last state, at the version of the deletion."""
        version = self._version + 1
        last = record.at(version)
        self._version = version
        del self._by_uid[record.uid]
        self._relink(collection, record.key, record.owners, ())
        self._announce(collection, Change(version, record, last, deleted=True))
        return last

    def go_on_from(self, version: int) -> None:
        """The next write is the one after `version`; there is no history of before."""
        self._version = version
        self.compact()

    def compact(self) -> None:
        """Forget all history: resuming from an older version than now is refused."""
        for collection in self.collections:
            collection.history.forget(self._version)

    def forget_watches(self) -> None:
        """Forget the history of watches, as a restarting server does."""
        for collection in self.collections:
            collection.history.watch_floor = self._version

    def _relink(self, collection: Collection, key: str, old: tuple[str, ...], new: tuple[str, ...]) -> None:
        for uid in old:
            if uid not in new and (keys := self._dependents.get(uid)):
                keys.pop((collection, key), None)
                if not keys:
                    del self._dependents[uid]
        for uid in new:
            self._dependents.setdefault(uid, {})[collection, key] = None

    def _announce(self, collection: Collection, change: Change) -> None:
        collection.apply(change)
        for listener in self.listeners:
            listener(collection, change)


def encode(collection: Collection, obj: Object, version: int, writers: Any = None) -> Record:
    """The record of an object at a version. Sets its resourceVersion."""
    metadata = obj["metadata"]
    metadata.pop("resourceVersion", None)
    obj["metadata"] = metadata = {"resourceVersion": str(version), **metadata}
    name, namespace = metadata["name"], metadata.get("namespace", "")
    references = metadata.get("ownerReferences")
    return Record(
        key=f"{namespace}/{name}" if namespace else name,
        namespace=namespace,
        name=name,
        uid=metadata["uid"],
        version=version,
        tail=orjson.dumps({"metadata": None, **obj})[1:],
        labels=metadata.get("labels") or _NONE,
        fields=collection.fields_of(obj),
        owners=tuple(reference["uid"] for reference in references) if references else (),
        finalizers=tuple(metadata.get("finalizers") or ()),
        deleting="deletionTimestamp" in metadata,
        writers=writers,
    )


def _tail_head(version: int) -> bytes:
    return b'"metadata":{"resourceVersion":"%d",' % version


_NONE: Mapping[str, str] = {}
