"""The service account controller: each namespace that does not end has a service account `default`.

Caveats
    One that a quota refuses is made when the namespace or its service accounts change next.
Source: k8s.io/kubernetes/pkg/controller/serviceaccount.
"""

from __future__ import annotations

import contextlib

from propeller.embedded.server._errors import Failure
from propeller.embedded.server._storage import Change, Collection, Storage
from propeller.embedded.server.controllers._backlog import Backlog
from propeller.embedded.server.negotiation._requests import Call, Form, Target
from propeller.embedded.server.registry._kinds import Registry
from propeller.embedded.server.rest._writes import Writes
from propeller.kube import Request

DEFAULT = "default"


class ServiceAccounts:
    """Listens to namespaces and service accounts; `run` makes those that lack."""

    def __init__(self, storage: Storage, registry: Registry, writes: Writes) -> None:
        self._namespaces = registry.get("", "v1", "namespaces").collection
        self._kind = registry.get("", "v1", "serviceaccounts")
        self._writes = writes
        self._changed: Backlog[str] = Backlog()  # names of namespaces
        storage.listeners.append(self._notice)

    async def run(self) -> None:
        """Create missing service accounts, until cancelled."""
        await self._changed.work(self._ensure)

    def _notice(self, collection: Collection, change: Change) -> None:
        if collection is self._namespaces and not change.deleted:
            self._changed.add(change.after.name)
        elif collection is self._kind.collection and change.deleted:
            self._changed.add(change.after.namespace)

    def _ensure(self, name: str) -> None:
        namespace = self._namespaces.records.get(name)
        if namespace is None or namespace.deleting or f"{name}/{DEFAULT}" in self._kind.collection.records:
            return
        request = Request(method="POST", path=f"/api/v1/namespaces/{name}/serviceaccounts")
        target = Target(self._kind, name)
        call = Call(verb="create", target=target, request=request, form=Form.OBJECT, manager="kube-controller-manager")
        with contextlib.suppress(Failure):
            self._writes.create_object(call, {"metadata": {"name": DEFAULT, "namespace": name}}, ())
