"""A registry in an object store, content-addressed: `blobs/<sha256>`, and `entities/<kind>/<project>/<domain>/<name>/
<version>`, which names the digest.

Guarantees
    An entity is visible once its content is. Of two that register the same version at once one wins, and the other is
    told, if the store honours conditional writes.
    Content is verified on each read: a blob that was changed is never taken for what was registered.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote

import msgspec

from propeller.decoding import UNDECODABLE
from propeller.errors import CorruptBlob, Invalid, MissingBlob
from propeller.registry._api import Entity, EntityKind, RegistryConflict
from propeller.registry._options import RegistryOptions
from propeller.storage import Storage
from propeller.text import headline
from propeller.workflow import entity_path

MAX_LISTED = 10_000
"""Entities that are listed of one project and domain."""

MAX_COMPONENT_BYTES = 200
"""Bytes of a quoted part of an identifier: it is the name of a directory."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class _Reference(msgspec.Struct, frozen=True):
    """What an entity's file says."""

    sha256: str


class StoredRegistry:
    """Implements `Registry` below the URI `prefix`; see the module's text."""

    def __init__(self, storage: Storage, prefix: str) -> None:
        self._storage = storage
        self._prefix = prefix.rstrip("/")

    @property
    def address(self) -> str:
        return self._prefix

    async def find(self, entity: Entity) -> bytes | None:
        _require_storable(entity)
        uri = self._uri_of(entity)
        try:
            data = await self._storage.read(uri)
        except MissingBlob:
            return None
        return await self._content(_digest_in(data, uri), entity)

    async def require_registrable(self, entity: Entity, content: bytes) -> None:
        _require_storable(entity)
        uri = self._uri_of(entity)
        found = await self._storage.read_version(uri)
        if found is not None and _digest_in(found[0], uri) != hashlib.sha256(content).hexdigest():
            raise RegistryConflict(
                f"{entity} is registered in {self._prefix} with other content: what is registered never changes, so "
                "register it under another version (--version)"
            )

    async def register(self, entity: Entity, content: bytes) -> bool:
        await self.require_registrable(entity, content)
        digest = hashlib.sha256(content).hexdigest()
        await self._storage.write(self._blob(digest), content)  # also over one that somebody has changed
        if await self._storage.create(self._uri_of(entity), msgspec.json.encode(_Reference(digest))) is not None:
            return True
        await self.require_registrable(entity, content)  # another one may have been first
        return False

    async def entities(self, kind: EntityKind, project: str, domain: str) -> list[Entity]:
        below = "/".join(entity_path(project, domain, "", "").split("/")[:2])
        prefix = f"{self._prefix}/entities/{kind}/{below}/"
        found = []
        for uri in await self._storage.list_blobs(prefix, MAX_LISTED):
            name, is_named, version = uri.removeprefix(prefix).partition("/")
            if is_named and "/" not in version:
                found.append(Entity(kind, project, domain, unquote(name), unquote(version)))
        return sorted(found)

    async def _content(self, digest: str, entity: Entity) -> bytes:
        uri = self._blob(digest)
        try:
            content = await self._storage.read(uri)
        except MissingBlob as error:
            raise CorruptBlob(f"{entity} is registered, and its content is gone: there is no {uri}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise CorruptBlob(f"{entity} was changed after it was registered: {uri} is not what its name says")
        return content

    def _uri_of(self, entity: Entity) -> str:
        return f"{self._prefix}/entities/{entity.path}"

    def _blob(self, digest: str) -> str:
        return f"{self._prefix}/blobs/{digest}"


def registry_of(storage: Storage, options: RegistryOptions) -> StoredRegistry:
    """The registry that the options name: below the executions' own prefix if they name none."""
    return StoredRegistry(storage, options.prefix or f"{storage.settings.metadata_prefix.rstrip('/')}/registry")


def _digest_in(data: bytes, uri: str) -> str:
    try:
        digest = msgspec.json.decode(data, type=_Reference).sha256
    except UNDECODABLE as error:
        raise CorruptBlob(f"{uri} names no content of a registered entity: {headline(str(error), 200)}") from error
    if not _SHA256.fullmatch(digest):
        raise CorruptBlob(f"{uri} names no content of a registered entity: its sha256 is no digest")
    return digest


def _require_storable(entity: Entity) -> None:
    """Raise Invalid for an identifier that cannot be a path."""
    names = {"project": entity.project, "domain": entity.domain, "name": entity.name, "version": entity.version}
    for (field, value), part in zip(names.items(), entity_path(*names.values()).split("/"), strict=True):
        if not value:
            raise Invalid(f"the {field} of a {entity.kind.words} is empty: {entity}")
        if len(part) > MAX_COMPONENT_BYTES:
            raise Invalid(
                f"the {field} of {entity} takes {len(part)} bytes in a path, and may take {MAX_COMPONENT_BYTES}"
            )
