"""Which of an execution's snapshots in the object store is the newest: for a status of before, from a restored server.

Guarantees
    A snapshot is removed only after a note beside it says which one is newer. The note is overwritten, so that of all
    statuses of an execution two blobs stay: the newest snapshot, and the note.
Caveats
    Where two controllers are at work at once, the note may name one that the other has removed.
"""

from __future__ import annotations

import re

from propeller.errors import CorruptBlob, MissingBlob
from propeller.storage import Storage

_SNAPSHOT = re.compile(r"/status/([0-9a-f]{64})\.zst")
"""Of a snapshot's URI, what follows the execution's directory: it is named after the SHA-256 of its content."""


def snapshot_uri(directory: str, digest: object) -> str:
    return f"{directory}/status/{digest}.zst"


def digest_of_own(uri: object, directory: str) -> str:
    """The digest of a snapshot where an execution whose directory that is may have written one; else ""."""
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
