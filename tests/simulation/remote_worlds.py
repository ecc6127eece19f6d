"""The worlds of connectors' jobs that CI runs: how many seeds of each, from the first on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tests.simulation.remote import Lived, World, lived
from tests.simulation.remote_gaps import GapWorld
from tests.simulation.remote_halted import HaltingWorld
from tests.simulation.remote_late import LateWorld
from tests.simulation.remote_outages import StoreDownWorld
from tests.simulation.remote_recovered import RecoveringWorld
from tests.simulation.remote_sharded import RecoveringShardedWorld, ShardedWorld


class JobWorlds(NamedTuple):
    """Worlds of one kind."""

    of: type[World]
    mapped: bool
    seeds: int

    def live(self, first: int = 0, seeds: int | None = None) -> Lived:
        """Run some of their seeds, or all."""
        until = self.seeds if seeds is None else min(first + seeds, self.seeds)
        return lived(range(first, until), mapped=self.mapped, of=self.of)


_SEEDS: Mapping[str, tuple[type[World], int]] = {
    "jobs": (World, 150),
    "jobs, answered late": (LateWorld, 60),
    "jobs, store down": (StoreDownWorld, 40),
    "jobs, watches cut": (GapWorld, 40),
    "jobs, recovered": (RecoveringWorld, 40),
    "jobs, sharded": (ShardedWorld, 8),
    "jobs, recovered, sharded": (RecoveringShardedWorld, 5),
    "jobs, halted": (HaltingWorld, 8),
}

JOB_WORLDS: Mapping[str, JobWorlds] = {
    f"{name}, mapped" if mapped else name: JobWorlds(of, mapped, seeds)
    for name, (of, seeds) in _SEEDS.items()
    for mapped in (False, True)
}
"""By name, as reached.json and docs/testing.md have them. `mapped`: a map task over jobs is in each."""
