"""Whose turn it is among tenants that want the same, weighted at every level of their tree, whatever a turn is worth.

Guarantees
    Start-time fair queueing (Goyal, Vin, Cheng, 1996) at each level: of tenants that always want, each gets turns in
    proportion to its weight among its siblings, within one turn. One that comes is not behind those that have had many,
    and saves up nothing while it wants nothing.
    A turn may cost more than one: then its tenant's next turns come later.
    Pure. `start` and `served` cost O(depth of the path).
Assumptions
    Weights are over 0.
"""

from __future__ import annotations

from collections.abc import Callable

from propeller.resourcemgr._limits import Path

_MAX_TENANTS = 4096
"""Whose turns are remembered, before those are forgotten that are behind nobody."""

Start = tuple[float, ...]


class TenantTurns:
    """`weight_of` gives a tenant's weight among its siblings."""

    def __init__(self, weight_of: Callable[[Path], float] = lambda path: 1.0) -> None:
        self._weight_of = weight_of
        self._finish: dict[Path, float] = {}
        self._virtual: dict[Path, float] = {}
        """By parent: the start of the last turn that one of its children has had."""

    def start(self, tenant: Path) -> Start:
        """The smallest is next, of all tenants that want a turn now."""
        finish, virtual = self._finish, self._virtual
        return tuple(
            max(finish.get(tenant[:length], 0.0), virtual.get(tenant[: length - 1], 0.0))
            for length in range(1, len(tenant) + 1)
        )

    def served(self, tenant: Path, cost: float = 1.0) -> None:
        """It has had its turn."""
        for length, start in enumerate(self.start(tenant), 1):
            path = tenant[:length]
            self._virtual[path[:-1]] = start
            self._finish[path] = start + cost / self._weight_of(path)
        if len(self._finish) > _MAX_TENANTS:
            self._forget()

    def _forget(self) -> None:
        self._finish = {
            path: finish for path, finish in self._finish.items() if finish > self._virtual.get(path[:-1], 0.0)
        }
        if len(self._finish) > _MAX_TENANTS:
            self._finish.clear()
            self._virtual.clear()
        else:
            self._virtual = {path: start for path, start in self._virtual.items() if not path or path in self._finish}
