"""Copy files of any size into a store and out of it, in pieces: no process holds a task's data in memory."""

from __future__ import annotations

from typing import BinaryIO, Protocol, runtime_checkable

from propeller.errors import TooLargeBlob

PIECE = 1 << 20
"""Bytes that are copied at once."""


@runtime_checkable
class FileTransfers(Protocol):
    """A store that takes and gives content in pieces. Raises as `Store.read` and `Store.write`."""

    async def fetch(self, uri: str, target: BinaryIO, limit: int) -> int:
        """Write the blob to an open file; return its bytes. Raises TooLargeBlob over `limit`, with a part written."""

    async def put(self, uri: str, source: BinaryIO, size: int) -> None:
        """Store the content of an open file of `size` bytes, replacing what is there."""


def copy_pieces(uri: str, source: BinaryIO, target: BinaryIO, limit: int) -> int:
    """Copy to the end of `source`. Raises TooLargeBlob as soon as there are more than `limit` bytes."""
    copied = 0
    while piece := source.read(PIECE):
        copied += len(piece)
        if copied > limit:
            raise over(uri, copied, limit)
        target.write(piece)
    return copied


def over(uri: str, size: int, limit: int) -> TooLargeBlob:
    return TooLargeBlob(f"{uri} has {size} bytes or more, and {limit} are left of what may be copied")
