"""Compress encoded snapshots with zstd, and decompress blobs of strangers within limits."""

from __future__ import annotations

import threading

import zstandard

from propeller.errors import CorruptBlob

LIMIT = 64 * 1024 * 1024
"""Bytes of a decoded snapshot: a hundred times that of a workflow of 50,000 nodes."""

INLINE_BYTES = 256 * 1024
"""A larger snapshot, such as one of 20,000 nodes, is decoded in a thread."""

STEP_BYTES = 1024
"""Bytes of a compressed blob that are decompressed at once: 32 MiB or so of output at worst."""

WINDOW_BYTES = 8 * 1024 * 1024
"""Largest window that a zstd frame may need: four times that of our frames, and what every decoder should support."""


class _Compressors(threading.local):
    """One for each thread that encodes: making one takes four times as long as compressing a small status."""

    def __init__(self) -> None:
        self.zstd = zstandard.ZstdCompressor(level=3, write_checksum=True)


_COMPRESSORS = _Compressors()


def compress(raw: bytes) -> bytes:
    """Compress, with a checksum in the frame."""
    return _COMPRESSORS.zstd.compress(raw)


def decompress(blob: bytes) -> bytes:
    """Decompress, ignoring the size that the frame declares. Raises ZstdError, and CorruptBlob over `LIMIT` bytes."""
    unfolding = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES).decompressobj()
    pieces: list[bytes] = []
    size = 0
    for start in range(0, len(blob), STEP_BYTES):
        if unfolding.eof:
            raise CorruptBlob("the status does not decode: something follows its compressed part")
        pieces.append(unfolding.decompress(blob[start : start + STEP_BYTES]))
        size += len(pieces[-1])
        if size > LIMIT:
            raise CorruptBlob(f"the status does not decode: it unfolds to over {LIMIT} bytes")
    if not unfolding.eof or unfolding.unused_data:
        raise CorruptBlob("the status does not decode: it has no single, whole compressed part")
    return b"".join(pieces)


def is_small(blob: bytes) -> bool:
    """Return whether it decompresses to at most `INLINE_BYTES`, whatever its frame declares. Costs no more than
    that.
    """
    try:
        with zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES).stream_reader(blob) as reader:
            return len(reader.read(INLINE_BYTES + 1)) <= INLINE_BYTES
    except zstandard.ZstdError:
        return True  # small until the damage; `decode` reports it
