"""States of active nodes: each says what the node waits for and which state is next. A node that has not started or has
ended has no state.

Fields are only added at the end, with a default: statuses of earlier versions still decode, and an earlier version
ignores new fields (one of before `stopping` begins the next attempt without waiting for the last one to stop).
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from propeller.text import bounded
from propeller.workflow._events import MAX_REASON_CHARACTERS, NOT_REFUSED, Failure, Refusals, Remains


class NodeState(msgspec.Struct, frozen=True, array_like=True):
    """The base of all states."""

    holds_slot: ClassVar[bool] = False
    """Whether a node in this state uses one of the execution's slots."""
    waits_inside: ClassVar[bool] = False
    """Whether the node waits for nodes inside it and nothing else, or for somebody's answer."""

    @property
    def child_frame(self) -> int | None:
        """The number of the frame that runs inside the node."""
        return None


class AttemptState(NodeState, frozen=True, array_like=True):
    """The base of the states of a task's attempt that has not ended."""

    holds_slot: ClassVar[bool] = True

    attempt: int


class Launching(AttemptState, frozen=True, tag="L", array_like=True):
    """The create of the pod was requested. Next: Running on Launched, BackingOff on Refused, another attempt or the end
    on EffectFailed.
    """

    since: float
    refusals: Refusals = NOT_REFUSED
    lookup: bool = False
    """The cache is asked first. An earlier version launches without."""


class BackingOff(AttemptState, frozen=True, tag="W", array_like=True):
    """Waits after a rejected create, or for the pause before the next attempt. Next: Launching at `until`.

    With `stopping`, it also waits until everything that the last attempt has started has stopped.
    """

    until: float
    since: float
    reason: str
    refusals: Refusals = NOT_REFUSED
    stopping: bool = False
    lookup: bool = False
    """It waits for another node that computes the same; then the cache is asked again."""
    queued: bool = False
    """It is in a queue of the process that has the execution; a process that loads the execution asks again at once."""

    def __post_init__(self) -> None:
        if len(self.reason) > MAX_REASON_CHARACTERS:
            msgspec.structs.force_setattr(self, "reason", bounded(self.reason, MAX_REASON_CHARACTERS))


class Running(AttemptState, frozen=True, tag="R", array_like=True):
    """The pod exists. Next: Collecting when it succeeded, another attempt or the end when it failed or vanished.

    `until` is set if someone else deletes the pod, which may still succeed: then it is given up; also if its program
    has failed, and an uploader may still tell why. Else 0. `waits_for` says in which queue the pod is held by a
    scheduling gate, "" if it is not: that time does not count. `since` is when it was created, or released by that
    queue.
    """

    since: float
    started: bool = False
    until: float = 0.0
    waits_for: str = ""


class Collecting(AttemptState, frozen=True, tag="C", array_like=True):
    """The primary container succeeded and its outputs are being read; `remains` is what is left of the pod.

    Next: the end, RunningSubgraph for a dynamic task, or another attempt.
    """

    since: float
    remains: Remains = Remains.NOTHING


class Preparing(NodeState, frozen=True, tag="P", array_like=True):
    """Inputs are being stored (workflow, map task) or conditions evaluated (branch). Next: RunningSubgraph,
    RunningSubtasks, or the end.

    With a `reason`, everything that the last attempt has started has to stop first.
    """

    reason: str = ""


NO_FRAME: Final = -1


class RunningSubgraph(NodeState, frozen=True, tag="I", array_like=True):
    """The node waits for a frame inside it, or for the chosen case of a branch (`frame` is NO_FRAME). Next: its end.

    For a dynamic task, `since` is when its attempt began; 0 if a status of an earlier version does not say.
    """

    waits_inside: ClassVar[bool] = True

    frame: int
    attempt: int = 0
    since: float = 0.0

    @property
    def child_frame(self) -> int | None:
        return self.frame if self.frame >= 0 else None


RUNNING_CASE: Final = RunningSubgraph(NO_FRAME)
"""The state of a branch whose chosen case runs: a node of the branch's own graph."""


class RunningSubtasks(NodeState, frozen=True, tag="M", array_like=True):
    """Items of a map task run; `next` is the first that has not started. Next: WritingOutputs once enough ended."""

    waits_inside: ClassVar[bool] = True

    frame: int
    size: int
    next: int
    succeeded: int = 0
    failed: int = 0
    failure: Failure | None = None
    """That of the item that failed first, whose number is `first_failed`; -1 in a status of an earlier version."""
    first_failed: int = -1

    @property
    def child_frame(self) -> int | None:
        return self.frame


class WritingOutputs(NodeState, frozen=True, tag="G", array_like=True):
    """Outputs are being stored. `frame` is that of a map task's items. Next: the end."""

    frame: int = NO_FRAME

    @property
    def child_frame(self) -> int | None:
        return self.frame if self.frame >= 0 else None


class AtGate(NodeState, frozen=True, tag="T", array_like=True):
    """A gate waits for the end of a sleep, for a value or for an approval. `since` is when its attempt began; `problem`
    says why the last answer was not taken, "" if there was none. Next: OpeningGate, another attempt, or the end.
    """

    waits_inside: ClassVar[bool] = True  # nothing of it runs, and nothing behind it has ever begun

    since: float
    problem: str = ""

    def __post_init__(self) -> None:
        if len(self.problem) > MAX_REASON_CHARACTERS:
            msgspec.structs.force_setattr(self, "problem", bounded(self.problem, MAX_REASON_CHARACTERS))


class OpeningGate(NodeState, frozen=True, tag="O", array_like=True):
    """What a gate waited for has come; `value` is the signal's literal, serialized. The successors start once a status
    says so. Next: the end.
    """

    value: bytes = b""


State = (
    Launching
    | BackingOff
    | Running
    | Collecting
    | Preparing
    | RunningSubgraph
    | RunningSubtasks
    | WritingOutputs
    | AtGate
    | OpeningGate
)
