"""Attempts that wait for tokens: whose they are, since when, and at which pace those of a pool are granted.

Guarantees
    Each call costs O(1), but for `first`, which costs O(tenants and claims that it returns).
    The pace is that of the last one to two minutes; it is unknown if none was granted in that time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from propeller.resourcemgr import Path
from propeller.workflow import ExecutionInfo, NodeView

_WINDOW = 60.0
"""Seconds over which grants are counted: an estimate should follow what has changed within a minute or two."""

_MAX_PACES = 10_000

OF = " of "
"""Between a pool and the tenant whose own limit of it is meant."""


class Holder(msgspec.Struct, frozen=True):
    """Whose claim it is."""

    execution: str
    """Its key."""
    uid: str
    node: int
    attempt: int
    name: str
    """Of the attempt's resource."""

    @property
    def claim(self) -> str:
        """The id of its claim."""
        return claim_of(self.uid, self.name)


def claim_of(uid: str, name: str) -> str:
    """The id of the claim of an attempt, by its execution's uid and the name of its resource."""
    return f"{uid}/{name}"


def holder_of(node: NodeView, attempt: int) -> Holder:
    """Whose claim that of a node's attempt is."""
    execution = node.execution
    name = execution.pod_name(node.number, attempt)
    return Holder(execution.key, execution.info.uid, node.number, attempt, name)


def tenant_of(info: ExecutionInfo) -> Path:
    """Whose an execution's claims are: its project's and domain's."""
    return tuple(part for part in (info.project, info.domain) if part) or (info.namespace,)


class Waiting(msgspec.Struct, frozen=True):
    """A claim that waits. `pool` is where it stood when it was asked about last; `since` is in monotonic seconds."""

    name: str
    holder: Holder
    tenant: Path
    pool: str
    since: float


class Pace:
    """How often something happens, by a window that slides."""

    __slots__ = ("_began", "_count", "_first", "_last")

    def __init__(self, now: float) -> None:
        self._first = self._began = now
        self._count = 0
        self._last = 0  # of the window before

    def count(self, now: float) -> None:
        """It has happened."""
        self._slide(now)
        self._count += 1

    def rate(self, now: float) -> float:
        """Times a second; 0 if it has not happened of late."""
        self._slide(now)
        into = now - self._began
        seconds = min(_WINDOW, now - self._first)
        return (self._count + self._last * max(0.0, _WINDOW - into) / _WINDOW) / seconds if seconds > 0 else 0.0

    def _slide(self, now: float) -> None:
        windows = int((now - self._began) / _WINDOW)
        if windows > 0:
            self._last = self._count if windows == 1 else 0
            self._count = 0
            self._began += windows * _WINDOW


class Waits:
    """See the module's text."""

    def __init__(self) -> None:
        self._claims: dict[str, Waiting] = {}
        self._lanes: dict[tuple[str, Path], dict[str, Waiting]] = {}
        """By pool and tenant, in the order in which they came."""
        self._paces: dict[str, Pace] = {}

    def __len__(self) -> int:
        return len(self._claims)

    def __contains__(self, name: object) -> bool:
        return name in self._claims

    def __iter__(self) -> Iterator[Waiting]:
        return iter(tuple(self._claims.values()))

    def put(self, waiting: Waiting, now: float) -> None:
        """It waits, or waits for something else."""
        before = self._claims.get(waiting.name)
        if before is not None and (before.pool, before.tenant) != (waiting.pool, waiting.tenant):
            self.drop(waiting.name)
        self._claims[waiting.name] = waiting
        self._lanes.setdefault((waiting.pool, waiting.tenant), {})[waiting.name] = waiting
        if waiting.pool not in self._paces:
            if len(self._paces) >= _MAX_PACES:  # of pools that are gone
                self._paces = {pool: pace for pool, pace in self._paces.items() if pace.rate(now)}
            self._paces[waiting.pool] = Pace(now)

    def granted(self, name: str, now: float) -> Waiting | None:
        """It has its tokens. Returns how it waited, None if it did not."""
        waiting = self.drop(name)
        if waiting is not None and (pace := self._paces.get(waiting.pool)) is not None:
            pace.count(now)
        return waiting

    def drop(self, name: str) -> Waiting | None:
        """It waits no more."""
        waiting = self._claims.pop(name, None)
        if waiting is not None:
            claims = self._lanes[waiting.pool, waiting.tenant]
            del claims[name]
            if not claims:
                del self._lanes[waiting.pool, waiting.tenant]
        return waiting

    def rate(self, pool: str, now: float) -> float:
        """Claims that have waited for the pool and were granted, a second."""
        pace = self._paces.get(pool)
        return 0.0 if pace is None else pace.rate(now)

    def first(self, count: int, tenant: Path = (), pool: str = "") -> Iterator[Waiting]:
        """The first claims of each tenant (or of that one and those inside it) for each pool (or that one, also for a
        tenant's own limit of it), of each no more than `count`: the first of all, then the second ones...
        """
        each = [
            islice(claims.values(), count)
            for (title, path), claims in self._lanes.items()
            if path[: len(tenant)] == tenant and pool in ("", pool_of(title))
        ]
        while each:
            left = []
            for claims in each:
                if (found := next(claims, None)) is not None:
                    yield found
                    left.append(claims)
            each = left


def pool_of(title: str) -> str:
    """The pool's name: a title may be that of a tenant's own limit of it."""
    return title.partition(OF)[0]
