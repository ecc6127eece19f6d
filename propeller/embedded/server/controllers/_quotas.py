"""Resource quotas: enforced at creation, and kept up to date.

Guarantees
    A creation that would exceed a quota is refused with 403 in kube-apiserver's words; an accepted one is in
    `status.used` before it is answered. Freed resources are available again within a turn of the loop.
Caveats
    If a quota's usage is not known yet, it is computed at once; the real server, whose controller takes a moment,
    refuses the creation.
Source: k8s.io/apiserver/pkg/admission/plugin/resourcequota; k8s.io/kubernetes/pkg/controller/resourcequota.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from propeller.embedded.server._errors import forbidden
from propeller.embedded.server._storage import Change, Collection, Object, Record, Storage
from propeller.embedded.server.controllers._backlog import Backlog
from propeller.embedded.server.controllers._quota_usage import usage
from propeller.embedded.server.negotiation._requests import Call
from propeller.embedded.server.registry._kinds import Kind, Registry
from propeller.embedded.server.registry._strategies import FINISHED
from propeller.quantity import parse
from propeller.resourcemgr.quotas import Amounts, is_about, missing_constraints, written

_ZERO = Decimal(0)


class Quotas:
    """Admission and controller. `now` gives epoch seconds."""

    def __init__(self, storage: Storage, registry: Registry, now: Callable[[], float]) -> None:
        self._storage = storage
        self._registry = registry
        self._now = now
        self._kind = registry.get("", "v1", "resourcequotas")
        self._pods = registry.get("", "v1", "pods")
        self._by_namespace: dict[str, dict[str, None]] = {}  # keys of quotas
        self._uncounted: set[str] = set()  # keys of quotas that are new, or limit something new
        self._freed: dict[str, Amounts] = {}  # freed amounts to subtract, by key of the quota
        self._stale: Backlog[str] = Backlog()
        storage.listeners.append(self._notice)

    def admit(self, call: Call, obj: Object) -> None:
        """Raises Failure for a new object that exceeds a quota; otherwise charges for it."""
        keys = self._by_namespace.get(call.target.namespace)
        if not keys or call.target.subresource:
            return
        kind = call.target.kind
        if f"{call.target.namespace}/{obj['metadata'].get('name', '')}" in kind.collection.records:
            return  # the name is taken: nothing is created, and nothing would ever be given back
        wanted = usage(kind, obj)
        charges: list[tuple[Record, Amounts]] = []
        for key in sorted(keys):
            record = self._current(key)
            quota = record.parsed()
            hard = _amounts(quota, "spec", "hard")
            if not self._is_about(quota, kind, obj):
                continue
            self._check_constraints(call, obj, record.name, hard)
            used = _amounts(quota, "status", "used")
            requested = {name: amount for name, amount in wanted.items() if name in hard and amount}
            self._check_amounts(call, obj, record.name, hard, used, requested)
            if requested:
                charges.append((record, {**used, **_added(used, requested)}))
        if not call.dry_run:
            for record, used in charges:
                self._write_used(record, used)

    async def run(self) -> None:
        """Recompute usage if something was freed or a quota is new, until cancelled."""
        await self._stale.work(self._settle)

    def _is_about(self, quota: Object, kind: Kind, obj: Object) -> bool:
        return is_about(quota.get("spec") or {}, obj if kind is self._pods else None)

    def _check_constraints(self, call: Call, obj: Object, quota: str, hard: Amounts) -> None:
        if call.target.kind is not self._pods:
            return
        if why := missing_constraints(obj, hard):
            raise forbidden("", "pods", obj["metadata"].get("name", ""), f"failed quota: {quota}: {why}")

    def _check_amounts(
        self, call: Call, obj: Object, quota: str, hard: Amounts, used: Amounts, requested: Amounts
    ) -> None:
        after = _added(used, requested)
        exceeded = sorted(name for name in requested if after[name] > hard[name])
        if not exceeded:
            return
        shown = (
            ",".join(
                f"{name}={text}"
                for name, text in written({name: amounts.get(name, _ZERO) for name in exceeded}).items()
            )
            for amounts in (requested, used, hard)
        )
        why = "exceeded quota: {}, requested: {}, used: {}, limited: {}".format(quota, *shown)
        kind = call.target.kind
        raise forbidden(kind.group, kind.plural, obj["metadata"].get("name", ""), why)

    def _notice(self, collection: Collection, change: Change) -> None:
        after, before = change.after, change.before
        if collection is self._kind.collection:
            self._notice_quota(change)
        elif after.namespace in self._by_namespace:
            ended = collection is self._pods.collection and before is not None and _ended(after) and not _ended(before)
            if before is not None and (change.deleted or ended):
                self._note_freed(self._registry.of(collection), before, None if change.deleted else after)

    def _note_freed(self, kind: Kind, before: Record, after: Record | None) -> None:
        old = before.parsed()
        freed = usage(kind, old)
        if after is not None:
            still = usage(kind, after.parsed())
            freed = {name: amount - still.get(name, _ZERO) for name, amount in freed.items()}
        for key in self._by_namespace[before.namespace]:
            if self._is_about(self._kind.collection.records[key].parsed(), kind, old):
                self._freed[key] = {**freed, **_added(freed, self._freed.get(key, {}))}
                self._stale.add(key)

    def _notice_quota(self, change: Change) -> None:
        key, namespace = change.after.key, change.after.namespace
        if change.deleted:
            del self._by_namespace[namespace][key]
            self._uncounted.discard(key)
            self._freed.pop(key, None)
            if not self._by_namespace[namespace]:
                del self._by_namespace[namespace]
            return
        self._by_namespace.setdefault(namespace, {})[key] = None
        hard = _listed(change.after.parsed(), "spec", "hard")
        if change.before is None or hard != _listed(change.before.parsed(), "spec", "hard"):
            self._uncounted.add(key)
            self._stale.add(key)

    def _current(self, key: str) -> Record:
        """A quota whose use is known."""
        self._settle(key)
        return self._kind.collection.records[key]

    def _settle(self, key: str) -> None:
        """Update a quota's usage: count everything, or subtract what was freed."""
        record = self._kind.collection.records.get(key)
        freed = self._freed.pop(key, {})
        if record is None:
            return
        if key in self._uncounted:
            self._uncounted.discard(key)
            self._write_used(record, self._counted(record))
        elif freed:
            used = _amounts(record.parsed(), "status", "used")
            left = {name: max(amount - freed.get(name, _ZERO), _ZERO) for name, amount in used.items()}
            self._write_used(record, left)

    def _counted(self, record: Record) -> Amounts:
        """Return the usage of everything in the quota's namespace."""
        quota = record.parsed()
        hard = _amounts(quota, "spec", "hard")
        total: Amounts = dict.fromkeys(hard, _ZERO)
        now = self._now()
        for kind in self._countable(hard):
            for one in kind.collection.keys(record.namespace):
                obj = kind.collection.records[one].parsed()
                if self._is_about(quota, kind, obj):
                    used = usage(kind, obj, now)
                    total = {name: amount + used.get(name, _ZERO) for name, amount in total.items()}
        return total

    def _countable(self, hard: Mapping[str, Decimal]) -> list[Kind]:
        """The kinds that a quota may count, one for each collection."""
        found: dict[int, Kind] = {}
        for kind in self._registry:
            plural = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
            if kind.namespaced and (kind is self._pods or f"count/{plural}" in hard or plural in hard):
                found[id(kind.collection)] = kind
        return list(found.values())

    def _write_used(self, record: Record, used: Amounts) -> None:
        def change(obj: Object) -> None:
            hard = _listed(obj, "spec", "hard")
            obj["status"] = {
                **(obj.get("status") or {}),
                "hard": hard,
                "used": {name: text for name, text in written(used).items() if name in hard},
            }

        self._storage.amend(self._kind.collection, record, change)


def _ended(pod: Record) -> bool:
    return any(field in FINISHED for field in pod.fields)


def _listed(obj: Object, part: str, name: str) -> dict[str, Any]:
    return (obj.get(part) or {}).get(name) or {}


def _amounts(obj: Object, part: str, name: str) -> Amounts:
    return {resource: parse(text) for resource, text in _listed(obj, part, name).items()}


def _added(used: Amounts, requested: Amounts) -> Amounts:
    return {name: used.get(name, _ZERO) + amount for name, amount in requested.items()}
