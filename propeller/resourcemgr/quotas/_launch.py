"""What a namespace's quotas are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import msgspec

from propeller.errors import Invalid
from propeller.resourcemgr._limits import Path


class TooSmall(Invalid):
    """A quota is smaller than a single pod."""


class OutOfRange(Invalid):
    """A limit range does not allow the pod."""


class Launch(msgspec.Struct, frozen=True):
    """An object that is going to be created."""

    id: str
    kind: Hashable
    """Launches of one kind take the same."""
    counted_as: str
    """`count/pods`, or that of another resource."""
    spec: Callable[[], Mapping[str, Any]] | None
    """Makes that of the pod, without what no quota looks at; None if it is no pod."""
    tenant: Path = ()
    """Whose it is: tenants take turns."""


class QuotaWait(msgspec.Struct, frozen=True):
    """Why a launch waits."""

    quota: str
    reason: str
    after: float | None = None
    """Seconds until it should ask again, if that is known."""

    @property
    def what(self) -> str:
        return f"waits for quota {self.quota}: "

    def __str__(self) -> str:
        return self.what + self.reason


class Pace(msgspec.Struct, frozen=True):
    """Times in seconds, and a number."""

    settle: float = 2.0
    patience: float = 60.0
    unused: float = 60.0
    pause: float = 1.0
    pause_cap: float = 60.0
    max_bypass: int = 64
