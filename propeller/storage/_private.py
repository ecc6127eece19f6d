"""Create a directory that belongs to the user alone."""

from __future__ import annotations

import os
import stat

from propeller.errors import StorageError


def make_private(directory: str) -> None:
    """Ensure that the directory exists, belongs to this user, and has mode 0700.

    Raises StorageError if it belongs to another user, or cannot be created.
    """
    try:
        os.makedirs(os.path.dirname(directory), exist_ok=True)  # noqa: PTH103, PTH120 - as the rest of the file store
        try:
            os.mkdir(directory, 0o700)  # noqa: PTH102
        except FileExistsError:
            _require_own(directory)
    except OSError as error:
        raise StorageError(
            f"{directory} cannot be made: {error.strerror}; set XDG_STATE_HOME, or storage.metadata_prefix"
        ) from error


def _require_own(directory: str) -> None:
    found, behind = os.lstat(directory), os.stat(directory)  # noqa: PTH116 - a link of the user's own may lead to a larger disk
    user = os.geteuid()
    if found.st_uid != user or behind.st_uid != user or not stat.S_ISDIR(behind.st_mode):
        raise StorageError(
            f"{directory} is not a directory of this user's: somebody else has made it; remove it, or set "
            "storage.metadata_prefix to a place of yours"
        )
    if stat.S_IMODE(behind.st_mode) & 0o077:
        os.chmod(directory, 0o700)  # noqa: PTH101
