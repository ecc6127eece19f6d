"""`file://`: blobs as files of this machine, or of a shared disk.

Guarantees
    A write is atomic: it goes to a temporary file in the same directory, which is then renamed. Missing directories are
    created.
    Only regular files no larger than the limit are read, even if they grow meanwhile. Anything else (a directory, FIFO,
    socket, device, symbolic link) is refused at once.
    Below one of the `roots`, nothing is read or written that is really outside of all of them: a task cannot lead there
    by a link. (A missing directory may still be created behind such a link; it stays empty.)
Caveats
    Up to `INLINE_BYTES` are read and written on the event loop: that takes 10-30 µs on a local disk, and a thread would
    cost 60-100 more. So a network disk that hangs blocks everything: use S3 there.
    A write survives the end of this process, but not of the machine: there is no fsync, which would cost a task
    milliseconds. A process killed between the two steps leaves a hidden temporary file.
Errors
    MissingBlob; CorruptBlob if it is not a regular file, or outside the roots; TooLargeBlob over the limit;
    StorageError with the URI, the system's reason and how to mend it.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from propeller.errors import CorruptBlob, MissingBlob, StorageError
from propeller.storage._private import make_private
from propeller.storage._stores import MISSING, Absence, missing, too_large, version_of
from propeller.storage._transfers import PIECE, copy_pieces, over
from propeller.storage._uri import file_path

INLINE_BYTES = 256 * 1024

_ANY_SIZE = 1 << 40
"""Of what is copied: `Storage` limits what it wrote itself."""

KNOWN_DIRECTORIES = 16_384
"""That are remembered: 2 MB of names."""

_CURES = {
    errno.ENOSPC: "the disk is full: free some space, or move storage.metadata_prefix to another",
    errno.EDQUOT: "the disk quota is used up: free some space, or move storage.metadata_prefix elsewhere",
    errno.EROFS: "the disk is mounted read-only: move storage.metadata_prefix to one that is not",
    errno.EACCES: "permission denied: give this user the right to it, or move storage.metadata_prefix",
    errno.EPERM: "not permitted: give this user the right to it, or move storage.metadata_prefix",
    errno.ENOTDIR: "a file is where a directory should be: move the file away",
    errno.EEXIST: "a file is where a directory should be: move the file away",
    errno.EISDIR: "a directory is where a file should be: move the directory away",
    errno.ELOOP: "a symbolic link is where a file should be: move the link away",
    errno.ENXIO: "a socket or a device is where a file should be: move it away",
    errno.ENAMETOOLONG: "the path is too long for the disk: shorten storage.metadata_prefix",
    errno.EMFILE: "this process has too many files open: raise its limit (ulimit -n)",
}


_LASTING = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG}
"""Errors that a retry does not mend."""

_OTHER_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class FileStore:
    """Reads and writes files; see the module's text. `roots` end with "/"; `private` is made for this user alone. More
    than 15 methods: one for each operation of a store, and what they share.
    """

    is_local = True

    def __init__(self, roots: tuple[str, ...] = (), *, private: str = "") -> None:
        self._roots = roots
        self._directories = Directories(private)

    def read_now(self, uri: str, limit: int) -> bytes | Absence | None:
        try:
            return _read(uri, file_path(uri), limit, INLINE_BYTES, self._roots)
        except (FileNotFoundError, NotADirectoryError):
            return MISSING
        except OSError as error:
            raise _failure("read", uri, error) from error

    def write_now(self, uri: str, data: bytes) -> bool:
        if len(data) > INLINE_BYTES:
            return False
        self._write(uri, data)
        return True

    async def read(self, uri: str, limit: int) -> bytes:
        return await asyncio.to_thread(self._reading, uri, limit)

    async def write(self, uri: str, data: bytes) -> None:
        await asyncio.to_thread(self._write, uri, data)

    def _write(self, uri: str, data: bytes | BinaryIO) -> None:
        try:
            _write(uri, file_path(uri), data, self._directories, self._roots)
        except OSError as error:
            raise _failure("written", uri, error) from error

    async def delete(self, uri: str) -> None:
        try:
            os.unlink(file_path(uri))  # noqa: PTH108
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise _failure("deleted", uri, error) from error

    async def create(self, uri: str, data: bytes) -> str | None:
        if len(data) > INLINE_BYTES:
            return await asyncio.to_thread(_create, uri, data, self._directories, self._roots)
        return _create(uri, data, self._directories, self._roots)

    async def read_version(self, uri: str, limit: int) -> tuple[bytes, str]:
        data = self._reading(uri, limit)
        return data, version_of(data)

    async def replace(self, uri: str, data: bytes, version: str) -> str | None:
        """Writers exclude each other by a lock on the directory, which ends with a process that dies."""
        path = file_path(uri)
        try:
            with _locked(path.rpartition("/")[0] or "/"):
                found = _read(uri, path, INLINE_BYTES, INLINE_BYTES, self._roots)
                if found is None or version_of(found) != version:
                    return None
                self._write(uri, data)
                return version_of(data)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _failure("written", uri, error) from error

    async def copy(self, source: str, target: str) -> str | None:
        try:
            data = await self.read(source, _ANY_SIZE)
        except MissingBlob:
            return None
        await self.write(target, data)
        return version_of(data)

    async def list_blobs(self, prefix: str, most: int) -> list[str]:
        return await asyncio.to_thread(_list, file_path(prefix), most)

    async def exists(self, uri: str) -> bool:
        return os.path.exists(file_path(uri))  # noqa: ASYNC240, PTH110 - a thread or pathlib costs more

    async def fetch(self, uri: str, target: BinaryIO, limit: int) -> int:
        return await asyncio.to_thread(self._fetch, uri, target, limit)

    async def put(self, uri: str, source: BinaryIO, size: int) -> None:
        await asyncio.to_thread(self._write, uri, source)

    def _fetch(self, uri: str, target: BinaryIO, limit: int) -> int:
        try:
            descriptor, size = _open_regular(uri, file_path(uri), self._roots)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise missing(uri) from error
        except OSError as error:
            raise _failure("read", uri, error) from error
        with os.fdopen(descriptor, "rb") as source:
            if size > limit:
                raise over(uri, size, limit)
            return copy_pieces(uri, source, target, limit)

    async def aclose(self) -> None:
        """Nothing stays open."""

    def _reading(self, uri: str, limit: int) -> bytes:
        """As `_read`, with errors as they are promised."""
        try:
            data = _read(uri, file_path(uri), limit, limit, self._roots)
            assert data is not None
            return data
        except (FileNotFoundError, NotADirectoryError) as error:
            raise missing(uri) from error
        except OSError as error:
            raise _failure("read", uri, error) from error


def _read(uri: str, path: str, limit: int, at_most: int, roots: tuple[str, ...]) -> bytes | None:
    """Return the file's bytes, or None if it has more than `at_most`."""
    descriptor, size = _open_regular(uri, path, roots)
    try:
        if size > limit:
            raise too_large(uri, size, limit)
        if size > at_most:
            return None
        data = os.read(descriptor, size + 1)
        if len(data) == size:
            return data
        return _read_on(uri, descriptor, data, limit)
    finally:
        os.close(descriptor)


def _open_regular(uri: str, path: str, roots: tuple[str, ...]) -> tuple[int, int]:
    """Open a file for reading; return its descriptor and size. Raises CorruptBlob unless it is a regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)  # a FIFO must not hold us up
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            what = _OTHER_KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
            raise CorruptBlob(f"{uri} is {what}, and a blob is a regular file: move it away")
        _require_inside(uri, path, descriptor, roots)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status.st_size


def _read_on(uri: str, descriptor: int, data: bytes, limit: int) -> bytes:
    """The rest of a file that is read in pieces, or grew since its size was taken."""
    pieces, size = [data], len(data)
    while size <= limit and (piece := os.read(descriptor, min(limit + 1 - size, 1 << 20))):
        pieces.append(piece)
        size += len(piece)
    if size > limit:
        raise too_large(uri, size, limit)
    return b"".join(pieces)


def _require_inside(uri: str, path: str, descriptor: int, roots: tuple[str, ...]) -> None:
    """Raise CorruptBlob if a file that is open below one of the roots is really outside of all of them."""
    if not path.startswith(roots) or (real := _real_path(path, descriptor)) == path:
        return
    if not real.startswith(tuple(os.path.realpath(root) + "/" for root in roots)):
        raise CorruptBlob(f"{uri} is really {real}, as a link on its way leads out of storage's prefixes: move it away")


def _real_path(path: str, descriptor: int) -> str:
    try:
        real = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - the opened file's path, even if links change
    except OSError:
        return os.path.realpath(path)  # not Linux
    return real.removesuffix(" (deleted)")


class Directories:
    """Directories that existed at our last write below them: missing ones are created below these, without a check
    first. A task's first write needs two directories, and each failed check costs as much as a successful one.
    """

    def __init__(self, private: str = "") -> None:
        self._known: set[str] = set()
        self._private = private

    def make(self, directory: str) -> None:
        """Create the directory if it is not known to exist. It may still be missing afterwards, if another process
        removed it.
        """
        if directory in self._known:
            return
        if self._private and directory.startswith(f"{self._private}/") and self._private not in self._known:
            make_private(self._private)
        below = []
        above = directory
        while above not in self._known:
            below.append(above)
            parent = above.rpartition("/")[0]
            if not parent:
                _make(directory)  # no known directory above it
                break
            above = parent
        else:
            for missing_one in reversed(below):
                _make_one(missing_one)
        if len(self._known) > KNOWN_DIRECTORIES:
            self._known.clear()
        self._known.update(below)

    def make_anew(self, directory: str) -> None:
        """Create the directory again, after a known one was removed."""
        self._known.clear()
        _make(directory)


def _make(directory: str) -> None:
    """The directory and those above it that are missing. `makedirs` asks for each first, and mostly one is missing."""
    try:
        _make_one(directory)
    except FileNotFoundError:
        parent = os.path.dirname(directory)  # noqa: PTH120
        if parent == directory:
            raise
        _make(parent)
        _make_one(directory)  # of some file systems, such as /proc, it says again that there is nothing


def _make_one(directory: str) -> None:
    try:
        os.mkdir(directory)  # noqa: PTH102 - pathlib costs more
    except FileExistsError:  # another writer may have been here meanwhile
        if not os.path.isdir(directory):  # noqa: PTH112
            raise


def _list(prefix: str, most: int) -> list[str]:
    """Files whose path begins with `prefix`; temporary files of writes are none."""
    top = prefix.rpartition("/")[0] or "/"
    found: list[str] = []
    for directory, below, names in os.walk(top):
        below[:] = sorted(name for name in below if _meet(f"{directory}/{name}/", prefix))
        paths = (f"{directory}/{name}" for name in names if not name.startswith("."))
        found += [f"file://{path}" for path in paths if path.startswith(prefix)]
    return sorted(found)[:most]


def _meet(directory: str, prefix: str) -> bool:
    return directory.startswith(prefix) or prefix.startswith(directory)


@contextmanager
def _locked(directory: str) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # held for the microseconds of one small write
        yield
    finally:
        os.close(descriptor)


def _create(uri: str, data: bytes, directories: Directories, roots: tuple[str, ...]) -> str | None:
    """Write a file unless there is one, and return its version; else return None."""
    try:
        _write(uri, file_path(uri), data, directories, roots, put=_link)
    except _TakenError:
        return None
    except OSError as error:
        raise _failure("written", uri, error) from error
    return version_of(data)


class _TakenError(Exception):
    """A file has the name. FileExistsError says that of a file in the place of a directory as well."""


def _link(temporary: str, path: str) -> None:
    """Give a file that is written its name. Raises _TakenError if there is one of that name."""
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise _TakenError from error
    os.unlink(temporary)  # noqa: PTH108 - pathlib costs more


def _write(
    uri: str,
    path: str,
    data: bytes | BinaryIO,
    directories: Directories,
    roots: tuple[str, ...],
    put: Callable[[str, str], None] = os.replace,
) -> None:
    directory = path.rpartition("/")[0] or "/"
    temporary = f"{directory}/.{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        directories.make(directory)
        descriptor = os.open(temporary, flags, 0o666)
    except FileNotFoundError:
        directories.make_anew(directory)
        descriptor = os.open(temporary, flags, 0o666)
    try:
        try:
            _require_inside(uri, temporary, descriptor, roots)
            for piece in (data,) if isinstance(data, bytes) else iter(lambda: data.read(PIECE), b""):
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)
        put(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _failure(what: str, uri: str, error: OSError) -> StorageError | CorruptBlob:
    cure = _CURES.get(error.errno or 0)
    reason = error.strerror or str(error)
    kind = CorruptBlob if error.errno in _LASTING and what != "deleted" else StorageError
    return kind(f"{uri} cannot be {what}: {cure or reason}")
