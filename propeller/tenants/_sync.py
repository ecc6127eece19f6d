"""Makes one cluster have the objects that its templates mean, and says what differed.

Guarantees
    Objects are applied by server-side apply with a field manager of our own, and what others have changed of our fields
    is taken back; fields that no template names are left alone. An object that is as it should be is not written to.
    The failure of an object is its own: the others go on, but for those in a namespace that could not be made. A server
    that answers nothing is given up after a few objects.
    With `dry_run` nothing is written.
    Only objects with our label are pruned, none of those that should be there, none while anything has failed, and
    namespaces only if that is asked for by itself.
Errors
    None: what fails is in the report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from propeller.errors import Conflict, NotFound, PropellerError, Throttled, Unavailable, WebhookUnavailable
from propeller.kube import Client, Raw, Resource
from propeller.pauses import Pauses
from propeller.tenants._changes import Action, Change, ClusterReport, differences
from propeller.tenants._rendered import DOMAIN_LABEL, MANAGER, OWNER_LABEL, PROJECT_LABEL, Rendered

_AT_ONCE = 8
"""Objects under way: a cluster of a thousand tenants takes a minute, and its API server feels little of it."""

_TRIES, _FIRST_PAUSE, _MAX_PAUSE = 4, 0.5, 8.0
"""Of an object that the server has no room for just then, or that was changed meanwhile; seconds."""

_UNANSWERED = 8
"""Objects in a row without an answer after which the others are not tried: each costs the client's whole deadline."""

_PRUNED_KINDS = (
    ("v1", "ResourceQuota"),
    ("v1", "LimitRange"),
    ("v1", "ServiceAccount"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
)
"""Looked through beside those of the templates: a kind's last template may be gone."""

_NAMESPACE = ("v1", "Namespace")


class SyncOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`prune` deletes marked objects that no template makes any more, `prune_namespaces` namespaces too."""

    dry_run: bool = False
    prune: bool = False
    prune_namespaces: bool = False


async def sync(
    client: Client, cluster: str, owner: str, wanted: Sequence[Rendered], options: SyncOptions
) -> ClusterReport:
    """Sync a cluster with the objects that there should be; `owner` is the name that marks them."""
    return await _Sync(client, cluster, owner, options).run(wanted)


class _Sync:
    """One round on one cluster."""

    def __init__(self, client: Client, cluster: str, owner: str, options: SyncOptions) -> None:
        self._client = client
        self._cluster = cluster
        self._owner = owner
        self._options = options
        self._kinds: dict[tuple[str, str], asyncio.Task[Resource[Raw]]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._unanswered = 0
        """Objects in a row that the cluster did not answer for."""
        self._lost: PropellerError | None = None
        """Why the cluster was given up."""

    async def run(self, wanted: Sequence[Rendered]) -> ClusterReport:
        namespaces = [one for one in wanted if one.kind == "Namespace"]
        changes = await self._all(namespaces)
        lost = {change.name: change.error for change in changes if change.error is not None}
        missing = {change.name for change in changes if change.action is Action.CREATED and self._options.dry_run}
        rest = [one for one in wanted if one.kind != "Namespace"]
        changes += [_failed(one, lost[one.namespace]) for one in rest if one.namespace in lost]
        changes += await self._all([one for one in rest if one.namespace not in lost], missing)
        report = ClusterReport(self._cluster, changes)
        if (self._options.prune or self._options.prune_namespaces) and not report.has_failed:
            report = ClusterReport(self._cluster, [*changes, *await self._prune(wanted)])
        return report

    async def _all(self, wanted: Iterable[Rendered], missing: Iterable[str] = ()) -> list[Change]:
        """Sync objects; those in a namespace that is `missing` cannot be there."""
        return list(await asyncio.gather(*(self._one(one, one.namespace in missing) for one in wanted)))

    async def _one(self, one: Rendered, is_new: bool) -> Change:
        async with self._room:
            if self._lost is not None:
                return _failed(one, self._lost)
            try:
                found = await self._tried(one, is_new)
            except PropellerError as error:
                self._note(error)
                return _failed(one, error)
            self._unanswered = 0
            return found

    async def _tried(self, one: Rendered, is_new: bool) -> Change:
        """Sync an object; to apply it again changes nothing."""
        pauses = Pauses(_FIRST_PAUSE, _MAX_PAUSE)
        for _ in range(_TRIES - 1):
            try:
                return await self._synced(one, is_new)
            except (Throttled, Conflict) as error:
                await asyncio.sleep(max(error.after or 0.0, pauses.failed(asyncio.get_running_loop().time())))
        return await self._synced(one, is_new)

    def _note(self, error: PropellerError) -> None:
        """Give the cluster up if it has not answered for long."""
        if isinstance(error, Unavailable) and not isinstance(error, WebhookUnavailable):
            self._unanswered += 1
            if self._unanswered >= _UNANSWERED:
                self._lost = error
        else:
            self._unanswered = 0

    async def _synced(self, one: Rendered, is_new: bool) -> Change:
        resource = await self._resource(one.api_version, one.kind)
        namespace = one.namespace if resource.namespaced else ""
        change = Change(Action.CREATED, one.kind, one.name, namespace, one.whose)
        if is_new and resource.namespaced:
            return change
        try:
            before: Raw | None = await self._client.get(resource, one.name, namespace or None)
        except NotFound:
            before = None
        after = await self._client.apply(
            resource, one.body, namespace or None, field_manager=MANAGER, force=True, dry_run=self._options.dry_run
        )
        if before is None:
            return change
        found = differences(before, after)
        return msgspec.structs.replace(change, action=Action.MENDED if found else Action.UNCHANGED, differences=found)

    async def _resource(self, api_version: str, kind: str) -> Resource[Raw]:
        """The resource of a kind, asked for once. Raises PropellerError."""
        key = (api_version, kind)
        if key not in self._kinds:
            self._kinds[key] = asyncio.create_task(self._client.find_resource(api_version, kind))
        return await asyncio.shield(self._kinds[key])

    async def _prune(self, wanted: Sequence[Rendered]) -> list[Change]:
        """Delete what is marked and is not wanted."""
        kept: set[tuple[str, str, str, str]] = set()
        for one in wanted:
            resource = await self._resource(one.api_version, one.kind)
            kept.add((resource.group, one.kind, one.namespace if resource.namespaced else "", one.name))
        kinds = dict.fromkeys((one.api_version, one.kind) for one in wanted if one.kind != "Namespace")
        found: list[Change] = []
        for api_version, kind in (
            *(dict.fromkeys((*kinds, *_PRUNED_KINDS)) if self._options.prune else ()),
            *((_NAMESPACE,) if self._options.prune_namespaces else ()),
        ):
            try:
                found += await self._prune_kind(api_version, kind, kept)
            except NotFound:
                continue  # the server has no such kind
            except PropellerError as error:
                found.append(Change(Action.FAILED, kind, "*", error=error))
        return found

    async def _prune_kind(self, api_version: str, kind: str, kept: set[tuple[str, str, str, str]]) -> list[Change]:
        resource = await self._resource(api_version, kind)
        found = []
        async for page in self._client.pages(resource.metadata_only(), label_selector=f"{OWNER_LABEL}={self._owner}"):
            for obj in page.items:
                metadata = obj.metadata
                if (resource.group, kind, metadata.namespace, metadata.name) in kept or metadata.deletion_timestamp:
                    continue
                labels = metadata.labels or {}
                whose = f"{labels.get(PROJECT_LABEL, '')}/{labels.get(DOMAIN_LABEL, '')}".strip("/")
                change = Change(Action.PRUNED, kind, metadata.name, metadata.namespace, whose)
                found.append(await self._pruned(resource, change, metadata.uid))
        return found

    async def _pruned(self, resource: Resource[Any], change: Change, uid: str) -> Change:
        if self._options.dry_run:
            return change
        try:
            await self._client.delete(
                resource, change.name, change.namespace or None, uid=uid, propagation="Background"
            )
        except NotFound:
            return change  # another was first
        except PropellerError as error:
            return msgspec.structs.replace(change, action=Action.FAILED, error=error)
        return change


def _failed(one: Rendered, error: PropellerError | None) -> Change:
    return Change(Action.FAILED, one.kind, one.name, one.namespace, one.whose, error=error)
