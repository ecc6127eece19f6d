"""The state of the model: leases and the shard map, an execution of one node, its pods in several clusters.

Each record names the part of propeller that it models. All are tuples: hashed and compared at C's speed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

NOBODY: Final = -1
NOWHERE: Final = -1
NEVER: Final = -1

# Of a pod, as its cluster has it. A name that was used and is free again is remembered, for the invariants alone.
ABSENT: Final = "absent"
RUNNING: Final = "running"
DONE: Final = "succeeded"
GONE: Final = "gone"

# Of the work of a process on the shard (reconcile/shards/_work.py: Work).
IDLE: Final = "idle"
TAKING: Final = "taking"
READY: Final = "ready"
ENDING: Final = "ending"
STOPPED: Final = "stopped"

# Of a cluster, as a process sees it (controller/_clusters.py: Member).
WELL: Final = "well"
SICK: Final = "unhealthy"
LOST: Final = "lost"  # controller/_failover.py: lost
FORKED: Final = "restored, and not noticed yet"

# Of an attempt in memory.
NEW: Final = "new"
SENDING: Final = "being created"
LAUNCHED: Final = "launched"

LAUNCH: Final = "launch"
STOP: Final = "stop"
WRITE: Final = "write"
MAP: Final = "map"


class Map(NamedTuple):
    """The shard map, of one shard (reconcile/shards/_shard_map.py: ShardMap)."""

    members: tuple[int, ...] = ()
    holder: int = NOBODY
    wanted: int = NOBODY


class Status(NamedTuple):
    """What a status says of the node and of its placements (workflow/_placements.py: Placements). `first` is the
    number of the first attempt if the node has not started, when `attempt` is NEVER. `where` has the cluster of each
    attempt that is placed. `ended` is the attempt that counts.
    """

    home: int = NOWHERE
    first: int = 0
    attempt: int = NEVER
    where: tuple[int, ...] = ()
    ended: int = NEVER


class Object(NamedTuple):
    version: int
    status: Status


class Live(NamedTuple):
    """The execution in memory. `mark` is the status that was read or written last, at `version`."""

    version: int
    mark: Status
    now: Status
    state: str = NEW
    writing: bool = False


class Process(NamedTuple):
    """A controller, and a member if there are shards."""

    up: bool = True
    halted: bool = False
    right: bool = True
    """reconcile/_lease.py: remaining"""
    leaving: bool = False
    known: Map = Map()
    fresh: bool = True
    """Whether `known` is what the server has: a write succeeds only then."""
    gone: tuple[int, ...] = ()
    """Members whose Leases are gone, as it has seen (reconcile/shards/_membership.py: _gone)."""
    work: str = READY
    clusters: tuple[str, ...] = ()
    seen: tuple[bool, ...] = ()
    """By cluster, whether its caches have shown everything that runs there (controller/_clusters.py: is_synced)."""
    pods: tuple[tuple[str, ...], ...] = ()
    """By cluster and attempt."""
    object: Object = Object(0, Status())
    live: Live | None = None
    fence: int = 0
    begun: int = NEVER
    """controller/_begun.py: keep"""

    @property
    def acts(self) -> bool:
        return self.up and not self.halted


class Message(NamedTuple):
    """A request that was sent. `by` is NOBODY once nobody waits for its answer."""

    kind: str
    by: int
    cluster: int = NOWHERE
    attempt: int = NEVER
    version: int = 0
    status: Status = Status()
    map: Map = Map()
    fresh: bool = True


class Left(NamedTuple):
    """How many faults of each kind may still come."""

    crashes: int = 0
    halts: int = 0
    lapses: int = 0
    lags: int = 0
    losses: int = 0
    moves: int = 0
    leaves: int = 0
    outages: int = 0
    restores: int = 0


class World(NamedTuple):
    """All of it. `ever` is history: by attempt, the clusters in which a pod of it was created."""

    map: Map
    leases: tuple[bool, ...]
    processes: tuple[Process, ...]
    object: Object
    pods: tuple[tuple[str, ...], ...]
    down: tuple[bool, ...]
    copy: tuple[int, tuple[str, ...]] | None
    """A cluster, and what was copied of it."""
    flight: tuple[Message, ...]
    left: Left
    ever: tuple[frozenset[int], ...]
