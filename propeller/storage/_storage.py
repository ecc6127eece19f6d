"""Read and write blobs by URI, for all schemes.

Guarantees
    A blob over `max_blob_bytes` is refused before it is read or written. Every operation ends by its deadline.
    Concurrent reads of one URI are one read. Blobs that were read or written lately are cached, `cache_bytes` of them
    at most; absence is never cached, and neither is a value that a write or a fresh read has replaced.
Assumptions
    Blobs do not change within an execution. A caller that reads what another process has just written asks for it
    `fresh`.
Errors
    MissingBlob; CorruptBlob over the limit; StorageError, worth a retry, with the URI and how to mend it; Invalid for a
    URI without a store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from types import TracebackType
from typing import BinaryIO, TypeVar

from propeller.errors import Invalid, MissingBlob, PropellerError, StorageError, TooLarge
from propeller.storage._cache import Cache
from propeller.storage._files import FileStore
from propeller.storage._options import StorageOptions, own_directory
from propeller.storage._readable import ReadableUris, file_roots
from propeller.storage._s3 import S3Store
from propeller.storage._stores import MISSING, ConditionalStore, MemoryStore, Store, missing
from propeller.storage._transfers import FileTransfers
from propeller.storage._uri import scheme_of

DEFAULTS = StorageOptions()

T = TypeVar("T")


class _Read:
    """A read in flight and its result. It has neither data nor error if its reader was cancelled."""

    __slots__ = ("data", "done", "error")

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.data: bytes | None = None
        self.error: PropellerError | None = None


class Storage:
    """Read and write blobs; see the module's docstring. `async with` closes what it opened.

    `stores` adds schemes, or replaces the built-in `file`, `memory` and `s3`. With `trusting`, any URI in a resource
    may be read: for a user's own commands, which run with that user's rights. More than 15 methods: one for each
    operation of a store, and what they share.
    """

    def __init__(
        self,
        settings: StorageOptions = DEFAULTS,
        *,
        stores: Mapping[str, Store] | None = None,
        trusting: bool = False,
    ) -> None:
        self.settings = settings
        self._readable = None if trusting else ReadableUris(settings)
        self._limit = settings.max_blob_bytes
        self._deadline = settings.deadline
        self._stores: dict[str, Store] = {
            "file": FileStore(file_roots(settings), private=own_directory()),
            "memory": MemoryStore(),
            "s3": S3Store(settings),
            **(stores or {}),
        }
        self._cache = Cache(settings.cache_bytes)
        self._reads: dict[str, _Read] = {}

    async def __aenter__(self) -> Storage:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for store in self._stores.values():
            await store.aclose()

    async def read(self, uri: str, *, fresh: bool = False) -> bytes:
        """Return the blob at `uri`. With `fresh`, read it from the store even if it is cached."""
        while not fresh:
            if (kept := self._cache.get(uri)) is not None:
                return kept
            if (other := self._reads.get(uri)) is None:
                break
            await other.done.wait()
            if other.error is not None:
                raise other.error
            if other.data is not None:
                return other.data
        return await self._read(uri)

    async def find(self, uri: str) -> bytes | None:
        """Return the blob that the store has at `uri` now, or None. For callers that probe: raises as `read`, except
        MissingBlob.
        """
        found = self._store_of(uri).read_now(uri, self._limit)
        if found is MISSING:
            self._overtake(uri)
            return None
        if found is not None:
            return self.keep(uri, found)
        try:
            return await self.read(uri, fresh=True)
        except MissingBlob:
            return None

    def require_readable(self, uri: str, field: str) -> None:
        """Raise Invalid if the URI in an untrusted `field` is not in a location that the operator allows."""
        if self._readable is not None:
            self._readable.require(uri, field)

    def is_local(self, uri: str) -> bool:
        """Return whether small blobs there are read and written without suspending, so that doing several concurrently
        gains nothing.
        """
        return self._store_of(uri).is_local

    def is_at_hand(self, uri: str) -> bool:
        """Return whether a small blob there is read without suspending now: its store is local, or it is cached."""
        store = self._stores.get(scheme_of(uri))
        return store is not None and (store.is_local or self._cache.get(uri) is not None)

    async def write(self, uri: str, data: bytes) -> None:
        """Store `data` at `uri`, replacing what is there. Raises TooLarge if it could not be read back."""
        store = self._store_of(uri)
        self._require_fits(uri, len(data))
        try:
            if not store.write_now(uri, data):
                await self._in_time(uri, "written", store.write(uri, data))
        except BaseException:
            self._overtake(uri)  # it may be there or not
            raise
        self.keep(uri, data)

    async def delete(self, uri: str) -> None:
        """Remove the blob at `uri`, if it is there. Raises StorageError."""
        await self._changed(uri, "deleted", self._store_of(uri).delete(uri))

    async def create(self, uri: str, data: bytes) -> str | None:
        """Store `data` at `uri` if nothing is there, and return its version; else return None. Raises as `write`."""
        self._require_fits(uri, len(data))
        return await self._changed(uri, "written", self._conditional(uri).create(uri, data))

    async def read_version(self, uri: str) -> tuple[bytes, str] | None:
        """Return the blob that is there now and its version, None if there is none. Raises as `read`."""
        try:
            return await self._in_time(uri, "read", self._conditional(uri).read_version(uri, self._limit))
        except MissingBlob:
            return None

    async def replace(self, uri: str, data: bytes, version: str) -> str | None:
        """Store `data` at `uri` if the blob there has this version, and return the new one; else return None. Raises as
        `write`.
        """
        self._require_fits(uri, len(data))
        return await self._changed(uri, "written", self._conditional(uri).replace(uri, data, version))

    async def copy(self, source: str, target: str) -> str | None:
        """Copy a blob, and return the copy's version, None if there is no such blob. Raises as `write`."""
        return await self._changed(target, "written", self._conditional(target).copy(source, target))

    async def list_blobs(self, prefix: str, most: int) -> list[str]:
        """Return the URIs that begin with `prefix`, at most `most`, in order. Raises StorageError."""
        return await self._in_time(prefix, "listed", self._conditional(prefix).list_blobs(prefix, most))

    async def exists(self, uri: str) -> bool:
        """Whether a blob is there, or blobs below it. Raises StorageError, and Invalid if it cannot be looked for."""
        return await self._in_time(uri, "looked for", self._conditional(uri).exists(uri))

    async def fetch(self, uri: str, target: BinaryIO, limit: int) -> int:
        """Write the blob at `uri` to an open file, in pieces; return its bytes. Without a deadline, as it may have any
        size: a store that stops answering is noticed. Raises as `read`; TooLargeBlob over `limit`.
        """
        store = self._store_of(uri)
        if isinstance(store, FileTransfers):
            return await store.fetch(uri, target, limit)
        data = await self._in_time(uri, "read", store.read(uri, limit))
        return target.write(data)

    async def put(self, uri: str, source: BinaryIO, size: int) -> None:
        """Store the content of an open file of `size` bytes at `uri`, in pieces. Raises as `write`."""
        store = self._store_of(uri)
        try:
            if isinstance(store, FileTransfers):
                await store.put(uri, source, size)
            else:
                await self._in_time(uri, "written", store.write(uri, source.read()))
        finally:
            self._overtake(uri)

    def keep(self, uri: str, data: bytes) -> bytes:
        """Cache a blob that is known to be there: it was just read, or copied from one that was. Returns its data."""
        self._overtake(uri)
        self._cache.put(uri, data)
        return data

    def _conditional(self, uri: str) -> ConditionalStore:
        store = self._store_of(uri)
        if not isinstance(store, ConditionalStore):
            raise Invalid(f"{uri!r} is in a store without conditional writes, copies and lists")
        return store

    async def _changed(self, uri: str, done: str, operation: Awaitable[T]) -> T:
        """As `_in_time`, for an operation that may have changed the blob, also if it fails."""
        try:
            return await self._in_time(uri, done, operation)
        finally:
            self._overtake(uri)

    async def _in_time(self, uri: str, done: str, operation: Awaitable[T]) -> T:
        """Await an operation of a store. Raises StorageError if it takes longer than the deadline."""
        try:
            async with asyncio.timeout(self._deadline):
                return await operation
        except TimeoutError as error:
            raise StorageError(f"{uri} was not {done} within {self._deadline:g} s (storage.deadline)") from error

    def _require_fits(self, uri: str, size: int) -> None:
        if size > self._limit:
            raise TooLarge(f"{uri} would have {size} bytes, over the limit of storage.max_blob_bytes, {self._limit}")

    async def _read(self, uri: str) -> bytes:
        store = self._store_of(uri)
        found = store.read_now(uri, self._limit)
        if found is MISSING:
            raise missing(uri)
        if found is not None:
            return self.keep(uri, found)
        read = self._reads[uri] = _Read()
        try:
            data = await self._in_time(uri, "read", store.read(uri, self._limit))
        except PropellerError as error:
            read.error = error
            raise
        else:
            read.data = data
            if self._reads.get(uri) is read:
                self._cache.put(uri, data)
            return data
        finally:
            if self._reads.get(uri) is read:
                del self._reads[uri]
            read.done.set()

    def _overtake(self, uri: str) -> None:
        """Invalidate the cached blob and reads in flight."""
        self._cache.discard(uri)
        self._reads.pop(uri, None)

    def _store_of(self, uri: str) -> Store:
        store = self._stores.get(scheme_of(uri))
        if store is None:
            schemes = ", ".join(f"{scheme}://" for scheme in sorted(self._stores))
            raise Invalid(f"{uri!r} cannot be read or written here: its scheme must be one of {schemes}")
        return store
