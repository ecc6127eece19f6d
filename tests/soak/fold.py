"""What one subscriber has been told, put together; and whether it could have been told so.

A fold is told changes one by one. `broken` gets a line for each that breaks a promise of the informer:

- Of one object (uid) no version comes twice, and none that is older than one told before.
- `old` is what was told before as `new`. Of an object that is gone it may be its very last state, a newer one.
- Who reads all changes sees an object end before another of its name begins.
- Without selectors, an object whose end was told never comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from propeller.informers import Change, metadata_of


class Fold:
    """`objects` is what a reader holds who does as the changes say. `coalesced` are those of `changes()`."""

    def __init__(self, broken: Callable[[str], None], *, selects: bool, coalesced: bool) -> None:
        self._broken = broken
        self._selects = selects
        self._coalesced = coalesced
        self._versions: dict[str, int] = {}
        self._ended: set[str] = set()
        self.objects: dict[str, Any] = {}
        self.told = 0

    def take(self, change: Change[Any]) -> None:
        self.told += 1
        before = self.objects.get(change.key)
        self._check_old(change, before)
        if change.new is None:
            self.objects.pop(change.key, None)
            if change.old is not None:
                uid, version = identity(change.old)
                self._versions[uid] = max(version, self._versions.get(uid, 0))
                self._ended.add(uid)
            return
        uid, version = identity(change.new)
        if version <= (newest := self._versions.get(uid, 0)):
            self._broken(f"{change.key} ({uid}) was told at version {version} after {newest}")
        if uid in self._ended and not self._selects:
            self._broken(f"{change.key} ({uid}) came back at version {version} after its end")
        self._versions[uid] = max(version, newest)
        self.objects[change.key] = change.new

    def _check_old(self, change: Change[Any], before: Any) -> None:
        if change.old is before:
            if before is None and change.new is None:
                self._broken(f"{change.key} was told to be gone, and was not there")
            elif before is not None and change.new is not None and not self._coalesced:
                self._check_same(change, before)
            return
        is_last_state = (
            before is not None
            and change.old is not None
            and (change.new is None or self._coalesced)  # an end and a beginning that were not read may be one change
            and identity(change.old)[0] == identity(before)[0]
            and identity(change.old)[1] >= identity(before)[1]
        )
        if not is_last_state:
            self._broken(f"{change.key} changed from {_shown(change.old)}, but {_shown(before)} was told before")

    def _check_same(self, change: Change[Any], before: Any) -> None:
        if identity(change.new)[0] != identity(before)[0]:
            self._broken(f"{change.key} became another object, {_shown(change.new)}, before {_shown(before)} ended")


def identity(obj: Any) -> tuple[str, int]:
    """An object's uid, and its version as a number."""
    metadata = metadata_of(obj)
    return metadata.uid, int(metadata.resource_version)


def _shown(obj: Any) -> str:
    return "nothing" if obj is None else "{} at {}".format(*identity(obj))
