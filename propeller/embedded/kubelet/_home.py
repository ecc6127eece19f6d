"""A kubelet's own directory, by a path that is short enough for the sockets that programs make below it.

The path of a Unix socket has at most 107 bytes, and programs put sockets below TMPDIR: multiprocessing 32 bytes
further, torch 35, Ray up to 75 (`/ray/session_<date>_<pid>/sockets/dash_TaskEventsHead`). So a pod's TMPDIR has at most
32 bytes, and its directory, which has its volumes, 42.

Guarantees
    If the directory's own path is longer, a link in `LINKS` stands for it as long as the kubelet runs. It belongs to
    this user, and leads there. A killed kubelet's link is taken by the next one with the same directory, which removes
    what pods of the one before have left.
Assumptions
    The directory is this kubelet's alone.
Caveats
    If no link can be made, paths are as long as the directory's, and a warning says what that means.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import logging
import os
import shutil
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

_log = logging.getLogger(__name__)

SHORT_BYTES = len("/tmp/propeller-abcdefgh")  # noqa: S108 - a length
"""That the directory's path has at most: as many as the one that `propeller run` makes has."""

LINKS = Path("/tmp")  # noqa: S108 - there is no shorter one that all users can write to; owners of links are checked

LINK_NAMES = 8
"""Names that are tried for a link, as others may have taken some."""

_PODS, _TEMPORARY, _LEFT = "pods", "t", "left"


class Home:
    """The directory, by its short path; see `opened_home`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers = itertools.count(1)

    def pod(self, uid: str) -> Path:
        """Return the directory of the pod with this uid: the same one for each kubelet of this directory."""
        return self.path / _PODS / _digest(uid, 13)

    def temporary(self) -> Path:
        """Return a path for a pod's temporary directory, another one each time."""
        return self.path / _TEMPORARY / str(next(self._numbers))

    def left(self, uids: Set[str]) -> list[Path]:
        """Return what earlier kubelets have left, except the directories of pods with these uids."""
        pods, kept = self.path / _PODS, {self.pod(uid).name for uid in uids}
        earlier = [path for path in pods.iterdir() if path.name not in kept] if pods.is_dir() else []
        return [*earlier, *self.path.glob(f"{_LEFT}.*")]


@contextmanager
def opened_home(workdir: Path) -> Iterator[Home]:
    """Create the directory, if it is missing, for its owner only; the link to it is removed with the block."""
    workdir = workdir.absolute()
    workdir.mkdir(mode=0o700, parents=True, exist_ok=True)
    workdir.chmod(0o700)
    _put_aside(workdir / _TEMPORARY)
    (workdir / _TEMPORARY).mkdir(mode=0o700)
    link = None if len(os.fsencode(workdir)) <= SHORT_BYTES else _link_to(workdir)
    try:
        yield Home(link or workdir)
    finally:
        if link is not None and _leads(link, workdir):
            link.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove what is there, whatever it has become: of a link, not its target. What cannot be removed stays."""
    try:
        path.unlink(missing_ok=True)
    except OSError:  # a directory
        shutil.rmtree(path, ignore_errors=True)


def _put_aside(path: Path) -> None:
    """Rename what an earlier kubelet's pods have left there, which may take long to remove."""
    if os.path.lexists(path):
        names = (path.with_name(f"{_LEFT}.{number}") for number in itertools.count(1))
        path.rename(next(name for name in names if not os.path.lexists(name)))


def _link_to(workdir: Path) -> Path | None:
    """Return a link to the directory; None, with a warning, if there can be none."""
    why = "names are taken"
    for number in range(LINK_NAMES):
        link = LINKS / f"propeller-{_digest(f'{workdir} {os.geteuid()} {number}', 8)}"
        try:
            link.symlink_to(workdir)
        except FileExistsError:
            if _leads(link, workdir):  # a killed kubelet's
                return link
        except OSError as error:
            why = error.strerror or str(error)
            break
        else:
            return link
    _log.warning(
        "TMPDIR of pods is below %s, and a shorter link to it could not be made in %s (%s): programs that put sockets "
        "there, as Ray and multiprocessing do, fail where a socket's path exceeds 107 bytes. Set TMPDIR to a directory "
        "whose path has at most %d bytes",
        workdir,
        LINKS,
        why,
        SHORT_BYTES - len("/propeller-abcdefgh"),
    )
    return None


def _leads(link: Path, workdir: Path) -> bool:
    """Whether it is a link of this user to the directory."""
    try:
        return link.lstat().st_uid == os.geteuid() and link.readlink() == workdir
    except OSError:
        return False


def _digest(text: str, length: int) -> str:
    digest = hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=10).digest()
    return base64.b32encode(digest)[:length].decode().lower()
