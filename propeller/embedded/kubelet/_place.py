"""Give a program a place of its own: a copy of the project's small files, and links to all else that is in it.

Part of the forking server (`_zygote.py`), which imports it by its bare name: nothing of propeller, Python 3.9.

Guarantees
    What a program writes under the name of a copied file, or under a new name, is seen by no other program and does not
    come into the project. Nothing in the project is changed.
Caveats
    A file or directory beyond the limits is a link: writing through it changes the project.
"""

# pathlib would be one more import in every program.
# ruff: noqa: PTH100, PTH102, PTH110, PTH118, PTH208, PTH211

from __future__ import annotations

import os
import shutil

COPIED_FILES = 200
"""Files that are copied: 20 microseconds each, and the sources and settings of most projects have fewer."""

COPIED_BYTES = 4 * 1024 * 1024
"""Bytes that are copied in all: some milliseconds. Data sets are links."""

ENTRIES = 2_000
"""Entries that are copied or linked: a home directory with many more is no project."""

_LINKED = frozenset({"node_modules", "site-packages", "venv"})
_LEFT_OUT = frozenset({"__pycache__"})


def furnish(project: str, place: str) -> None:
    """Fill `place`, if it is empty, from the directory `project`. What cannot be read is left out."""
    if os.listdir(place):
        return  # its container was started before
    place = os.path.realpath(place)
    files, size, entries = 0, 0, 0
    todo = [(os.path.abspath(project), place)]
    for source, target in todo:  # grows: breadth first, so that what is at the top is copied first
        for entry in _entries(source):
            path, own = entry.path, os.path.join(target, entry.name)
            entries += 1
            if entries > ENTRIES or entry.name in _LEFT_OUT or _leads_to(entry, place):
                continue
            try:
                if entry.is_dir(follow_symlinks=False) and not (entry.name[0] == "." or entry.name in _LINKED):
                    if len(todo) <= COPIED_FILES and size < COPIED_BYTES and not _is_environment(path):
                        os.mkdir(own)
                        todo.append((path, own))
                        continue
                elif entry.is_file(follow_symlinks=False):
                    length = entry.stat().st_size
                    if files < COPIED_FILES and size + length <= COPIED_BYTES:
                        shutil.copy(path, own)
                        files, size = files + 1, size + length
                        continue
                os.symlink(path, own)
            except OSError:
                continue


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []


def _leads_to(entry: os.DirEntry[str], place: str) -> bool:
    """Whether the place itself is in the entry, as when the project is the directory of temporary files."""
    return place.startswith(os.path.realpath(entry.path) + os.sep)


def _is_environment(path: str) -> bool:
    return os.path.exists(os.path.join(path, "pyvenv.cfg"))
