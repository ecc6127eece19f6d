"""Fill a private working directory for a program: copies of the project's small files, and links to everything else.

Part of the forking server (`_zygote.py`), which imports it by its bare name: it uses nothing of propeller, and runs on
Python 3.9.

Guarantees
    Writes to a copied file or to a new name are invisible to other programs and do not reach the project. Nothing in
    the project is changed.
Caveats
    A file or directory beyond the limits is a link: `_overlay.py` keeps Python code from writing through it, but not
    other programs. Hidden directories and virtual environments are links, too: their content is meant to be shared.
"""

# pathlib would be one more import in every program.
# ruff: noqa: PTH100, PTH110, PTH114, PTH115, PTH118, PTH120, PTH208

from __future__ import annotations

import itertools
import os
import shutil
from typing import Any, NamedTuple

COPIED_FILES = 200
"""Files that are copied: 20 microseconds each, and the sources and settings of most projects have fewer."""

COPIED_BYTES = 4 * 1024 * 1024
"""Bytes that are copied in all: some milliseconds. Data sets are links."""

ENTRIES = 2_000
"""Entries that are copied or linked: a home directory with many more is no project."""

_LINKED = frozenset({"node_modules", "site-packages", "venv"})
_LEFT_OUT = frozenset({"__pycache__"})


class Contents(NamedTuple):
    """The content of a working directory, as paths relative to the project. `large` are links, too, to files over the
    limits.
    """

    directories: list[str]
    copies: list[str]
    links: list[str]
    large: list[str]


def contents(project: str, workdir: str = "") -> Contents:
    """Return what `populate` puts into `workdir`. Unreadable files are left out."""
    found = Contents([], [], [], [])
    size, entries = 0, 0
    todo = [""]
    for directory in todo:  # grows: breadth first, so that files at the top are copied first
        inside = _entries(os.path.join(project, directory), ENTRIES - entries)
        if inside is None and directory:
            found.directories.remove(directory)
            found.large.append(directory)
            continue
        for entry in inside or []:
            path = os.path.join(directory, entry.name)
            entries += 1
            if entry.name in _LEFT_OUT or (workdir and _leads_to(entry, workdir)):
                continue
            try:
                if entry.is_symlink():
                    found.links.append(path)
                elif entry.is_dir():
                    if entry.name[0] == "." or entry.name in _LINKED or _is_environment(entry.path):
                        found.links.append(path)
                    elif len(todo) <= COPIED_FILES and size < COPIED_BYTES:
                        found.directories.append(path)
                        todo.append(path)
                    else:
                        found.large.append(path)
                elif entry.is_file():
                    length = entry.stat().st_size
                    if len(found.copies) < COPIED_FILES and size + length <= COPIED_BYTES:
                        found.copies.append(path)
                        size += length
                    else:
                        found.large.append(path)
            except OSError:
                continue
    return found


def populate(project: str, workdir: str) -> list[str]:
    """Fill `workdir`, if it is empty, from the directory `project`; return the links to files that are too large to
    copy.
    """
    if os.listdir(workdir):
        return []  # its container was started before
    project, workdir = os.path.abspath(project), os.path.realpath(workdir)
    found = contents(project, workdir)
    for path in found.directories:
        _try(os.mkdir, os.path.join(workdir, path))
    for path in found.copies:
        _try(shutil.copy, os.path.join(project, path), os.path.join(workdir, path))
    for path in found.links:
        _try(os.symlink, _target(project, path), os.path.join(workdir, path))
    for path in found.large:
        _try(os.symlink, os.path.join(project, path), os.path.join(workdir, path))
    return [os.path.join(workdir, path) for path in found.large]


def _target(project: str, path: str) -> str:
    """Return the target of a link that stands for this link of the project: a link within the project stays within
    `workdir`.
    """
    here = os.path.join(project, path)
    directory = os.path.dirname(here)
    to = os.path.normpath(os.path.join(directory, os.readlink(here))) if os.path.islink(here) else here
    return os.path.relpath(to, directory) if to != here and to.startswith(project + os.sep) else here


def _try(call: Any, *paths: str) -> bool:
    try:
        call(*paths)
    except OSError:
        return False
    return True


def _entries(directory: str, most: int) -> list[os.DirEntry[str]] | None:
    """Return the directory's entries; None if there are too many."""
    try:
        with os.scandir(directory) as found:
            entries = list(itertools.islice(found, most + 1))
    except OSError:
        return []
    return sorted(entries, key=lambda entry: entry.name) if len(entries) <= most else None


def _leads_to(entry: os.DirEntry[str], workdir: str) -> bool:
    """Return whether the working directory itself is in the entry, as when the project is the directory of temporary
    files.
    """
    return workdir.startswith(os.path.realpath(entry.path) + os.sep)


def _is_environment(path: str) -> bool:
    return os.path.exists(os.path.join(path, "pyvenv.cfg"))
