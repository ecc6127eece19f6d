"""Container logs: one file that the processes write themselves, bounded by a cap.

Guarantees
    Standard output and error keep their order. A file grows to the cap, is copied to `<file>.1` and starts again, so
    between one and two caps are kept.
Caveats
    Bytes written between the copy and the truncation (microseconds) are lost: the price of having no process in
    between.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from propeller.embedded.kubelet._log_index import LogIndex


def open_log(path: Path) -> int:
    """Return a descriptor to append to, readable by the owner only. The caller closes it.

    Raises OSError if an earlier process of the container has put something other than a file there.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    os.set_blocking(descriptor, True)  # it was not to wait for a reader of a pipe
    return descriptor


def open_regular(path: Path) -> BinaryIO | None:
    """Open the file for reading; None if there is none, or if a task has replaced it by something else: reading a pipe
    would block, and a link may lead out of the pod.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb")


def older(path: Path) -> Path:
    """Return the path of the rotated file."""
    return path.with_name(path.name + ".1")


def note_growth(path: Path, index: LogIndex, now: float) -> int:
    """Note in the index how far the log is; returns the size of the file, 0 if there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    if not stat.S_ISREG(found.st_mode):
        return 0
    index.note(found.st_size, found.st_mtime, now)
    return found.st_size


def rotate(path: Path, cap: int, index: LogIndex, now: float) -> None:
    """Begin the file again if it has grown over `cap` bytes, keeping its last `cap` bytes in `<file>.1`."""
    if note_growth(path, index, now) > cap:
        kept, old = tail_bytes(path, cap), older(path)
        old.unlink(missing_ok=True)
        old.write_bytes(kept)
        os.truncate(path, 0)
        index.begin_file(len(kept))


def tail_bytes(path: Path, limit: int) -> bytes:
    """Return at most the last `limit` bytes; nothing if there is no file."""
    file = open_regular(path)
    if file is None:
        return b""
    with file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - limit))
        return file.read(min(size, limit))


def tail_lines(path: Path, lines: int, limit: int) -> str:
    """The last `lines` lines within the last `limit` bytes, as text."""
    return "".join(tail_bytes(path, limit).decode(errors="replace").splitlines(keepends=True)[-lines:])
