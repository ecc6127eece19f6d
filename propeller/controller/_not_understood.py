"""Keep executions whose state this version does not understand: they are left as they are, and checked again.

Guarantees
    Nothing is written to them. They are loaded again when their object changes, and otherwise after pauses that grow
    from `FIRST_PAUSE` to `MAX_PAUSE`: another version may have continued them, or a blob may be back.
    Each version of an object is logged once; `count` is a metric.
"""

from __future__ import annotations

import logging

import msgspec

from propeller.errors import PropellerError
from propeller.kube import ObjectMeta

_log = logging.getLogger(__name__)

FIRST_PAUSE = 5.0
MAX_PAUSE = 600.0
"""Seconds. A mend changes the object, or starts another version; only a blob comes back without an event."""


class _State(msgspec.Struct, frozen=True):
    uid: str
    version: str
    pause: float
    until: float


class UnknownStates:
    """By key; see the module's text."""

    def __init__(self) -> None:
        self._waiting: dict[str, _State] = {}

    @property
    def count(self) -> int:
        return len(self._waiting)

    def begin(self, key: str, metadata: ObjectMeta, error: PropellerError, now: float) -> float:
        """Record an object that was not understood because of `error`; returns the seconds until the next check."""
        before = self._waiting.get(key)
        same = before is not None and (before.uid, before.version) == (metadata.uid, metadata.resource_version)
        pause = min(2 * before.pause, MAX_PAUSE) if same and before is not None else FIRST_PAUSE
        self._waiting[key] = _State(metadata.uid, metadata.resource_version, pause, now + pause)
        if not same:
            _log.warning("%s is left as it is, and waits for a version that understands it: %s", key, error)
        return pause

    def left(self, key: str, metadata: ObjectMeta, now: float) -> float:
        """Return the seconds until the next check, 0 if the object has changed or is not recorded."""
        found = self._waiting.get(key)
        if found is None or (found.uid, found.version) != (metadata.uid, metadata.resource_version):
            return 0.0
        return max(0.0, found.until - now)

    def end(self, key: str) -> None:
        """Forget an object that is understood, has ended or is deleted."""
        self._waiting.pop(key, None)
