"""Find the newest of an execution's snapshots in the object store, for an old status from a restored server.

Guarantees
    A snapshot is removed only after a note beside it names the newer one. The note is overwritten, so all statuses of
    an execution leave two blobs: the newest snapshot and the note.
Caveats
    If two controllers work at the same time, the note may name a snapshot that the other one has removed.
"""

from __future__ import annotations

import re

from propeller.errors import CorruptBlob, MissingBlob
from propeller.storage import Storage

_SNAPSHOT = re.compile(r"/status/([0-9a-f]{64})\.zst")
"""The part of a snapshot's URI after the execution's directory. The name is the SHA-256 of the content."""


def snapshot_uri(directory: str, digest: object) -> str:
    return f"{directory}/status/{digest}.zst"


def digest_of_own(uri: object, directory: str) -> str:
    """Return the digest in a snapshot's URI if an execution with that directory may have written it; else ""."""
    if not isinstance(uri, str) or not uri.startswith(f"{directory}/status/"):
        return ""
    found = _SNAPSHOT.fullmatch(uri, len(directory))
    return found[1] if found is not None else ""


def is_own_snapshot(uri: object, directory: str) -> bool:
    """Whether an execution whose directory that is may have written a snapshot there, so that it may delete it."""
    return bool(digest_of_own(uri, directory))


async def supersede(uri: str, newer: str, directory: str, storage: Storage) -> None:
    """Remove the snapshot at `uri`, now that a status points to `newer`. Raises StorageError."""
    await storage.write(_note(directory), newer.encode())
    await storage.delete(uri)


async def newest(directory: str, storage: Storage) -> str:
    """The digest of the snapshot that the note names; "" if there is no such note. Raises StorageError."""
    try:
        text = await storage.read(_note(directory), fresh=True)
    except (MissingBlob, CorruptBlob):
        return ""
    return digest_of_own(text.decode(errors="replace"), directory)


def _note(directory: str) -> str:
    return f"{directory}/status/newest"
