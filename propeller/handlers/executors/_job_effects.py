"""Launch, follow, expire and stop attempts that are jobs of remote services.

Guarantees
    The order of a launch is that of pods: what was refused before (`Gates`), then tokens of pools; quotas and load of
    an API server have no say. Who waits holds no worker, and says so in the status.
    The FlyteWorkflow is held by a finalizer before the service is asked for a job.
    A job whose attempt was given up while it was created is deleted once a status has its id, so that no crash leaves
    it running. If its execution has ended, or was loaded again meanwhile, `RemoteJobs` has it.
"""

from __future__ import annotations

import logging

import msgspec

from propeller.connectors import Nobody, Unknown
from propeller.errors import (
    Denied,
    ErrorKind,
    Invalid,
    Malformed,
    NotFound,
    PropellerError,
    Rejected,
    Retryable,
    StorageError,
)
from propeller.handlers.executors._gates import refusals_of, refused_event
from propeller.handlers.executors._given_up import is_given_up
from propeller.handlers.executors._jobs import BROKEN, RemoteJobs
from propeller.handlers.executors._outcome import has_ended
from propeller.handlers.executors._services import Services
from propeller.handlers.plugins import JobState, RemotePlugin, RemoteTask
from propeller.workflow import (
    MAX_ID_BYTES,
    AttemptObserved,
    AttemptPhase,
    EffectFailed,
    Expire,
    Expired,
    Failure,
    Follow,
    Job,
    Launch,
    NodeEvent,
    NodeView,
    Refusals,
    Refused,
    StopAttempt,
    Stopped,
    Submitted,
)

_log = logging.getLogger(__name__)

LOOK_AGAIN = 5.0
"""Seconds after which an attempt asks again who runs its type."""

NOBODY = "NoConnector"
"""Error code of a task whose type nobody runs."""


async def launch_job(
    node: NodeView, effect: Launch, found: RemotePlugin | Unknown | Nobody, jobs: RemoteJobs, services: Services
) -> tuple[NodeEvent, ...]:
    """Start an attempt by the plugin that was found for it."""
    if isinstance(found, Nobody):
        return (EffectFailed(effect.attempt, Failure(NOBODY, found.why)),)
    if isinstance(found, Unknown):
        return (_waits(node, effect.attempt, found.why, services),)
    events: tuple[NodeEvent, ...] = ()
    try:
        events = await _launch(node, effect.attempt, found, jobs, services)
    except StorageError as error:  # nothing was started yet: the attempt waits, and its state says for what
        after = error.after or services.effects.storage_retry
        now, denied = services.gates.clock.now(), refusals_of(node).denied
        events = (refused_event(node, effect.attempt, error, after, now, denied=denied),)
    finally:
        if services.tokens is not None:
            services.tokens.answered(node, effect.attempt, events)
    return events


def _waits(node: NodeView, attempt: int, why: str, services: Services) -> Refused:
    before = refusals_of(node)
    refusals = Refusals(before.tries, before.since or services.gates.clock.now(), before.denied, why)
    return Refused(attempt, why, LOOK_AGAIN, refusals, repeats=before.reason == why)


async def _launch(
    node: NodeView, attempt: int, plugin: RemotePlugin, jobs: RemoteJobs, services: Services
) -> tuple[NodeEvent, ...]:
    if (held := services.gates.hold(node)) is not None:
        refusals = refusals_of(node)
        return (Refused(attempt, refusals.reason, held, refusals),)
    if services.tokens is not None and (wait := await services.tokens.ask(node, attempt)) is not None:
        return (wait,)
    inputs = await services.inputs.of_task(node)
    declared = node.graph.plan.task(node.spec.task)
    task = RemoteTask(node, attempt, inputs, services.pod_settings)
    has_outputs = bool(declared.interface.outputs.variables)
    if has_outputs and await has_ended(task.output_prefix, services.storage):
        return (AttemptObserved(attempt, AttemptPhase.SUCCEEDED),)  # an earlier process has run it
    try:
        await jobs.hold(node.execution.info)
        if is_given_up(node, attempt):
            return ()
        created = await jobs.create(plugin, task)
    except NotFound as error:
        return (_failed(attempt, error),)
    except (Invalid, Malformed) as error:
        return (EffectFailed(attempt, Failure("FailedToBuildResource", str(error))),)
    except (Retryable, Denied) as error:
        pause = services.gates.refused(node, str(error))
        after = max(pause, error.after or 0.0) if isinstance(error, Retryable) else pause
        refused = refused_event(node, attempt, error, after, services.gates.clock.now(), denied=0.0)
        return (msgspec.structs.replace(refused, may_exist=isinstance(error, Retryable)),)
    except Rejected as error:
        return (_failed(attempt, error),)
    except PropellerError as error:
        return (_failed(attempt, error),)
    services.gates.passed(node)
    if isinstance(created, JobState):
        return await _ran(created, task, jobs, has_outputs=has_outputs)
    if len(created.id) <= MAX_ID_BYTES:
        return (Submitted(attempt, created),)
    jobs.abandon(task.uid, task.name, created)
    why = f"the service's id of the job has {len(created.id)} bytes, and may have {MAX_ID_BYTES}"
    return (EffectFailed(attempt, Failure(BROKEN, why, ErrorKind.SYSTEM)),)


async def _ran(state: JobState, task: RemoteTask, jobs: RemoteJobs, *, has_outputs: bool) -> tuple[NodeEvent, ...]:
    """Return how an attempt has ended that was run within one call."""
    ended = await jobs.ran(state, task, has_outputs=has_outputs)
    if ended is None:
        why = f"the service has run the task in one call, and says that it is {state.word}: that is no end"
        return (EffectFailed(task.attempt, Failure(BROKEN, why, ErrorKind.SYSTEM, recoverable=True)),)
    return (ended,)


def _failed(attempt: int, error: PropellerError) -> EffectFailed:
    """The service, or what it stands on, has failed: another attempt may not."""
    return EffectFailed(attempt, Failure(BROKEN, str(error), ErrorKind.SYSTEM, recoverable=True))


async def follow(node: NodeView, effect: Follow, services: Services) -> tuple[NodeEvent, ...]:
    if services.jobs is not None:
        services.jobs.follow(node, effect.attempt)
    return ()


async def expire_job(node: NodeView, effect: Expire, jobs: RemoteJobs) -> tuple[NodeEvent, ...]:
    """Look at a job whose deadline has passed: if it ended before, that end counts."""
    ended = await jobs.look_now(node, effect.attempt)
    return (Expired(effect.attempt) if ended is None else ended,)


async def stop_job(node: NodeView, effect: StopAttempt, job: Job, jobs: RemoteJobs) -> tuple[NodeEvent, ...]:
    """Delete a job. Raises Retryable and Denied, which are tried again; any other error is logged."""
    try:
        await jobs.delete(node.execution.info.uid, job)
    except (Retryable, Denied):
        raise
    except PropellerError as error:
        _log.warning("%s: the job of attempt %d may go on: %s", node.log_name, effect.attempt, error)
    jobs.stopped(node, effect.attempt)
    return (Stopped(effect.attempt),)
