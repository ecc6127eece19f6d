"""What a catalog needs of the place that keeps its entries and reservations, and that place in an object store.

A database is another such place (`_sql`).

Guarantees
    Paths are those of keys (`Key.path`), with a suffix. A reader sees a whole blob or none.
    Of several writers that create the same path, one succeeds, if the store honours conditions (`is_exclusive`).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Protocol, runtime_checkable

import msgspec

from propeller.catalog._key import ENTRY
from propeller.errors import PropellerError
from propeller.storage import Storage

PROBE = ".probe"
"""Suffix of the blobs by which it is tried whether a store honours conditions."""


class Found(msgspec.Struct, frozen=True):
    """An entry. With `copied`, the caller's target has these bytes already."""

    data: bytes
    copied: bool


class Reserved(msgspec.Struct, frozen=True):
    """The version of the reservation that was got, or None; and the one that is there now."""

    version: str | None
    data: bytes


class Backend(Protocol):
    """See the module's text. All raise StorageError."""

    async def take(self, path: str, target: str) -> Found | None:
        """Return an entry, or None. It may be copied to the URI `target` on the way, if that saves a round trip."""

    async def put(self, path: str, data: bytes, *, overwrite: bool) -> None:
        """Store an entry; without `overwrite` one that is there stays."""

    async def delete(self, path: str) -> None:
        """Remove what is there."""

    async def paths(self, below: str, most: int) -> list[str]:
        """Paths that begin with `below`, at most `most`."""

    async def read(self, path: str) -> tuple[bytes, str] | None:
        """What is there, and its version."""

    async def create(self, path: str, data: bytes) -> str | None:
        """Store it if nothing is there, and return its version; None if something is."""

    async def replace(self, path: str, data: bytes, version: str) -> str | None:
        """Store it over what has this version, and return the new one; None if something else is there, or nothing."""

    async def is_exclusive(self) -> bool:
        """Whether `create` and `replace` keep what they promise."""

    async def close(self) -> None:
        """End its connections."""


@runtime_checkable
class Reserving(Protocol):
    """A backend with a clock of its own, by which it judges reservations itself."""

    async def reserve(self, path: str, data: bytes, owner: str, ttl: float) -> Reserved:
        """Reserve for an owner what nobody has, what it has already, or what was not written for `ttl` seconds; in one
        round trip. Raises StorageError.
        """


class ObjectStore:
    """A catalog below a prefix of an object store, by conditional writes. A hit is one round trip: the store copies the
    entry to its target while it is read.

    A copy whose answer is not awaited may still be made later. It has the outputs of the same task and inputs.
    """

    def __init__(self, storage: Storage, prefix: str) -> None:
        self._storage = storage
        self._prefix = prefix.rstrip("/")
        self._exclusive: bool | None = None
        self._probing = asyncio.Lock()

    async def take(self, path: str, target: str) -> Found | None:
        uri = self.uri(f"{path}{ENTRY}")
        if self._storage.is_local(uri):
            data = await self._storage.find(uri)
            return None if data is None else Found(data, copied=False)
        if not _are_in_one_store(uri, target):
            found = await self._storage.read_version(uri)
            return None if found is None else Found(found[0], copied=False)
        read, copied = await asyncio.gather(
            self._storage.read_version(uri), self._storage.copy(uri, target), return_exceptions=True
        )
        if isinstance(read, BaseException):
            raise read
        if read is None:
            if isinstance(copied, str):  # it was put in between
                await self._storage.delete(target)
            return None
        data, version = read
        return Found(data, copied=bool(version) and copied == version)

    async def put(self, path: str, data: bytes, *, overwrite: bool) -> None:
        uri = self.uri(f"{path}{ENTRY}")
        if overwrite:
            await self._storage.write(uri, data)
        else:
            await self._storage.create(uri, data)

    async def delete(self, path: str) -> None:
        await self._storage.delete(self.uri(path))

    async def paths(self, below: str, most: int) -> list[str]:
        found = await self._storage.list_blobs(self.uri(below), most)
        return [uri.removeprefix(f"{self._prefix}/") for uri in found]

    async def read(self, path: str) -> tuple[bytes, str] | None:
        return await self._storage.read_version(self.uri(path))

    async def create(self, path: str, data: bytes) -> str | None:
        return await self._storage.create(self.uri(path), data)

    async def replace(self, path: str, data: bytes, version: str) -> str | None:
        return await self._storage.replace(self.uri(path), data, version)

    async def is_exclusive(self) -> bool:
        """Try it once, at a path that no other process tries it at: servers of the S3 protocol that do not know the
        condition ignore it.
        """
        async with self._probing:
            if self._exclusive is None:
                path = f"{secrets.token_hex(16)}{PROBE}"
                await self.create(path, b"first")
                self._exclusive = await self.create(path, b"second") is None
                with contextlib.suppress(PropellerError):
                    await self.delete(path)
        return self._exclusive

    async def close(self) -> None:
        """The storage is its owner's to close."""

    def uri(self, path: str) -> str:
        """Where a path is."""
        return f"{self._prefix}/{path}"


def _are_in_one_store(one: str, other: str) -> bool:
    return one.partition("://")[0] == other.partition("://")[0]
