"""Custom resource definitions: accept their names, serve their kinds, and clean up after them.

Caveats
    A definition is served as soon as it is created; the real server takes a moment.
Source: k8s.io/apiextensions-apiserver/pkg/controller/status and establish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from propeller.clock import rfc3339
from propeller.embedded.server._errors import forbidden
from propeller.embedded.server._storage import Change, Collection, Object, Record, Storage
from propeller.embedded.server.controllers._backlog import Backlog
from propeller.embedded.server.negotiation._requests import Call, Target
from propeller.embedded.server.registry._kinds import APIEXTENSIONS, Kind, Registry
from propeller.embedded.server.registry._strategies import CLEANUP_FINALIZER, CustomStrategy
from propeller.embedded.server.rest._deletes import Deletes
from propeller.embedded.server.schema._schema import Schema, of_custom_resource

_BATCH = 100
_SUBRESOURCE_VERBS = ("get", "patch", "update")


class Definitions:
    """Serves the defined types. `run` as long as the server is up; `now` gives epoch seconds.

    More than 15 methods: one a step of a definition's life (names, served, cleaned up), and all share the served kinds.
    """

    def __init__(self, storage: Storage, registry: Registry, deletes: Deletes, now: Callable[[], float]) -> None:
        self._storage = storage
        self._registry = registry
        self._deletes = deletes
        self._now = now
        self._kind = registry.get(APIEXTENSIONS, "v1", "customresourcedefinitions")
        self._served: dict[str, list[Kind]] = {}  # by the definition's name
        self._collections: dict[str, Collection] = {}
        self._pending: Backlog[str] = Backlog()
        storage.listeners.append(self._notice)

    async def run(self) -> None:
        """Finish deletions, and serve names that have become free, until cancelled."""
        await self._pending.work(self._look_at)

    def settle(self) -> None:
        """Serve the written definitions, and say so in their status, before the write is answered, so that its client
        can use the kind.
        """
        self._pending.settle(self._look_at)

    def admit(self, call: Call, obj: Object) -> None:
        """Raise Failure if an object is created whose definition is being deleted."""
        kind = call.target.kind
        definition = self._kind.collection.records.get(f"{kind.plural}.{kind.group}") if kind.custom else None
        if definition is not None and definition.deleting:
            why = "create not allowed while custom resource definition is terminating"
            raise forbidden(kind.group, kind.plural, obj["metadata"].get("name", ""), why)

    def serve_again(self, definition: Record) -> None:
        """Serve a definition whose objects are about to be restored."""
        self._serve(definition.name, definition.parsed()["spec"])

    def _notice(self, collection: Collection, change: Change) -> None:
        if collection is not self._kind.collection:
            if change.deleted and collection.name in self._served:
                self._note_cleaned(collection.name)
            return
        if change.deleted:
            self._stop_serving(change.after.name)
            for name in self._kind.collection.records:
                self._pending.add(name)  # it may have waited for the names
        else:
            self._pending.add(change.after.name)

    def _note_cleaned(self, name: str) -> None:
        """A resource is gone: its definition may have waited for that."""
        definition = self._kind.collection.records.get(name)
        if definition is not None and definition.deleting:
            self._pending.add(name)

    def _look_at(self, name: str) -> None:
        record = self._kind.collection.records.get(name)
        if record is None:
            return
        if record.deleting:
            self._clean_up(record)
            return
        definition = record.parsed()
        conflict = self._conflict(name, definition["spec"])
        if conflict is None or name in self._served:
            self._serve(name, definition["spec"])
        self._storage.amend(self._kind.collection, record, lambda obj: self._tell(obj, conflict))

    def _tell(self, obj: Object, conflict: tuple[str, str] | None) -> None:
        """Write the conditions."""
        status: dict[str, Any] = dict(obj.get("status") or {})
        known = {one.get("type"): one for one in status.get("conditions") or ()}
        was_established = (known.get("Established") or {}).get("status") == "True"
        if conflict is None:
            accepted = ("True", "NoConflicts", "no conflicts found")
            established = ("True", "InitialNamesAccepted", "the initial names have been accepted")
            status["acceptedNames"] = obj["spec"]["names"]
        else:
            accepted = ("False", *conflict)
            established = ("False", "NotAccepted", "not all names are accepted")
        conditions = [self._condition(known, "NamesAccepted", *accepted)]
        if conflict is None or not was_established:
            conditions.append(self._condition(known, "Established", *established))
        else:
            conditions.append(known["Established"])
        obj["status"] = {**status, "conditions": conditions}

    def _condition(self, known: dict[str, Any], type_: str, status: str, reason: str, message: str) -> dict[str, Any]:
        before = known.get(type_) or {}
        since = before.get("lastTransitionTime") if before.get("status") == status else None
        return {
            "type": type_,
            "status": status,
            "lastTransitionTime": since or rfc3339(self._now()),
            "reason": reason,
            "message": message,
        }

    def _conflict(self, name: str, spec: dict[str, Any]) -> tuple[str, str] | None:
        """Why the names cannot be had: reason and message."""
        names = spec["names"]
        resources, kinds = self._taken(name, spec["group"])
        for reason, wanted, taken in (
            ("PluralConflict", names.get("plural"), resources),
            ("SingularConflict", names.get("singular"), resources),
            *(("ShortNamesConflict", short, resources) for short in names.get("shortNames") or ()),
            ("KindConflict", names.get("kind"), kinds),
            ("ListKindConflict", names.get("listKind"), kinds),
        ):
            if wanted in taken:
                return reason, f'"{wanted}" is already in use'
        return None

    def _taken(self, name: str, group: str) -> tuple[set[str], set[str]]:
        """Return the names of resources and kinds in a group that other definitions use."""
        own = self._served.get(name, [])
        others = [kind for kind in self._registry if kind.group == group and kind not in own]
        resources = {word for kind in others for word in (kind.plural, kind.singular, *kind.short_names)}
        return resources, {word for kind in others for word in (kind.kind, kind.list_kind)}

    def _serve(self, name: str, spec: dict[str, Any]) -> None:
        """Register the versions that are served, with their schemas, columns and subresources of now."""
        for kind in self._served.pop(name, []):
            self._registry.remove(kind)
        self._served[name] = list(self._kinds(name, spec))
        for kind in self._served[name]:
            self._registry.add(kind)

    def _kinds(self, name: str, spec: dict[str, Any]) -> Iterator[Kind]:
        selectable = sorted(
            {
                one["jsonPath"].removeprefix(".")
                for version in spec["versions"]
                for one in version.get("selectableFields") or ()
            }
        )
        for version in spec["versions"]:
            subresources = version.get("subresources") or {}
            scale = subresources.get("scale") or {}
            replicas = [scale[name] for name in ("specReplicasPath", "statusReplicasPath") if name in scale]
            schema = of_custom_resource(version["schema"]["openAPIV3Schema"])
            strategy = CustomStrategy(
                schema, has_status="status" in subresources, selectable=selectable, replicas=replicas
            )
            kind = self._new_kind(name, spec, version, strategy, schema)
            if version.get("storage"):
                kind.collection.select_by(strategy.fields_of)
            if version.get("served"):
                yield kind

    def _new_kind(
        self, name: str, spec: dict[str, Any], version: dict[str, Any], strategy: CustomStrategy, schema: Schema
    ) -> Kind:
        names, subresources = spec["names"], version.get("subresources") or {}
        if name not in self._collections:
            self._collections[name] = self._storage.collection(name, strategy.fields_of)
        return Kind(
            kind=names["kind"],
            plural=names["plural"],
            singular=names.get("singular", ""),
            list_kind=names.get("listKind", ""),
            group=spec["group"],
            version=version["name"],
            namespaced=spec["scope"] == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            subresources={name: _SUBRESOURCE_VERBS for name in ("status", "scale") if name in subresources},
            scale=subresources.get("scale"),
            strategy=strategy,
            schema=schema,
            collection=self._collections[name],
            columns=tuple(version.get("additionalPrinterColumns") or ()),
            custom=True,
        )

    def _clean_up(self, record: Record) -> None:
        """Delete the resources of a definition that is to go, then the definition."""
        for kind in self._served.get(record.name, [])[:1]:
            staying = [one for one in kind.collection.records.values() if not one.deleting]
            for one in staying[:_BATCH]:
                self._deletes.remove(Target(kind, one.namespace, one.name), one)
            if len(staying) > _BATCH:
                self._pending.add(record.name)
            if kind.collection.records:
                return
        self._deletes.release(self._kind, record, CLEANUP_FINALIZER)

    def _stop_serving(self, name: str) -> None:
        for kind in self._served.pop(name, []):
            self._registry.remove(kind)
        collection = self._collections.pop(name, None)
        if collection is not None:
            self._storage.drop(collection)
