"""What an active node waits for. A state says what comes next; nodes that have not started or have ended have none.

Fields are only added at the end, with a default: statuses that earlier versions wrote still decode, and an earlier
version ignores what it does not know. It then does as it always did: begins the next attempt without waiting for the
last one to stop.
"""

from __future__ import annotations

import msgspec

from propeller.text import bounded
from propeller.workflow._events import MAX_REASON_CHARACTERS, NOT_REFUSED, Failure, Refusals, Remains


class Launching(msgspec.Struct, frozen=True, tag="L", array_like=True):
    """The create was asked for. Next: Running on Launched, BackingOff on Refused, another attempt or the end on
    EffectFailed.
    """

    attempt: int
    since: float
    refusals: Refusals = NOT_REFUSED


class BackingOff(msgspec.Struct, frozen=True, tag="W", array_like=True):
    """No room, a refusal, or a pause before the next attempt. Next: Launching when the time comes.

    `stopping`: it also waits until all that the last attempt has started has stopped.
    """

    attempt: int
    until: float
    since: float
    reason: str
    refusals: Refusals = NOT_REFUSED
    stopping: bool = False

    def __post_init__(self) -> None:
        if len(self.reason) > MAX_REASON_CHARACTERS:
            msgspec.structs.force_setattr(self, "reason", bounded(self.reason, MAX_REASON_CHARACTERS))


class Running(msgspec.Struct, frozen=True, tag="R", array_like=True):
    """The pod exists. Next: Collecting when it succeeded, another attempt or the end when it failed or vanished.

    `until`: somebody is deleting the pod, which may still succeed; when its grace is over, it is given up. Else 0.
    """

    attempt: int
    since: float
    started: bool = False
    until: float = 0.0


class Collecting(msgspec.Struct, frozen=True, tag="C", array_like=True):
    """The primary container succeeded and its outputs are being read; `remains` is what is left of the pod.

    Next: the end, RunningSubgraph for a dynamic task, or another attempt.
    """

    attempt: int
    since: float
    remains: Remains = Remains.NOTHING


class Preparing(msgspec.Struct, frozen=True, tag="P", array_like=True):
    """Inputs are being stored (workflow, map task) or conditions evaluated (branch). Next: RunningSubgraph, or the end.

    `reason`: before that, all that the last attempt has started has to stop.
    """

    reason: str = ""


class RunningSubgraph(msgspec.Struct, frozen=True, tag="I", array_like=True):
    """What is inside the node runs: a frame (`frame`), or a branch's chosen case (`frame` -1). Next: its end.

    Of a dynamic task, `since` is when its attempt began, 0 where a status from before this was kept does not say.
    """

    frame: int
    attempt: int = 0
    since: float = 0.0


class RunningSubtasks(msgspec.Struct, frozen=True, tag="M", array_like=True):
    """Items of a map task run; `next` is the first that has not started. Next: WritingOutputs once enough ended."""

    frame: int
    size: int
    next: int
    succeeded: int = 0
    failed: int = 0
    failure: Failure | None = None


class WritingOutputs(msgspec.Struct, frozen=True, tag="G", array_like=True):
    """Outputs are being stored. Next: the end."""

    frame: int = -1


State = Launching | BackingOff | Running | Collecting | Preparing | RunningSubgraph | RunningSubtasks | WritingOutputs
