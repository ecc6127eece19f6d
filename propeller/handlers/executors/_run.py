"""The I/O side: one executor for each effect type. Each ends with events about its node, and never raises.

Guarantees
    Every effect may be done again, and then changes nothing: resources have fixed names, blobs have fixed places and
    content. An effect's failure concerns its own node alone: errors become events, with their kind and what mends them.
    What a retry may mend is tried again, with growing pauses, for `effects.retry_budget` seconds before it becomes a
    failure: an attempt that has ended well is not done again because the object store was away for a while. An effect
    that pauses takes nobody's place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple

from propeller.errors import CorruptBlob, Denied, ErrorKind, Invalid, MissingBlob, PropellerError, Retryable
from propeller.handlers.executors._at_once import at_once
from propeller.handlers.executors._attempts import expire, launch, observe, stop
from propeller.handlers.executors._branch import choose
from propeller.handlers.executors._outcome import collect, recover
from propeller.handlers.executors._outputs import gather_outputs, write_outputs
from propeller.handlers.executors._services import Services
from propeller.handlers.plugins import DEFAULT_GRACE
from propeller.workflow import (
    AttemptEffect,
    Collect,
    Effect,
    EffectFailed,
    EvaluateBranch,
    Expire,
    Failure,
    GatherOutputs,
    InputsWritten,
    Launch,
    NodeEvent,
    NodeView,
    ObserveAttempt,
    OutputsWritten,
    Recover,
    StopAttempt,
    Stopped,
    WriteInputs,
    WriteOutputs,
)

_log = logging.getLogger(__name__)

_OF_BEGUN = (ObserveAttempt, Expire, StopAttempt)
"""Of an attempt whose resource exists."""

_OF_FEW_BLOBS: frozenset[type[Effect]] = frozenset({Collect, WriteOutputs, EvaluateBranch})


Executor = Callable[[NodeView, Any, Services], Coroutine[Any, Any, tuple[NodeEvent, ...]]]


class Tries(NamedTuple):
    """How often an effect was tried, and the seconds that were waited in between."""

    number: int = 0
    waited: float = 0.0


UNTRIED = Tries()


class Later(NamedTuple):
    """Nothing came of it now: call `act` again `after` so many seconds, with these `tries`."""

    after: float
    tries: Tries
    error: PropellerError


async def act(
    node: NodeView, effect: Effect, services: Services, tries: Tries = UNTRIED
) -> tuple[NodeEvent, ...] | Later:
    """Do one effect; returns what became of it. `tries` are those before."""
    if tries.number and _is_vain(node, effect):
        return ()
    try:
        return await EXECUTORS[type(effect)](node, effect, services)
    except (Retryable, Denied) as error:
        if isinstance(effect, _OF_BEGUN) or (
            isinstance(error, Retryable) and tries.waited < services.effects.retry_budget
        ):
            asked = error.after if isinstance(error, Retryable) else None
            growing = services.effects.backoff * 2 ** min(tries.number, 10)
            pause = max(asked or 0.0, min(growing, services.effects.backoff_cap))
            return Later(pause, Tries(tries.number + 1, tries.waited + pause), error)
        failure = failure_of(error, node)
    except PropellerError as error:
        failure = failure_of(error, node)
    except Exception as error:  # noqa: BLE001 - a defect of ours must not leave its node waiting for ever
        _log.exception("%s: %s failed", node.log_name, type(effect).__name__)
        failure = Failure("InternalError", f"{type(error).__name__}: {error}", ErrorKind.SYSTEM, recoverable=True)
    attempt = effect.attempt if isinstance(effect, AttemptEffect) else 0
    if isinstance(effect, StopAttempt):
        _log.warning("%s: what attempt %d has started may go on: %s", node.log_name, attempt, failure.message)
        return (Stopped(attempt, DEFAULT_GRACE),)
    return (EffectFailed(attempt, failure),)


def _is_vain(node: NodeView, effect: Effect) -> bool:
    """Whether nobody waits for an effect any more: only a stop matters after the end."""
    return (node.execution.phase.ended or node.execution.dropped) and not isinstance(effect, StopAttempt)


def act_now(node: NodeView, effect: Effect, services: Services) -> tuple[NodeEvent, ...] | None:
    """Do an effect that has a few blobs to read or write where these are at hand; None where it has to be waited for,
    or fails: `act` does it then, from its beginning.
    """
    if type(effect) not in _OF_FEW_BLOBS:
        return None
    if not services.storage.is_at_hand(node.execution.info.directory):
        return None
    try:
        return at_once(EXECUTORS[type(effect)](node, effect, services))
    except Exception:  # noqa: BLE001 - whatever it is, `act` comes to it again, and knows what to make of it
        return None


def failure_of(error: PropellerError, node: NodeView) -> Failure:
    """An error as the failure of the node it happened to, in Flyte's codes where it has one."""
    return Failure(
        _CODES.get(type(error), type(error).__name__),
        str(error),
        error.kind,
        recoverable=isinstance(error, Retryable | CorruptBlob),
        node=node.execution.unique_id(node.number),
    )


_CODES: Mapping[type[PropellerError], str] = {
    CorruptBlob: "CorruptData",
    Invalid: "BindingResolutionFailure",
    MissingBlob: "BindingResolutionFailure",
}


async def write_inputs(node: NodeView, effect: WriteInputs, services: Services) -> tuple[NodeEvent, ...]:
    return (InputsWritten(await services.inputs.of_container_node(node)),)


async def write_node_outputs(node: NodeView, effect: WriteOutputs, services: Services) -> tuple[NodeEvent, ...]:
    await write_outputs(node, services.inputs, services.storage)
    return (OutputsWritten(),)


async def gather(node: NodeView, effect: GatherOutputs, services: Services) -> tuple[NodeEvent, ...]:
    await gather_outputs(node, services.storage)
    return (OutputsWritten(),)


async def choose_case(node: NodeView, effect: EvaluateBranch, services: Services) -> tuple[NodeEvent, ...]:
    return (choose(node, await services.inputs.resolve(node)),)


async def collect_attempt(node: NodeView, effect: Collect, services: Services) -> tuple[NodeEvent, ...]:
    return (await collect(node, effect.attempt, services.storage),)


async def recover_attempt(node: NodeView, effect: Recover, services: Services) -> tuple[NodeEvent, ...]:
    return (await recover(node, effect, services.storage),)


EXECUTORS: Mapping[type[Effect], Executor] = {
    Launch: launch,
    Recover: recover_attempt,
    ObserveAttempt: observe,
    Expire: expire,
    StopAttempt: stop,
    WriteInputs: write_inputs,
    WriteOutputs: write_node_outputs,
    GatherOutputs: gather,
    EvaluateBranch: choose_case,
    Collect: collect_attempt,
}
