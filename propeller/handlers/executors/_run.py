"""Run effects: one executor per effect type does its I/O and returns events about its node. `execute` never raises.

Guarantees
    Every effect is idempotent: resources have fixed names, blobs have fixed locations and content.
    The failure of an effect concerns its own node alone: errors become events, with their kind and the remedy.
    Errors that a retry may fix are retried with growing pauses for `effects.retry_budget` seconds before they become a
    failure: an attempt that succeeded is not repeated because the object store was unavailable for a while. An effect
    that waits for its retry does not occupy a worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, NamedTuple

from propeller.errors import CorruptBlob, Denied, ErrorKind, Invalid, MissingBlob, PropellerError, Retryable
from propeller.handlers.executors._attempts import expire, observe, stop
from propeller.handlers.executors._branch import choose
from propeller.handlers.executors._caching import look_up, populate, reserve
from propeller.handlers.executors._children import collect_child, launch_child
from propeller.handlers.executors._inline import run_without_suspending
from propeller.handlers.executors._job_effects import follow
from propeller.handlers.executors._launches import launch
from propeller.handlers.executors._outcome import collect, declared_outputs, recover
from propeller.handlers.executors._outputs import gather_outputs, write_gate_outputs, write_outputs
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
    Follow,
    GatherOutputs,
    InputsWritten,
    Launch,
    LookUp,
    NodeEvent,
    NodeView,
    ObserveAttempt,
    OpenGate,
    OutputsWritten,
    Populate,
    Recover,
    Reserve,
    StopAttempt,
    Stopped,
    WriteInputs,
    WriteOutputs,
)

_log = logging.getLogger(__name__)

_OF_BEGUN = (ObserveAttempt, Expire, StopAttempt)
"""Effects on an attempt whose resource exists: they are retried without a limit."""

_OF_FEW_BLOBS: frozenset[type[Effect]] = frozenset({Collect, LookUp, Populate, WriteOutputs, EvaluateBranch})


Executor = Callable[[NodeView, Any, Services], Coroutine[Any, Any, tuple[NodeEvent, ...]]]


class RetryState(NamedTuple):
    """Tries of an effect so far, and the seconds waited between them."""

    number: int = 0
    waited: float = 0.0


NOT_RETRIED = RetryState()


class RetryAfter(NamedTuple):
    """The effect has to be retried: call `execute` again in `after` seconds, with these `tries`."""

    after: float
    tries: RetryState
    error: PropellerError


async def execute(
    node: NodeView, effect: Effect, services: Services, tries: RetryState = NOT_RETRIED
) -> tuple[NodeEvent, ...] | RetryAfter:
    """Run one effect and return its events. `tries` are the earlier ones."""
    if tries.number and _is_obsolete(node, effect):
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
            return RetryAfter(pause, RetryState(tries.number + 1, tries.waited + pause), error)
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


def _is_obsolete(node: NodeView, effect: Effect) -> bool:
    """Whether the effect is not needed any more: after the execution's end only stops are."""
    return (node.execution.phase.ended or node.execution.dropped) and not isinstance(effect, StopAttempt)


def try_execute_inline(node: NodeView, effect: Effect, services: Services) -> tuple[NodeEvent, ...] | None:
    """Run an effect that reads or writes a few blobs of a local store. Return None if it would have to wait, or fails:
    `execute` then runs it from the beginning.
    """
    if type(effect) not in _OF_FEW_BLOBS:
        return None
    if not services.storage.is_local(node.execution.info.directory):
        return None
    try:
        return run_without_suspending(EXECUTORS[type(effect)](node, effect, services))
    except Exception:  # noqa: BLE001 - `execute` runs into it again, and handles it
        return None


def failure_of(error: PropellerError, node: NodeView) -> Failure:
    """Convert an error to the failure of its node, with Flyte's code if there is one."""
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


async def open_gate(node: NodeView, effect: OpenGate, services: Services) -> tuple[NodeEvent, ...]:
    await write_gate_outputs(node, effect, services.inputs, services.storage)
    return (OutputsWritten(),)


async def gather(node: NodeView, effect: GatherOutputs, services: Services) -> tuple[NodeEvent, ...]:
    assert node.spec.array is not None
    item, plan = node.spec.array.sub_node_spec, node.graph.plan
    names: Collection[str]
    if item.launch_plan is not None:
        names = (await services.launch_plans.find(item.launch_plan, plan.launch_plans)).outputs
    else:
        names = plan.task(item.task).interface.outputs.variables.keys()
    await gather_outputs(node, names, services.storage)
    return (OutputsWritten(),)


async def choose_case(node: NodeView, effect: EvaluateBranch, services: Services) -> tuple[NodeEvent, ...]:
    return (choose(node, await services.inputs.resolve(node)),)


async def launch_attempt(node: NodeView, effect: Launch, services: Services) -> tuple[NodeEvent, ...]:
    if node.spec.workflow is not None:
        return await launch_child(node, effect, services)
    return await launch(node, effect, services)


async def collect_attempt(node: NodeView, effect: Collect, services: Services) -> tuple[NodeEvent, ...]:
    if node.spec.workflow is not None:
        return await collect_child(node, effect, services)
    return (await collect(node, effect.attempt, services.storage, services.launch_plans),)


async def recover_attempt(node: NodeView, effect: Recover, services: Services) -> tuple[NodeEvent, ...]:
    if node.spec.workflow is not None:
        declared: Collection[str] = (await services.launch_plans.of(node)).outputs
    else:
        declared = declared_outputs(node)
    return (await recover(node, effect, declared, services.storage),)


EXECUTORS: Mapping[type[Effect], Executor] = {
    Launch: launch_attempt,
    Recover: recover_attempt,
    LookUp: look_up,
    Populate: populate,
    Reserve: reserve,
    ObserveAttempt: observe,
    Expire: expire,
    Follow: follow,
    StopAttempt: stop,
    WriteInputs: write_inputs,
    WriteOutputs: write_node_outputs,
    GatherOutputs: gather,
    OpenGate: open_gate,
    EvaluateBranch: choose_case,
    Collect: collect_attempt,
}
