"""Namespaces: nothing is created in one that is missing or ending, and one that ends takes its content along.

Source: k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle; k8s.io/kubernetes/pkg/controller/namespace.
"""

from __future__ import annotations

from propeller.embedded.server._answers import Cause, forbidden, not_found
from propeller.embedded.server._backlog import Backlog
from propeller.embedded.server._deletes import Deletes
from propeller.embedded.server._kinds import Kind, Registry
from propeller.embedded.server._requests import Call, Target
from propeller.embedded.server._storage import Change, Collection, Object, Record, Storage

PERMANENT = ("default", "kube-system", "kube-public")
"""Namespaces that cannot be deleted."""

INITIAL = (*PERMANENT, "kube-node-lease")

_BATCH = 100
"""Objects that are deleted before others get their turn."""


class Namespaces:
    """Admission and controller. Use `run` as long as the server is up."""

    def __init__(self, storage: Storage, registry: Registry, deletes: Deletes) -> None:
        self._storage = storage
        self._registry = registry
        self._deletes = deletes
        self._kind = registry.get("", "v1", "namespaces")
        self._ending: Backlog[str] = Backlog()
        self._doomed: dict[
            str, list[tuple[Kind, str]]
        ] = {}  # by uid of the namespace; nothing is added to one that ends
        storage.listeners.append(self._notice)

    def admit(self, call: Call, obj: Object) -> None:
        """Raises Failure for a creation in a namespace that is missing or ends."""
        name = call.target.namespace
        if not name:
            return
        namespace = self._kind.collection.records.get(name)
        if namespace is None:
            raise not_found("", "namespaces", name)
        if namespace.deleting:
            kind = call.target.kind
            cause = Cause("NamespaceTerminating", f"namespace {name} is being terminated", "metadata.namespace")
            why = f"unable to create new content in namespace {name} because it is being terminated"
            raise forbidden(kind.group, kind.plural, obj["metadata"].get("name", ""), why, [cause])

    def admit_deletion(self, target: Target) -> None:
        """Raises Failure for a namespace that every cluster has."""
        if target.kind is self._kind and target.name in PERMANENT:
            raise forbidden("", "namespaces", target.name, "this namespace may not be deleted")

    async def run(self) -> None:
        """Empty and remove what has been deleted, until cancelled."""
        await self._ending.work(self._end)

    def _notice(self, collection: Collection, change: Change) -> None:
        if collection is self._kind.collection:
            if change.after.deleting and not change.deleted:
                self._ending.add(change.after.name)
        elif change.deleted and change.after.namespace:
            namespace = self._kind.collection.records.get(change.after.namespace)
            if namespace is not None and namespace.deleting:
                self._ending.add(namespace.name)

    def _end(self, name: str) -> None:
        """Delete a part of what is left; where nothing is, let the namespace go."""
        namespace = self._kind.collection.records.get(name)
        if namespace is None or not namespace.deleting:
            return
        if namespace.uid not in self._doomed:
            self._doomed[namespace.uid] = [
                (kind, key) for kind in self._contained() for key in reversed(list(kind.collection.keys(name)))
            ]
        doomed = self._doomed[namespace.uid]
        for kind, key in doomed[-_BATCH:]:
            self._remove(kind, key)
        del doomed[-_BATCH:]
        if doomed:
            self._ending.add(name)
        elif all(next(kind.collection.keys(name), None) is None for kind in self._contained()):
            del self._doomed[namespace.uid]
            self._finalize(namespace)

    def _contained(self) -> list[Kind]:
        """One kind for each collection of namespaced objects."""
        found = {id(kind.collection): kind for kind in self._registry if kind.namespaced}
        return list(found.values())

    def _remove(self, kind: Kind, key: str) -> None:
        record = kind.collection.records.get(key)
        if record is not None and not record.deleting:
            self._deletes.remove(Target(kind, record.namespace, record.name), record)

    def _finalize(self, namespace: Record) -> None:
        def change(obj: Object) -> None:
            obj["spec"] = {**(obj.get("spec") or {}), "finalizers": []}

        current = self._storage.amend(self._kind.collection, namespace, change)
        if not current.finalizers:
            self._storage.delete(self._kind.collection, current)
