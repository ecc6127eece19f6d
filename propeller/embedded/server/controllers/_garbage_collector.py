"""The garbage collector: objects are deleted with their owners.

Guarantees
    An object is deleted when none of its owners exists; references to missing owners are removed while others exist.
    Foreground: an owner stays, marked, until the dependents that block it are gone. Orphan: dependents lose their
    reference before the owner is deleted.
Caveats
    Collection happens within one turn of the loop; the real controller takes a moment.
Source: k8s.io/kubernetes/pkg/controller/garbagecollector.
"""

from __future__ import annotations

from typing import Any

from propeller.embedded.server._errors import Failure
from propeller.embedded.server._storage import Change, Collection, Object, Record, Storage
from propeller.embedded.server.controllers._backlog import Backlog
from propeller.embedded.server.negotiation._requests import Target
from propeller.embedded.server.registry._kinds import Kind, Registry
from propeller.embedded.server.rest._deletes import Deletes, Options, Preconditions
from propeller.embedded.server.schema._metadata import FOREGROUND, ORPHAN, drop_empty


class GarbageCollector:
    """Listens to all changes; `run` handles their consequences."""

    def __init__(self, storage: Storage, registry: Registry, deletes: Deletes) -> None:
        self._storage = storage
        self._registry = registry
        self._deletes = deletes
        self._orphaned: Backlog[str] = Backlog()
        storage.listeners.append(self._notice)

    async def run(self) -> None:
        """Collect until cancelled."""
        await self._orphaned.work(self._look_at)

    def _notice(self, collection: Collection, change: Change) -> None:
        after = change.after
        if change.deleted:
            for _, dependent in self._storage.dependents(after.uid):
                self._orphaned.add(dependent.uid)
            for uid in after.owners:
                self._orphaned.add(uid)  # it may have waited for this dependent
            return
        has_new_owners = after.owners and (change.before is None or change.before.owners != after.owners)
        if has_new_owners or (after.deleting and (FOREGROUND in after.finalizers or ORPHAN in after.finalizers)):
            self._orphaned.add(after.uid)

    def _look_at(self, uid: str) -> None:
        found = self._storage.find(uid)
        if found is None:
            return
        collection, record = found
        try:
            kind = self._registry.of(collection)
            if record.deleting and ORPHAN in record.finalizers:
                self._orphan(kind, record)
            elif record.deleting and FOREGROUND in record.finalizers:
                self._finish_foreground(kind, record)
            elif record.owners and not record.deleting:
                self._collect(kind, record)
        except (Failure, LookupError):
            return  # changed or gone meanwhile: that change has its own event

    def _orphan(self, kind: Kind, record: Record) -> None:
        for collection, dependent in self._storage.dependents(record.uid):
            self._drop_references(collection, dependent, {record.uid})
        self._deletes.release(kind, record, ORPHAN)

    def _finish_foreground(self, kind: Kind, record: Record) -> None:
        blocking = False
        for _, dependent in self._storage.dependents(record.uid):
            references = dependent.parsed()["metadata"].get("ownerReferences") or ()
            blocking |= any(one["uid"] == record.uid and one.get("blockOwnerDeletion") for one in references)
            self._orphaned.add(dependent.uid)
        if not blocking:
            self._deletes.release(kind, record, FOREGROUND)

    def _collect(self, kind: Kind, record: Record) -> None:
        """Delete an object without a living owner, or drop its references to those that are gone."""
        solid, gone, waiting = set(), set(), set()
        for uid in record.owners:
            owner = self._owner(uid, record)
            if owner is None:
                gone.add(uid)
            elif owner.deleting and FOREGROUND in owner.finalizers:
                waiting.add(uid)
            else:
                solid.add(uid)
        if solid:
            if gone or waiting:
                self._drop_references(kind.collection, record, gone | waiting)
            return
        policy = "Background"
        if (waiting and self._storage.dependents(record.uid)) or FOREGROUND in record.finalizers:
            policy = "Foreground"
        elif ORPHAN in record.finalizers:
            policy = "Orphan"
        options = Options(propagation_policy=policy, preconditions=Preconditions(uid=record.uid))
        self._deletes.remove(Target(kind, record.namespace, record.name), record, options)

    def _owner(self, uid: str, dependent: Record) -> Record | None:
        """Return the owner, if it is a valid one: in the same namespace, or cluster-scoped."""
        found = self._storage.find(uid)
        if found is None or found[1].namespace not in ("", dependent.namespace):
            return None
        return found[1]

    def _drop_references(self, collection: Collection, record: Record, uids: set[str]) -> None:
        def change(obj: Object) -> None:
            metadata: dict[str, Any] = obj["metadata"]
            metadata["ownerReferences"] = [one for one in metadata["ownerReferences"] if one["uid"] not in uids]
            drop_empty(metadata)

        self._storage.amend(collection, record, change)
