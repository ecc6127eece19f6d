"""What a round wants done: each effect concerns one node, and ends as an event about it."""

from __future__ import annotations

import msgspec


class Effect(msgspec.Struct, frozen=True):
    """The base. `node` is the node's number in its execution."""

    node: int


class AttemptEffect(Effect, frozen=True):
    """The base of effects on one attempt of a task."""

    attempt: int


class Launch(AttemptEffect, frozen=True):
    """Resolve and store the inputs, then create the attempt's pod. → Launched, Refused, EffectFailed"""


class Recover(AttemptEffect, frozen=True):
    """Take over the outputs that an earlier execution left at `source`. → Recovered, NotRecovered, EffectFailed"""

    source: str


class ObserveAttempt(AttemptEffect, frozen=True):
    """Look for the resource of an attempt that was begun. → AttemptObserved, GONE if there is none.

    With `fresh` the server is asked, as the cache may still have an earlier one of that name.
    """

    fresh: bool = False


class Collect(AttemptEffect, frozen=True):
    """Read what an ended attempt left: futures, error or outputs.pb. → OutputsFound, FuturesFound, EffectFailed"""


class Expire(AttemptEffect, frozen=True):
    """An attempt's time is up: see whether its pod has come to an end all the same. → AttemptObserved, Expired"""


class StopAttempt(AttemptEffect, frozen=True):
    """Delete the attempt's resource, unless it ends by itself: it is the record. → Stopped; its end is not waited for.

    `urgent`: a status is written for it at once. Not for the sidecars of a task that has succeeded, which take no place
    of `max_parallelism` either.
    """

    urgent: bool = True


class WriteInputs(Effect, frozen=True):
    """Resolve the node's bindings and store its inputs. → InputsWritten, EffectFailed"""


class EvaluateBranch(Effect, frozen=True):
    """Evaluate a branch's conditions. → BranchEvaluated, EffectFailed"""


class WriteOutputs(Effect, frozen=True):
    """Resolve an end node's bindings and store them as its workflow's outputs. → OutputsWritten, EffectFailed"""


class GatherOutputs(Effect, frozen=True):
    """Collect the outputs of a map task's items into lists and store them. → OutputsWritten, EffectFailed"""
