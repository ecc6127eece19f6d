"""What a round learns: each event is about one node, and decides nothing by itself."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

from propeller.errors import ErrorKind
from propeller.text import MESSAGE_CHARACTERS, NAME_CHARACTERS, bounded

if TYPE_CHECKING:
    from propeller.workflow._plan import Graph


MAX_REASON_CHARACTERS = 1024
"""Of why a node waits: each of 100,000 nodes may wait, and a status holds all of it."""


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an attempt, a node or an execution failed. `recoverable` failures may be tried again within their kind's
    budget.

    What a task, a node's kubelet or a status has to say is bounded here, whatever way it came: begin and end are kept.
    """

    code: str
    message: str
    kind: ErrorKind = ErrorKind.USER
    recoverable: bool = False
    node: str = ""
    attempt: int = 0

    @property
    def is_system(self) -> bool:
        return self.kind is ErrorKind.SYSTEM

    def __post_init__(self) -> None:
        limits = {"code": NAME_CHARACTERS, "message": MESSAGE_CHARACTERS, "node": NAME_CHARACTERS}
        for field, limit in limits.items():
            if len(text := getattr(self, field)) > limit:
                msgspec.structs.force_setattr(self, field, bounded(text, limit))


class Refusals(msgspec.Struct, frozen=True, array_like=True):
    """What the creates of one attempt's pod have met so far: refused `tries` times in a row, the first time at `since`
    (epoch seconds), the last time for `reason`. `denied` is when the platform first denied what it denies still; 0 if
    it was no denial the last time.
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
    """How far the resource of an attempt, such as its pod, has come. GONE: it is not there any more."""

    PENDING = 0
    RUNNING = 1
    SUCCEEDED = 2
    FAILED = 3
    GONE = 4


class Remains(enum.IntEnum):
    """What is left of a pod: its containers may run on after the primary one has ended."""

    NOTHING = 0
    """It has a terminal phase, or is gone from the API server."""

    ENDING = 1
    """It ends without anybody's doing: it is being deleted, or nothing but native sidecars is left."""

    RUNNING = 2
    """Containers beside the primary one run on until the pod is deleted."""


class AttemptEvent(msgspec.Struct, frozen=True):
    """The base of events of one attempt of a node. A later attempt ignores them."""

    attempt: int


class Start(msgspec.Struct, frozen=True):
    """Every dependency of the node has ended well."""


class Resume(msgspec.Struct, frozen=True):
    """The execution was rebuilt from its checkpoint: ask again for what the state waits for."""


class AttemptObserved(AttemptEvent, frozen=True):
    """What the resource of an attempt shows, as the informer saw it last. `failure` is set if it failed. Of a pod,
    `phase` is the primary container's, and `remains` is about the whole. `grace` is how many seconds one that is ENDING
    may take to stop. `since` is when one that cannot start was assigned to its node, epoch seconds; 0 if it does not
    say.
    """

    phase: AttemptPhase
    reason: str = ""
    failure: Failure | None = None
    remains: Remains = Remains.NOTHING
    grace: float = 0.0
    since: float = 0.0


class Launched(AttemptEvent, frozen=True):
    """The attempt's pod exists."""


class Recovered(AttemptEvent, frozen=True):
    """What an earlier execution left is the attempt's result."""


class NotRecovered(AttemptEvent, frozen=True):
    """The earlier execution's outputs are not there: the attempt has to run."""


class Refused(AttemptEvent, frozen=True):
    """The pod cannot be created now: quota, throttling, a policy. Try again after `after` seconds."""

    reason: str
    after: float
    refusals: Refusals = NOT_REFUSED
    may_exist: bool = False
    """The create had no answer: its resource may be there all the same."""


class Granted(AttemptEvent, frozen=True):
    """The attempt has the tokens that it has waited for: it may be launched."""


class EffectFailed(AttemptEvent, frozen=True):
    """An effect could not be done, by our fault or the user's."""

    failure: Failure


class Expired(AttemptEvent, frozen=True):
    """The attempt's time is up, and its pod has not come to an end."""


class Stopped(AttemptEvent, frozen=True):
    """The attempt's pod was told to stop, and has `grace` seconds to, or it runs no more (0). Its place is free."""

    grace: float = 0.0


class AllStopped(msgspec.Struct, frozen=True):
    """No pod of the node's last attempt, nor of what that had started inside, runs any more."""


class OutputsFound(AttemptEvent, frozen=True):
    """The attempt wrote its outputs."""


class FuturesFound(AttemptEvent, frozen=True):
    """The attempt of a dynamic task wrote a workflow instead of outputs; `graph` is its plan."""

    graph: Graph


class InputsWritten(msgspec.Struct, frozen=True):
    """The node's inputs are stored. `size` is the number of items of a map task, 0 for others."""

    size: int = 0


class BranchEvaluated(msgspec.Struct, frozen=True):
    """A branch's conditions were evaluated: `case` is the id of the node to run."""

    case: str


class OutputsWritten(msgspec.Struct, frozen=True):
    """The node's own outputs (end node, map task) are stored."""


class ChildEnded(msgspec.Struct, frozen=True):
    """A node inside this one ended: an item of a map task, or the chosen case of a branch."""

    child: int
    failure: Failure | None = None


class SubgraphEnded(msgspec.Struct, frozen=True):
    """The workflow inside this node ended."""

    failure: Failure | None = None


class TimerFired(msgspec.Struct, frozen=True):
    """A time that the node asked to be woken at has come."""


class Cancel(msgspec.Struct, frozen=True):
    """Stop: the execution was aborted, or failed elsewhere."""

    reason: str


NodeEvent = (
    Start
    | Resume
    | AttemptObserved
    | Launched
    | Recovered
    | NotRecovered
    | Refused
    | Granted
    | EffectFailed
    | Expired
    | Stopped
    | AllStopped
    | OutputsFound
    | FuturesFound
    | InputsWritten
    | BranchEvaluated
    | OutputsWritten
    | ChildEnded
    | SubgraphEnded
    | TimerFired
    | Cancel
)
