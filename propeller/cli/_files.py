"""Files that commands write: existing files are never lost, and only the user can read a file with a token.

Guarantees
    A file of another user or program is neither overwritten nor deleted, and no symbolic link is followed.
    A kubeconfig has mode 0600 from its first byte, and is removed with the block if it is still the one written here.
Errors
    Invalid, with the option's name, the path and how to mend it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml

from propeller.errors import Invalid

_MARK = b"# Written by propeller, for as long as process %d runs.\n"
_MARK_BEGIN = _MARK[: _MARK.index(b"%d")]


@contextmanager
def private_kubeconfig(path: Path, content: dict[str, Any], option: str) -> Iterator[None]:
    """The file, while the block runs. One that a process which is gone has left is replaced. Raises Invalid."""
    try:
        if _is_left_behind(path):
            path.unlink()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise Invalid(f"{option} {path} exists, and is not overwritten: name another file, or remove it") from error
    except OSError as error:
        raise Invalid(f"{option} {path} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        written = os.fstat(descriptor)
        file.write(_MARK % os.getpid() + yaml.safe_dump(content).encode())
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the file or its directory was removed meanwhile
            found = path.lstat()
            if (found.st_dev, found.st_ino) == (written.st_dev, written.st_ino):
                path.unlink()


def write_resource(directory: Path, name: str, document: bytes, option: str) -> None:
    """Write `document` to a file `name` in the directory, whole or not at all. Only an earlier resource of the same
    type is replaced. Raises Invalid.
    """
    if Path(name).name != name or name in {"", ".", ".."}:
        raise Invalid(f"{option}: {name!r} is no name of a file")
    path = directory / name
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not _may_be_replaced(path):
            raise Invalid(f"{option}: {path} exists and is no FlyteWorkflow: name another directory, or remove it")
        with tempfile.TemporaryDirectory(prefix=".propeller-", dir=directory) as drafts:
            draft = Path(drafts, name)
            draft.write_bytes(document)
            draft.replace(path)
    except OSError as error:
        raise Invalid(f"{option} {directory} cannot be written: {error.strerror}") from error


def _is_left_behind(path: Path) -> bool:
    """Whether it is a kubeconfig of ours whose process has ended without removing it."""
    begin = _content(path, 100)
    if begin is None or not begin.startswith(_MARK_BEGIN):
        return False
    number = begin.removeprefix(_MARK_BEGIN).split(b" ", 1)[0]
    return number.isdigit() and not Path("/proc", number.decode()).exists()


def _may_be_replaced(path: Path) -> bool:
    """Whether nothing is there, or a FlyteWorkflow resource."""
    if not os.path.lexists(path):
        return True
    try:
        resource = orjson.loads(_content(path, 64 * 1024 * 1024) or b"null")
    except orjson.JSONDecodeError:
        return False
    return isinstance(resource, dict) and str(resource.get("kind", "")).lower() == "flyteworkflow"


def _content(path: Path, limit: int) -> bytes | None:
    """Its first bytes; None if it is no regular file of this user's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit)
