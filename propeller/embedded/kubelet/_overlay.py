"""Redirect a program's writes from shared, linked files to copies, which are made at the first write.

Part of the forking server (`_zygote.py`), which imports it by its bare name: it uses nothing of propeller, and runs on
Python 3.9.

Guarantees
    If Python code writes, removes or renames a path below one of the links, the process's own copy is changed, as in an
    overlay file system. Reading copies nothing.
Caveats
    This uses Python's audit events, so other programs, and libraries that open files themselves (Arrow, HDF5, SQLite),
    write through the links.
"""

# pathlib would be one more import in every program.
# ruff: noqa: PTH102, PTH104, PTH105, PTH108, PTH109, PTH110, PTH112, PTH114, PTH115, PTH118, PTH206, PTH208, PTH211

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND | os.O_CREAT

_FOLLOWING = frozenset({"os.truncate", "os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr"})
"""Audit events of changes to a link's target; their first argument is its path."""

_NAMING = {"os.rename": 2, "os.link": 2, "os.symlink": 2, "os.mkdir": 1, "os.remove": 1, "os.rmdir": 1}
"""Audit events of changes to a directory, and how many of their first arguments are paths in one."""

_ENTERING = frozenset({"os.chdir", "shutil.rmtree"})
"""Audit events after which names are relative to the target of the path in their first argument."""


def write_to_copies(links: list[str]) -> None:
    """Redirect this process's writes through the links to copies that replace the links.

    As in an overlay file system, a file is copied at the first write, and a directory becomes one of links. Links of an
    earlier call are no longer handled.
    """
    if links and not _hooked:
        sys.addaudithook(_on_event)  # for good: Python has no way to remove one
        _hooked.append(True)
    _roots[:] = links


_hooked: list[bool] = []
_roots: list[str] = []
_busy: list[str] = []  # the event whose copies are being made, which have events of their own


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if _roots and not _busy and (event == "open" or event in _FOLLOWING or event in _NAMING or event in _ENTERING):
        _busy.append(event)
        try:
            for path, what in _changed(event, arguments):
                _make_own(_roots, path, what)
        finally:
            _busy.clear()


def _changed(event: str, arguments: tuple[Any, ...]) -> list[tuple[Any, str]]:
    """Return paths that the event is about to change, each with the part of it that must be the process's own."""
    if event == "open":
        path, _, flags = arguments
        if not flags & _WRITES:
            return []
        return [(path, "name" if flags & os.O_TRUNC else "content")]
    if event in _ENTERING:
        return [(arguments[0], "entries")]
    if event in _FOLLOWING:
        return [(arguments[0], "content")]
    return [(path, "place") for path in arguments[: _NAMING[event]]]


def _make_own(roots: list[str], path: Any, what: str) -> None:
    """Replace links on a path below one of `roots`. `what` says what of the path's own link is needed: only its
    "place"; its "name", if the file is rewritten; its "content"; or a directory's "entries".
    """
    if isinstance(path, int):
        return
    path = os.path.normpath(os.path.join(os.path.realpath(os.getcwd()), os.fsdecode(path)))
    root = next((root for root in roots if path == root or path.startswith(root + os.sep)), None)
    if root is None:
        return
    at = root
    for name in path[len(root) + 1 :].split(os.sep):
        if os.path.islink(at) and at != path:
            _own_directory(at)
        at = os.path.join(at, name) if name else at
    if not os.path.islink(path) or what == "place":
        return
    if os.path.isdir(path):
        if what == "entries":
            _own_directory(path)
    elif what == "name":
        os.unlink(path)
    elif what == "content" and os.path.exists(path):
        own = _beside(path)
        shutil.copy(path, own)
        os.replace(own, path)


def _own_directory(link: str) -> None:
    own = _beside(link)
    os.mkdir(own)
    for name in os.listdir(link):
        os.symlink(os.path.join(os.readlink(link), name), os.path.join(own, name))
    os.unlink(link)
    os.rename(own, link)


def _beside(path: str) -> str:
    return f"{path}.{os.getpid()}.own"
