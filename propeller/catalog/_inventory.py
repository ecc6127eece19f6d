"""What a catalog has, for people: list entries, remove them, and say why a computation is not among them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from propeller.catalog._backend import Backend
from propeller.catalog._entries import Origin, origin_of
from propeller.catalog._key import ENTRY, Key, task_path
from propeller.errors import CorruptBlob
from propeller.text import NAME_CHARACTERS, bounded

READS_AT_ONCE = 16
"""Entries that are read together: enough to hide an object store's latency."""

MAX_COMPARED = 200
"""Entries of a task that a computation is compared with, the latest ones in the order of their paths."""


MAX_LISTED = 10_000
"""Entries that are shown, or listed together before they are removed: ten requests to an object store."""

MAX_READ = 100_000
"""Entries that are read to find those that are to be removed."""


class Paths(NamedTuple):
    """Paths of entries, without suffix, and whether there may be others."""

    entries: list[str]
    more: bool


class Entry(msgspec.Struct, frozen=True):
    """An entry; `origin` is None if it cannot be read, and `problem` says why."""

    path: str
    bytes: int
    origin: Origin | None
    problem: str = ""


class Difference(msgspec.Struct, frozen=True):
    """One part of a key that differs: `cache version`, `interface: input x`, `input x`..., here and in the entry."""

    part: str
    here: str
    there: str


class Explanation(msgspec.Struct, frozen=True):
    """Why a computation is a hit or a miss. `nearest` is the entry that differs in the fewest parts. Of more `entries`
    than `MAX_LISTED` so many are counted.
    """

    key: Key
    hit: bool
    entries: int
    nearest: Entry | None = None
    differences: tuple[Difference, ...] = ()


async def list_paths(store: Backend, below: str, most: int) -> Paths:
    """Paths of entries that begin with `below`. Raises StorageError."""
    found = await store.paths(below, most)
    return Paths([path.removesuffix(ENTRY) for path in found if path.endswith(ENTRY)], len(found) >= most)


async def read_entries(store: Backend, paths: list[str]) -> list[Entry]:
    """Read entries; those that are gone meanwhile are left out. Raises StorageError."""
    room = asyncio.Semaphore(READS_AT_ONCE)

    async def read(path: str) -> Entry | None:
        async with room:
            found = await store.read(f"{path}{ENTRY}")
        if found is None:
            return None
        try:
            origin = origin_of(found[0])
        except CorruptBlob as error:
            return Entry(path, len(found[0]), None, str(error))
        return Entry(path, len(found[0]), origin, "" if origin is not None else "it does not say where it comes from")

    return [entry for entry in await asyncio.gather(*map(read, paths)) if entry is not None]


async def evict(
    store: Backend, below: str, is_meant: Callable[[Entry], bool] | None = None, *, dry_run: bool = False
) -> Paths:
    """Remove the entries whose paths begin with `below`, or those of them that are meant; of more than `MAX_READ`, the
    first ones alone are asked about. Returns what is removed, or would be with `dry_run`. Raises StorageError.
    """
    evicted: list[str] = []
    while True:
        paths, more = await list_paths(store, below, MAX_LISTED if is_meant is None else MAX_READ)
        if is_meant is not None:
            paths = await _meant(store, paths, is_meant)
        if not dry_run:
            await _remove(store, paths)
        evicted += paths
        if dry_run or is_meant is not None or not (more and paths):
            return Paths(evicted, more)


async def _meant(store: Backend, paths: list[str], is_meant: Callable[[Entry], bool]) -> list[str]:
    found: list[str] = []
    for first in range(0, len(paths), MAX_COMPARED):  # an entry is larger than its path
        entries = await read_entries(store, paths[first : first + MAX_COMPARED])
        found += [entry.path for entry in entries if is_meant(entry)]
    return found


async def _remove(store: Backend, paths: list[str]) -> None:
    for first in range(0, len(paths), READS_AT_ONCE):
        await asyncio.gather(*(store.delete(f"{path}{ENTRY}") for path in paths[first : first + READS_AT_ONCE]))


async def explain(store: Backend, key: Key) -> Explanation:
    """Compare a computation with the entries of its task. Raises StorageError."""
    found = await read_entries(store, [key.path])
    paths, _ = await list_paths(store, f"{task_path(key.project, key.domain, key.task)}/", MAX_LISTED)
    if found:
        return Explanation(key, hit=True, entries=len(paths), nearest=found[0])
    context = key.path.rpartition("/")[0]
    alike = [path for path in paths if path.startswith(context)]  # they differ in their inputs alone
    entries = await read_entries(store, (alike or paths)[-MAX_COMPARED:])
    compared = [(differences(key, one.origin.key), one) for one in entries if one.origin is not None]
    if not compared:
        return Explanation(key, hit=False, entries=len(paths))
    nearest = min(compared, key=lambda pair: (len(pair[0]), -pair[1].origin.created if pair[1].origin else 0.0))
    return Explanation(key, False, len(paths), nearest[1], nearest[0])


def differences(here: Key, there: Key) -> tuple[Difference, ...]:
    """The parts in which two keys of a task differ."""
    found = []
    if here.version != there.version:
        found.append(Difference("cache version", _shown(here.version), _shown(there.version)))
    for kind, ours, theirs in (
        ("interface", here.variables, there.variables),
        ("input", here.inputs, there.inputs),
    ):
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                part = f"{kind} {_shown(name)}"
                found.append(Difference(part, _shown(ours.get(name)), _shown(theirs.get(name))))
    if here.ignored != there.ignored:
        found.append(Difference("ignored inputs", _shown(", ".join(here.ignored)), _shown(", ".join(there.ignored))))
    return tuple(found)


def _shown(value: str | None) -> str:
    return "absent" if value is None else bounded(value, NAME_CHARACTERS)
