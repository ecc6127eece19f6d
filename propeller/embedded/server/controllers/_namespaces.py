"""Namespaces: objects cannot be created in a missing or terminating one, and a deleted one deletes its content.

Source: k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle; k8s.io/kubernetes/pkg/controller/namespace.
"""

from __future__ import annotations

from collections.abc import Callable

from propeller.embedded.server._errors import Cause, forbidden, not_found
from propeller.embedded.server._storage import Change, Collection, Object, Record, Storage
from propeller.embedded.server.controllers._backlog import Backlog
from propeller.embedded.server.controllers._namespace_conditions import set_conditions
from propeller.embedded.server.negotiation._requests import Call, Target
from propeller.embedded.server.registry._kinds import Kind, Registry
from propeller.embedded.server.registry._strategies import KUBERNETES_FINALIZER
from propeller.embedded.server.rest._deletes import Deletes

PERMANENT = ("default", "kube-system", "kube-public")
"""Namespaces that cannot be deleted."""

INITIAL = (*PERMANENT, "kube-node-lease")

_BATCH = 100
"""Objects that are deleted before other tasks get a turn."""

_TELL_EVERY = 1.0
"""Minimum seconds between two writes of a namespace's conditions: counting what is left costs time for each object."""


class Namespaces:
    """Admission and controller. `now` gives epoch seconds."""

    def __init__(self, storage: Storage, registry: Registry, deletes: Deletes, now: Callable[[], float]) -> None:
        self._storage = storage
        self._registry = registry
        self._deletes = deletes
        self._now = now
        self._kind = registry.get("", "v1", "namespaces")
        self._ending: Backlog[str] = Backlog()
        # by uid of the namespace; nothing is added to one that ends
        self._doomed: dict[str, list[tuple[Kind, str]]] = {}
        self._told: dict[str, float] = {}  # when its conditions were written, by uid of the namespace
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
        """Empty and remove deleted namespaces, until cancelled."""
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
        """Delete some of the remaining objects; if there are none, remove the namespace."""
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
        elif any(next(kind.collection.keys(name), None) is not None for kind in self._contained()):
            self._tell(namespace)
        else:
            del self._doomed[namespace.uid]
            self._told.pop(namespace.uid, None)
            self._finalize(namespace)

    def _contained(self) -> list[Kind]:
        """One kind for each collection of namespaced objects."""
        found = {id(kind.collection): kind for kind in self._registry if kind.namespaced}
        return list(found.values())

    def _remove(self, kind: Kind, key: str) -> None:
        record = kind.collection.records.get(key)
        if record is not None and not record.deleting:
            self._deletes.remove(Target(kind, record.namespace, record.name), record)

    def _tell(self, namespace: Record) -> None:
        """Update the conditions now and then with what it waits for."""
        now = self._now()
        if now < self._told.get(namespace.uid, 0) + _TELL_EVERY:
            return
        self._told[namespace.uid] = now
        name = namespace.name
        remaining = [(kind, record) for kind in self._contained() for record in _records(kind, name)]
        self._storage.amend(self._kind.collection, namespace, lambda obj: set_conditions(obj, remaining, now))

    def _finalize(self, namespace: Record) -> None:
        left: list[str] = []

        def change(obj: Object) -> None:
            spec = obj.get("spec") or {}
            left.extend(one for one in spec.get("finalizers") or () if one != KUBERNETES_FINALIZER)
            obj["spec"] = {**spec, "finalizers": left}

        current = self._storage.amend(self._kind.collection, namespace, change)
        if not current.finalizers and not left:
            self._storage.delete(self._kind.collection, current)


def _records(kind: Kind, namespace: str) -> list[Record]:
    return [kind.collection.records[key] for key in kind.collection.keys(namespace)]
