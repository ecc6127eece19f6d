"""Events of nodes, the input of `decide`. Each belongs to one node or to the execution, and decides nothing itself."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

from propeller.errors import ErrorKind
from propeller.text import MESSAGE_CHARACTERS, NAME_CHARACTERS, bounded
from propeller.workflow._caching import CacheStatus
from propeller.workflow._jobs import Job

if TYPE_CHECKING:
    from propeller.workflow._plan import Graph


MAX_REASON_CHARACTERS = 1024
"""Of the reason why a node waits: 100,000 nodes may wait, and the status holds the reason of each."""


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an attempt, a node or an execution failed. `recoverable` failures are retried within their kind's budget.

    Texts of a task, a kubelet or a status are shortened here, from whatever source: their beginning and end are kept.
    """

    code: str
    message: str
    kind: ErrorKind = ErrorKind.USER
    recoverable: bool = False
    node: str = ""
    attempt: int = 0
    evicted: bool = False
    """Whether a queue took the attempt's pod back, to run it again later, or its cluster was given up: that uses up no
    retry at all.
    """

    @property
    def is_system(self) -> bool:
        return self.kind is ErrorKind.SYSTEM

    def __post_init__(self) -> None:
        limits = {"code": NAME_CHARACTERS, "message": MESSAGE_CHARACTERS, "node": NAME_CHARACTERS}
        for field, limit in limits.items():
            if len(text := getattr(self, field)) > limit:
                msgspec.structs.force_setattr(self, field, bounded(text, limit))


class Refusals(msgspec.Struct, frozen=True, array_like=True):
    """The rejections of the creates of one attempt's pod: `tries` in a row, the first at `since` (epoch seconds), the
    last one for `reason`. `denied` is when the denials (403, 401) began that last until now; 0 if the last
    rejection was no denial.
    """

    tries: int = 0
    since: float = 0.0
    denied: float = 0.0
    reason: str = ""

    def __post_init__(self) -> None:
        if len(self.reason) > MAX_REASON_CHARACTERS:
            msgspec.structs.force_setattr(self, "reason", bounded(self.reason, MAX_REASON_CHARACTERS))


NOT_REFUSED = Refusals()


class AttemptPhase(enum.IntEnum):
    """The phase of the resource of an attempt, such as its pod. GONE: it does not exist any more."""

    PENDING = 0
    RUNNING = 1
    SUCCEEDED = 2
    FAILED = 3
    GONE = 4


class Remains(enum.IntEnum):
    """Which containers of a pod still run after its primary container has ended."""

    NOTHING = 0
    """None: the pod has a terminal phase, or is deleted."""

    ENDING = 1
    """Some, and they will end without a delete: the pod is being deleted, or only native sidecars are left."""

    RUNNING = 2
    """Containers besides the primary one, until the pod is deleted."""


class AttemptEvent(msgspec.Struct, frozen=True):
    """The base of events of one attempt of a node. A later attempt ignores them."""

    attempt: int


class Start(msgspec.Struct, frozen=True):
    """Every dependency of the node has ended well."""


class Resume(msgspec.Struct, frozen=True):
    """The execution was loaded from its checkpoint: ask again for everything that the state waits for."""


class AttemptObserved(AttemptEvent, frozen=True):
    """The state of an attempt's resource in the informer's cache; `failure` is set if it failed, or will have failed: a
    pod that is PENDING cannot start, of one that is RUNNING only containers go on that may tell why.

    For a pod, `phase` is that of the primary container and `remains` is about all containers. `grace` is how many
    seconds a pod that is ENDING may take to stop. `since` is when a pod that cannot start was assigned to its node
    (epoch seconds; 0 if unknown). `gated`: the pod is PENDING because a queue holds it, and `reason` says which: it
    waits, however long that takes.
    """

    phase: AttemptPhase
    reason: str = ""
    failure: Failure | None = None
    remains: Remains = Remains.NOTHING
    grace: float = 0.0
    since: float = 0.0
    gated: bool = False


class Launched(AttemptEvent, frozen=True):
    """The attempt's pod exists."""


class Submitted(AttemptEvent, frozen=True):
    """A remote service runs the attempt, as `job`."""

    job: Job


class JobSeen(AttemptEvent, frozen=True):
    """A look at the attempt's job, which has not ended."""

    job: Job


class Recovered(AttemptEvent, frozen=True):
    """The outputs of an earlier execution are the attempt's result."""


class NotRecovered(AttemptEvent, frozen=True):
    """The earlier execution has no outputs: the attempt has to run."""


class CacheAnswered(AttemptEvent, frozen=True):
    """The cache has outputs, and they are the attempt's (HIT); or the attempt has to run (MISS, LOOKUP_FAILURE)."""

    status: CacheStatus


class CacheReserved(AttemptEvent, frozen=True):
    """Another node computes the same at this moment: ask again after `after` seconds, or when Granted."""

    reason: str
    after: float


class Populated(AttemptEvent, frozen=True):
    """The attempt's outputs are cached (POPULATED), or could not be (PUT_FAILURE)."""

    status: CacheStatus


class Refused(AttemptEvent, frozen=True):
    """The pod cannot be created now: quota, throttling, a policy. Try again after `after` seconds."""

    reason: str
    after: float
    refusals: Refusals = NOT_REFUSED
    may_exist: bool = False
    """The create had no response: the resource may exist all the same."""
    repeats: bool = False
    """It says what the last one did, in newer numbers: no status is written for that."""
    queued: bool = False
    """No create was sent: the attempt is in a queue of this process, which has it ask again (Granted)."""


class Granted(AttemptEvent, frozen=True):
    """The attempt has the tokens that it waited for: it may be launched."""


class EffectFailed(AttemptEvent, frozen=True):
    """An effect failed, by the system's fault or the user's (`failure.kind`)."""

    failure: Failure


class Lost(AttemptEvent, frozen=True):
    """The cluster of the attempt is given up: what runs there may go on, and its result does not count."""

    failure: Failure


class Expired(AttemptEvent, frozen=True):
    """The attempt's deadline has passed, and its pod has not ended. `why` says what may have kept it, "" if unknown."""

    why: str = ""


class Stopped(AttemptEvent, frozen=True):
    """The delete of the pod was sent: it has `grace` seconds to stop, or has stopped (0). Its slot is free."""

    grace: float = 0.0


class AllStopped(msgspec.Struct, frozen=True):
    """No pod of the node's last attempt runs any more, nor a pod of a node inside it."""


class OutputsFound(AttemptEvent, frozen=True):
    """The attempt wrote its outputs."""


class FuturesFound(AttemptEvent, frozen=True):
    """The attempt of a dynamic task wrote a workflow instead of outputs; `graph` is its plan."""

    graph: Graph


class InputsWritten(msgspec.Struct, frozen=True):
    """The node's inputs are stored. `size` is the number of items of a map task, else 0."""

    size: int = 0


class BranchEvaluated(msgspec.Struct, frozen=True):
    """A branch's conditions were evaluated: `case` is the id of the node to run."""

    case: str


class Signalled(msgspec.Struct, frozen=True):
    """Somebody has answered a gate with this text."""

    text: str


class OutputsWritten(msgspec.Struct, frozen=True):
    """The node's own outputs (end node, map task, gate) are stored."""


class ChildEnded(msgspec.Struct, frozen=True):
    """A node inside this one ended: an item of a map task, or the chosen case of a branch."""

    child: int
    failure: Failure | None = None


class SubgraphEnded(msgspec.Struct, frozen=True):
    """The workflow inside this node ended."""

    failure: Failure | None = None


class TimerFired(msgspec.Struct, frozen=True):
    """A time that the node had set a timer for has come."""


class Cancel(msgspec.Struct, frozen=True):
    """Stop: the execution was aborted, or failed elsewhere."""

    reason: str


NodeEvent = (
    Start
    | Resume
    | AttemptObserved
    | Launched
    | Submitted
    | JobSeen
    | Recovered
    | NotRecovered
    | CacheAnswered
    | CacheReserved
    | Populated
    | Refused
    | Granted
    | EffectFailed
    | Lost
    | Expired
    | Stopped
    | AllStopped
    | OutputsFound
    | FuturesFound
    | InputsWritten
    | BranchEvaluated
    | Signalled
    | OutputsWritten
    | ChildEnded
    | SubgraphEnded
    | TimerFired
    | Cancel
)
