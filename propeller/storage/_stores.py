"""The interface of a blob store, and the store in memory."""

from __future__ import annotations

import enum
import hashlib
from typing import Protocol, runtime_checkable

from propeller.errors import MissingBlob, TooLargeBlob


class Absence(enum.Enum):
    """Marks a missing blob for callers that probe: an exception costs ten times as much."""

    MISSING = "missing"


MISSING = Absence.MISSING


class Store(Protocol):
    """One scheme's blobs, by whole URI. Reads and writes are whole, and a reader never sees half a write."""

    is_local: bool
    """Whether `read_now` and `write_now` mostly succeed, so that effects with a few small blobs can run inline."""

    def read_now(self, uri: str, limit: int) -> bytes | Absence | None:
        """Return the blob, or MISSING, if that needs no waiting; else None, and the caller must await `read`. Raises as
        `read`, except MissingBlob.
        """

    def write_now(self, uri: str, data: bytes) -> bool:
        """Write as `write` does if that needs no waiting; else return False."""

    async def read(self, uri: str, limit: int) -> bytes:
        """Read the blob. Raises MissingBlob, StorageError; CorruptBlob, before reading it, if it exceeds `limit`."""

    async def write(self, uri: str, data: bytes) -> None:
        """Store the blob, replacing what is there. Raises StorageError."""

    async def delete(self, uri: str) -> None:
        """Remove the blob, if it is there. Raises StorageError."""

    async def aclose(self) -> None:
        """Release connections."""


@runtime_checkable
class ConditionalStore(Store, Protocol):
    """A store whose writes can depend on what is there, and that can copy and list: what a shared catalog needs.

    A version identifies the content of a blob at one time; it is opaque.
    """

    async def create(self, uri: str, data: bytes) -> str | None:
        """Store the blob if nothing is there, and return its version; else return None. Raises StorageError."""

    async def read_version(self, uri: str, limit: int) -> tuple[bytes, str]:
        """Read the blob and its version. Raises as `read`."""

    async def replace(self, uri: str, data: bytes, version: str) -> str | None:
        """Store the blob if the one that is there has this version, and return the new version; else return None."""

    async def copy(self, source: str, target: str) -> str | None:
        """Copy a blob within the store, and return the copy's version; None if there is none. Raises StorageError."""

    async def list_blobs(self, prefix: str, most: int) -> list[str]:
        """Return the URIs that begin with `prefix`, at most `most`, in order. Raises StorageError."""

    async def exists(self, uri: str) -> bool:
        """Whether there is a blob, or blobs below it as in a directory. Raises StorageError."""


def version_of(data: bytes) -> str:
    """The version of a blob in a store that keeps no versions: its digest."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class MemoryStore:
    """`memory://`: blobs in a dict of this process, lost with it. `blobs` may be inspected and shared.

    It behaves as a remote store, whose operations suspend, unless it is `is_local`.
    """

    def __init__(self, blobs: dict[str, bytes] | None = None, *, is_local: bool = False) -> None:
        self.blobs: dict[str, bytes] = {} if blobs is None else blobs
        self.is_local = is_local

    def read_now(self, uri: str, limit: int) -> bytes | Absence | None:
        if not self.is_local:
            return None
        return self._read(uri, limit) if uri in self.blobs else MISSING

    def write_now(self, uri: str, data: bytes) -> bool:
        if self.is_local:
            self.blobs[uri] = data
        return self.is_local

    async def read(self, uri: str, limit: int) -> bytes:
        return self._read(uri, limit)

    def _read(self, uri: str, limit: int) -> bytes:
        data = self.blobs.get(uri)
        if data is None:
            raise missing(uri)
        if len(data) > limit:
            raise too_large(uri, len(data), limit)
        return data

    async def write(self, uri: str, data: bytes) -> None:
        self.blobs[uri] = data

    async def delete(self, uri: str) -> None:
        self.blobs.pop(uri, None)

    async def create(self, uri: str, data: bytes) -> str | None:
        if uri in self.blobs:
            return None
        self.blobs[uri] = data
        return version_of(data)

    async def read_version(self, uri: str, limit: int) -> tuple[bytes, str]:
        data = self._read(uri, limit)
        return data, version_of(data)

    async def replace(self, uri: str, data: bytes, version: str) -> str | None:
        found = self.blobs.get(uri)
        if found is None or version_of(found) != version:
            return None
        self.blobs[uri] = data
        return version_of(data)

    async def copy(self, source: str, target: str) -> str | None:
        data = self.blobs.get(source)
        if data is None:
            return None
        self.blobs[target] = data
        return version_of(data)

    async def list_blobs(self, prefix: str, most: int) -> list[str]:
        return sorted(uri for uri in self.blobs if uri.startswith(prefix))[:most]

    async def exists(self, uri: str) -> bool:
        return uri in self.blobs or any(one.startswith(f"{uri}/") for one in self.blobs)

    async def aclose(self) -> None:
        """Nothing to release: the blobs stay, as files would."""


def missing(uri: str) -> MissingBlob:
    return MissingBlob(f"nothing is stored at {uri}")


def too_large(uri: str, size: int, limit: int) -> TooLargeBlob:
    return TooLargeBlob(
        f"{uri} has {size} bytes, over the limit of {limit}: write large data as a file, or raise "
        "storage.max_blob_bytes"
    )
