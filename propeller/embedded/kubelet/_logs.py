"""Container logs: one file that the processes write themselves, kept under a cap, read from the end or followed.

Guarantees
    Standard output and error keep their order. A file grows to the cap, is copied to `<file>.1` and starts again: what
    is kept is between one and two caps.
Caveats
    Bytes written between the copy and the truncation (microseconds) are lost: the price of having no process in
    between.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

_CHUNK = 64 * 1024
_POLL = 0.1  # seconds between two looks at a followed file: a reader does not notice less


def open_log(path: Path) -> int:
    """A descriptor to append to, readable by the owner only. The caller closes it.

    Raises OSError where an earlier process of the container has put something else there than a file.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    os.set_blocking(descriptor, True)  # it was not to wait for a reader of a pipe
    return descriptor


def open_regular(path: Path) -> BinaryIO | None:
    """The file for reading; None where there is none, or where a task has put something else in its place: a pipe
    would be waited for, and a link leads out of the pod.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb")


def rotate(path: Path, cap: int) -> None:
    """Start the file again where it has grown over `cap` bytes, keeping its last `cap` bytes in `<file>.1`."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if found.st_size > cap and stat.S_ISREG(found.st_mode):
        kept, old = tail_bytes(path, cap), path.with_name(path.name + ".1")
        old.unlink(missing_ok=True)
        old.write_bytes(kept)
        os.truncate(path, 0)


def tail_bytes(path: Path, limit: int) -> bytes:
    """The last `limit` bytes at most; nothing where there is no file."""
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


async def read_log(path: Path, *, tail: int | None, follow: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log in chunks: all that is kept, or its last `tail` lines; goes on while `follow()` is true."""
    text, position = _kept(path)
    if tail is not None:
        text = b"".join(text.splitlines(keepends=True)[-tail:]) if tail else b""
    if text:
        yield text
    more = True
    while more:
        more = follow()  # asked before the read, so that what was written until the end is read
        while chunk := _read_from(path, position):
            position = chunk[1]
            yield chunk[0]
        if more:
            await asyncio.sleep(_POLL)


def _kept(path: Path) -> tuple[bytes, int]:
    """Both files' bytes, and the size of the newer one."""
    old = path.with_name(path.name + ".1")
    current = _content(path)
    return _content(old) + current, len(current)


def _content(path: Path) -> bytes:
    file = open_regular(path)
    if file is None:
        return b""
    with file:
        return file.read()


def _read_from(path: Path, position: int) -> tuple[bytes, int] | None:
    """The next chunk after `position` and where it ends; from the beginning where the file was started again."""
    file = open_regular(path)
    if file is None:
        return None
    with file:
        start = position if position <= file.seek(0, os.SEEK_END) else 0
        file.seek(start)
        chunk = file.read(_CHUNK)
    return (chunk, start + len(chunk)) if chunk else None
