"""Effects: what the executors do after a decision. Each concerns one node, and ends as an event of that node."""

from __future__ import annotations

import msgspec


class Effect(msgspec.Struct, frozen=True):
    """The base of all effects. `node` is the node's number in its execution."""

    node: int


class AttemptEffect(Effect, frozen=True):
    """The base of effects on one attempt of a task."""

    attempt: int


class Launch(AttemptEffect, frozen=True):
    """Resolve and store the inputs, then create the attempt's pod. → Launched, Refused, EffectFailed"""


class Recover(AttemptEffect, frozen=True):
    """Take over the outputs that an earlier execution left at `source`. → Recovered, NotRecovered, EffectFailed"""

    source: str


class LookUp(AttemptEffect, frozen=True):
    """Look for cached outputs of the same task and inputs, and take them over. → CacheAnswered, CacheReserved"""


class Populate(AttemptEffect, frozen=True):
    """Cache the outputs of an attempt that has succeeded. → Populated, whatever happens"""


class Reserve(AttemptEffect, frozen=True):
    """Keep the reservation of a node whose attempt runs: the process that held it has ended. → nothing"""


class ObserveAttempt(AttemptEffect, frozen=True):
    """Look for the resource of an attempt that had begun. → AttemptObserved, GONE if it does not exist.

    With `fresh`, ask the API server: the cache may still have an earlier resource of the same name.
    """

    fresh: bool = False


class Follow(AttemptEffect, frozen=True):
    """Look at the attempt's job until it ends; begins once a status has the job's id. → JobSeen, AttemptObserved"""


class Collect(AttemptEffect, frozen=True):
    """Read futures.pb, error.pb or outputs.pb of an ended attempt. → OutputsFound, FuturesFound, EffectFailed"""


class Expire(AttemptEffect, frozen=True):
    """Check whether the pod of an attempt whose deadline has passed has ended. → AttemptObserved, Expired"""


class StopAttempt(AttemptEffect, frozen=True):
    """Delete the attempt's resource, unless it ends by itself: it is the record. → Stopped, before the pod has ended.

    If `urgent`, a status is written for it at once, and the attempt keeps its slot until the delete was sent. The
    sidecars of a task that has succeeded are not urgent and use no slot.
    """

    urgent: bool = True


class WriteInputs(Effect, frozen=True):
    """Resolve the node's bindings and store its inputs. → InputsWritten, EffectFailed"""


class EvaluateBranch(Effect, frozen=True):
    """Evaluate a branch's conditions. → BranchEvaluated, EffectFailed"""


class AwaitSignal(Effect, frozen=True):
    """Look for the answer to a gate, now and whenever the execution's object changes. → Signalled, each time that it is
    another one. With `begins`, the gate waits from now on.
    """

    begins: bool = False


class OpenGate(Effect, frozen=True):
    """Store the outputs of a gate: the literal `value`, or what was approved. → OutputsWritten, EffectFailed

    It starts once a status says that the gate opens: an answer that changes after a crash is no answer any more.
    """

    value: bytes = b""


class WriteOutputs(Effect, frozen=True):
    """Resolve an end node's bindings and store them as its workflow's outputs. → OutputsWritten, EffectFailed"""


class GatherOutputs(Effect, frozen=True):
    """Collect the outputs of a map task's items into lists and store them. → OutputsWritten, EffectFailed"""
