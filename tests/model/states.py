"""The state of the model: an API server, controllers with their caches, requests in flight.

Each record names the part of propeller that it models. All are tuples: hashed and compared at C's speed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# Of a pod, as the API server has it. A name that was used and is free again is remembered, for the invariants alone:
# to the server and to caches the phases after STOPPING are no pod.
ABSENT: Final = "absent"
RUNNING: Final = "running"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
LINGERS_WELL: Final = "ended well, but for its sidecar"
LINGERS_BADLY: Final = "failed, but for its sidecar"
LEAVING: Final = "being deleted by somebody else"
STOPPING: Final = "being deleted"
STOPPED: Final = "stopped"
VANISHED: Final = "vanished"
DROPPED: Final = "ended well and deleted"

ALIVE: Final = frozenset({RUNNING, LINGERS_WELL, LINGERS_BADLY})
"""handlers/plugins/pod/_report.py: is_alive."""
UNSTOPPED: Final = ALIVE | {LEAVING, STOPPING}
EXISTING: Final = UNSTOPPED | {SUCCEEDED, FAILED}

# Of a node (workflow/_states.py: State; workflow/_execution.py: NodePhase). RUNNING, SUCCEEDED and FAILED as above.
NOT_STARTED: Final = "not started"
LAUNCHING: Final = "launching"
WAITING: Final = "waiting"
ABORTED: Final = "aborted"

ACTIVE: Final = frozenset({LAUNCHING, WAITING, RUNNING})

# Of an execution (WorkflowPhase).
READY: Final = "ready"
FAILING: Final = "failing"
ENDED: Final = frozenset({SUCCEEDED, FAILED, ABORTED})


Effect = tuple[str, int, int]
"""(kind, node, attempt)"""

LAUNCH: Final = "launch"
ADOPT: Final = "adopt"
STOP: Final = "stop"
SWEEP: Final = "sweep"
WRITE: Final = "write"


class Pod(NamedTuple):
    """The pod of one attempt. `system` is its annotation `propeller/system-failures`."""

    owner: int = 0
    phase: str = ABSENT
    system: int = 0

    @property
    def exists(self) -> bool:
        return self.phase in EXISTING


class Node(NamedTuple):
    """One node of an execution. `looks` is the timer of `unseen_after`, which is in no status. With `stopping`, it is
    WAITING for the pod of the attempt before to stop.
    """

    state: str = NOT_STARTED
    attempt: int = 0
    system: int = 0
    started: bool = False
    looks: bool = False
    stopping: bool = False


class Status(NamedTuple):
    """The content of a checkpoint (status/_snapshot.py: Snapshot)."""

    phase: str = READY
    nodes: tuple[Node, ...] = ()

    @property
    def ended(self) -> bool:
        return self.phase in ENDED


class Object(NamedTuple):
    """The FlyteWorkflow. `cancelled` is its deletionTimestamp."""

    uid: int
    version: int
    status: Status = Status()
    cancelled: bool = False


class Live(NamedTuple):
    """An execution in memory (controller/_session.py: Running)."""

    uid: int
    version: int
    mark: Status
    phase: str
    nodes: tuple[Node, ...]
    observed: tuple[tuple[int, int], ...]
    """(attempt, system failures) of each node, as pods showed when it was loaded."""
    dirty: bool = False
    waiting: tuple[Effect, ...] = ()
    """Stops, and the launch of a failure node, that wait for a status (controller/_session.py: deferred)."""
    writing: bool = False
    written: bool = False
    """Whether its end is (controller/_session.py: Ended)."""


class Process(NamedTuple):
    """A controller: its two caches, and the execution in its memory."""

    object: Object
    pods: tuple[Pod, ...]
    live: Live | None = None
    fence: tuple[int, int] | None = None
    """(uid, version) of controller/_executions.py: stale_until."""
    loaded: int = 0
    """The uid whose closure it has used up (controller/_plans.py): to load it again it has to be read again."""


QUEUED: Final = "queued"  # an effect that no request was sent for yet
SENT: Final = "sent"
ANSWERED: Final = "answered"

NOBODY: Final = -1


class Write(NamedTuple):
    """A status to be written onto a version, and the effects that wait for it."""

    uid: int
    version: int
    status: Status
    waiting: tuple[Effect, ...]


class Message(NamedTuple):
    """An effect or its request, from when it was begun to when its answer was taken.

    `by` is NOBODY once the sender does not wait for the answer; nobody does for that of a stop. `forgotten` is a launch
    of an execution that the sender has dropped from memory since.
    """

    kind: str
    by: int
    step: str
    uid: int
    node: int = -1
    attempt: int = -1
    system: int = 0
    write: Write | None = None
    pod: Pod | None = None
    """Of an answer: the pod that was found; None where it was created."""
    object: Object | None = None
    """Of an answer to a write: the object as written, or as it is where that was refused."""
    refused: bool = False
    forgotten: bool = False


class Left(NamedTuple):
    """How many faults of each kind may still come."""

    crashes: int = 0
    losses: int = 0
    touches: int = 0
    ends: int = 0
    aborts: int = 0
    recreations: int = 0
    vanishings: int = 0
    defects: int = 0


class World(NamedTuple):
    """All of it. `done` is history: by node, 1 + the attempt that some process took for its success, 0 for none."""

    object: Object
    pods: tuple[Pod, ...]
    processes: tuple[Process, ...]
    flight: tuple[Message, ...]
    left: Left
    done: tuple[int, ...]
