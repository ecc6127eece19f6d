"""What a sync found and did, and how two states of an object differ."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from propeller.errors import PropellerError
from propeller.kube import Raw
from propeller.text import bounded, one_line

MAX_DIFFERENCES = 20
"""Of one object, that are shown."""

MAX_SHOWN = 80
"""Characters of a value in a difference."""

_SERVERS = {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"}
"""Of metadata, what the server alone writes."""

_SECRET = "(not shown)"  # noqa: S105


class Action(enum.StrEnum):
    """What was, or with a dry run would be, done with an object."""

    CREATED = "created"
    MENDED = "mended"
    UNCHANGED = "unchanged"
    PRUNED = "pruned"
    FAILED = "failed"


class Change(msgspec.Struct, frozen=True):
    """Of one object; `differences` are between what was there and what should be, a line each."""

    action: Action
    kind: str
    name: str
    namespace: str = ""
    whose: str = ""
    """`project/domain`, "" if it is not one tenant's."""

    differences: tuple[str, ...] = ()
    error: PropellerError | None = None


class ClusterReport(msgspec.Struct, frozen=True):
    """Of one cluster. `error` is why it could not be looked at, None if it could."""

    cluster: str
    changes: Sequence[Change] = ()
    error: PropellerError | None = None

    @property
    def has_failed(self) -> bool:
        return self.error is not None or any(change.error is not None for change in self.changes)

    @property
    def has_drifted(self) -> bool:
        """Whether anything was, or would be, changed."""
        return any(change.action not in (Action.UNCHANGED, Action.FAILED) for change in self.changes)


def differences(before: Raw, after: Raw) -> tuple[str, ...]:
    """Where two states of an object differ, but for what the server writes. Values of Secrets are not shown."""
    is_secret = after.get("kind") == "Secret"
    found = [
        _SECRET_LINE.format(path=path) if is_secret and path.startswith(("data.", "stringData.")) else line
        for path, line in _differences(_own(before), _own(after), "")
    ]
    rest = len(found) - MAX_DIFFERENCES
    return (*found[:MAX_DIFFERENCES], *([f"and {rest} more"] if rest > 0 else []))


_SECRET_LINE = "{path}: " + _SECRET


def _own(obj: Raw) -> Raw:
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key not in _SERVERS}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}


def _differences(before: Any, after: Any, path: str) -> Iterator[tuple[str, str]]:
    """Path and line of each value that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*after, *before]):
            yield from _differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differences(old, new, f"{path}[{index}]")
    elif before != after:
        yield path, f"{one_line(path)}: {_shown(before)} -> {_shown(after)}"


def _shown(value: Any) -> str:
    return "(none)" if value is None else bounded(one_line(msgspec.json.encode(value).decode()), MAX_SHOWN)
