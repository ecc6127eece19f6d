"""Effects on pods: launch one for an attempt, find the one that is there, stop it.

Guarantees
    An attempt has one pod, whose name is fixed: launching again finds it. A pod of that name that is somebody else's is
    neither used nor deleted.
    A pod that has ended is not deleted: it is the record of its attempt.
"""

from __future__ import annotations

from typing import Any

import msgspec

from propeller.clock import rfc3339
from propeller.errors import (
    AlreadyExists,
    Conflict,
    ErrorKind,
    Invalid,
    Malformed,
    NotFound,
    PropellerError,
    Rejected,
    Retryable,
    StorageError,
    Throttled,
    TooLarge,
    Unavailable,
    WebhookUnavailable,
)
from propeller.handlers.executors._echo import echoed, is_echo
from propeller.handlers.executors._gates import refusals_of
from propeller.handlers.executors._outcome import has_ended
from propeller.handlers.executors._services import Services
from propeller.handlers.plugins.pod import (
    build_pod,
    claim_of,
    gone,
    grace_of,
    is_alive,
    is_of,
    report,
    shape_of,
    template_uri,
)
from propeller.kube import PODS, Pod
from propeller.storage import write_literals
from propeller.workflow import (
    AttemptObserved,
    AttemptPhase,
    EffectFailed,
    Expire,
    Expired,
    Fact,
    Failure,
    Launch,
    Launched,
    NodePhase,
    NodeView,
    ObserveAttempt,
    Recovered,
    Refusals,
    Refused,
    StopAttempt,
    Stopped,
)

REASON_CHARACTERS = 1000
"""Of a refusal that are kept: a webhook may answer with any length of text."""


class _Unread(msgspec.Struct, frozen=True):
    """The answer to a create: the pod's events tell all of it."""


CREATED = PODS.metadata_only().typed(_Unread)

HELD = "the platform refuses pods of this execution: they ask one after the other"
"""The reason of a pod that was not asked for yet."""

_GIVEN_UP = (NodePhase.ABORTED, NodePhase.FAILED)

LOOKS = 5
"""How often a pod that changes just then is looked at again before a pause."""


async def launch(node: NodeView, effect: Launch, services: Services) -> tuple[Fact, ...]:
    try:
        return await _launch(node, effect, services)
    except StorageError as error:  # nothing of the attempt has begun, and its state can say what it waits for
        after = error.after or services.effects.storage_retry
        return (_refused(node, effect.attempt, error, after, services, denied=refusals_of(node).denied),)


async def _launch(node: NodeView, effect: Launch, services: Services) -> tuple[Fact, ...]:
    attempt, execution = effect.attempt, node.execution
    name = execution.pod_name(node.number, attempt)
    if (cached := services.pods.get(f"{execution.info.namespace}/{name}")) is not None:
        return _found(node, attempt, cached, services, followed=True)
    if (held := services.gates.hold(node)) is not None:
        refusals = refusals_of(node)
        if not refusals.reason:
            refusals = Refusals(0, services.gates.clock.now(), 0.0, HELD)
        return (Refused(attempt, refusals.reason, held, refusals),)
    inputs = await services.inputs.of_task(node)
    plan = node.graph.plan
    task = plan.task(node.spec.task)
    try:
        if is_echo(task):
            uri = f"{execution.output_directory(node.number, attempt)}/outputs.pb"
            await write_literals(services.storage, uri, echoed(task, inputs))
            return (Recovered(attempt),)
        pod = build_pod(node, attempt, inputs, services.pod_settings)
    except Invalid as error:
        return (EffectFailed(attempt, Failure("FailedToBuildResource", str(error))),)
    if plan.of_task(node.spec.task, shape_of).needs_template:
        template = task.SerializeToString(deterministic=True)
        await services.storage.write(template_uri(node), template)
    if is_given_up(node, attempt):
        return ()
    return await _create(node, attempt, name, pod, services)


async def _create(node: NodeView, attempt: int, name: str, pod: dict[str, Any], services: Services) -> tuple[Fact, ...]:
    """Create the pod, or find it there. Whatever does not say that the pod itself is wrong is waited for: the attempt
    has not begun (docs/refusals.md).
    """
    namespace = node.execution.info.namespace
    try:
        await services.client.create(CREATED, pod, namespace)
    except AlreadyExists:
        try:
            found = await services.client.get(PODS, name, namespace)
        except PropellerError as error:  # it may be gone before we look at it
            return (_tried_later(node, attempt, error, services),)
        return _found(node, attempt, found, services, followed=False)
    except (Malformed, TooLarge) as error:
        return (EffectFailed(attempt, _rejection(error)),)
    except Throttled as error:
        services.gates.passed(node)  # quotas are looked at last
        return (_refused(node, attempt, error, error.after or services.effects.quota_retry, services, denied=0.0),)
    except (Rejected, Retryable) as error:
        return (_tried_later(node, attempt, error, services),)
    services.gates.passed(node)
    return (Launched(attempt),)


def _tried_later(node: NodeView, attempt: int, error: PropellerError, services: Services) -> Fact:
    """The create was denied, or not answered: the next try waits, each time longer, up to the operator's limit."""
    gates, denied = services.gates, refusals_of(node).denied
    pause = gates.refused(node, str(error))
    if isinstance(error, Rejected | WebhookUnavailable):
        now, limit = gates.clock.now(), gates.settings.limit
        denied = denied or now
        if limit and now - denied >= limit:
            why = f"its pod could not be created since {rfc3339(denied)}, longer than launches.limit: {error}"
            failure = Failure("RuntimeFailure", why[:REASON_CHARACTERS], ErrorKind.SYSTEM)
            return EffectFailed(attempt, failure)
    after = max(pause, error.after or 0.0) if isinstance(error, Retryable) else pause
    return _refused(node, attempt, error, after, services, denied=denied)


def _refused(
    node: NodeView, attempt: int, why: PropellerError | str, after: float, services: Services, *, denied: float
) -> Refused:
    """`denied` is since when the platform has denied the create, 0 if it does not."""
    before, reason = refusals_of(node), str(why)[:REASON_CHARACTERS]
    since = before.since or services.gates.clock.now()
    return Refused(attempt, reason, after, Refusals(before.tries + 1, since, denied, reason))


def is_given_up(node: NodeView, attempt: int) -> bool:
    """Whether the attempt was given up, as it may be while an effect of it is under way."""
    execution, number = node.execution, node.number
    given_up = execution.dropped or execution.phases[number] in _GIVEN_UP
    return given_up or execution.attempts[number] != attempt


async def observe(node: NodeView, effect: ObserveAttempt, services: Services) -> tuple[Fact, ...]:
    info = node.execution.info
    name = node.execution.pod_name(node.number, effect.attempt)
    if not effect.fresh and (cached := services.pods.get(f"{info.namespace}/{name}")) is not None:
        return _found(node, effect.attempt, cached, services, followed=True)[-1:]  # that it was launched is known
    try:
        pod = await services.client.get(PODS, name, info.namespace)
    except NotFound:
        if await has_ended(node, effect.attempt, services.storage):
            # its documents speak for it
            return (AttemptObserved(effect.attempt, AttemptPhase.SUCCEEDED),)
        return (gone(effect.attempt, name),)
    return _found(node, effect.attempt, pod, services, followed=False)


async def expire(node: NodeView, effect: Expire, services: Services) -> tuple[Fact, ...]:
    """What an attempt came to whose time is up. One that ended before anybody looked has not run out of it."""
    seen = (await observe(node, ObserveAttempt(node.number, effect.attempt), services))[-1]
    if isinstance(seen, AttemptObserved) and seen.phase in {AttemptPhase.SUCCEEDED, AttemptPhase.FAILED}:
        return (seen,)
    return (Expired(effect.attempt),)


async def stop(node: NodeView, effect: StopAttempt, services: Services) -> tuple[Fact, ...]:
    info = node.execution.info
    name = node.execution.pod_name(node.number, effect.attempt)
    pod = services.pods.get(f"{info.namespace}/{name}")
    for _ in range(LOOKS):
        try:
            if pod is None:
                pod = await services.client.get(PODS, name, info.namespace)
            if not (_is_ours(node, pod) and _is_attempts(node, effect.attempt, pod)):
                return (Stopped(effect.attempt),)
            if is_alive(pod):
                seen = pod.metadata
                await services.client.delete(
                    PODS, name, info.namespace, uid=seen.uid, resource_version=seen.resource_version
                )
            return (Stopped(effect.attempt, grace_of(pod)),)
        except NotFound:
            return (Stopped(effect.attempt),)  # gone already: that is what was wanted
        except Conflict:
            pod = None  # it may have come to its end since, or be another one
    raise Unavailable(f"pod {info.namespace}/{name} changes faster than it can be deleted")


def _found(node: NodeView, attempt: int, pod: Pod, services: Services, *, followed: bool) -> tuple[Fact, ...]:
    """A pod of that name exists: ours, with its news, or somebody else's.

    That it runs is news only where the informer follows it (`followed`): else its end may come and go unseen, and it
    has to be looked for again.
    """
    if not _is_ours(node, pod):
        name = f"{node.execution.info.namespace}/{pod.metadata.name}"
        reason = f"pod {name} exists and belongs to something else: delete it"
        return (_refused(node, attempt, reason, services.effects.quota_retry, services, denied=0.0),)
    if not _is_attempts(node, attempt, pod):
        return (EffectFailed(attempt, _name_is_taken(node, attempt, pod)),)
    seen = report(pod, attempt)
    if seen.phase is AttemptPhase.RUNNING and not followed:
        return (Launched(attempt),)
    return (Launched(attempt), seen)


def _is_ours(node: NodeView, pod: Pod) -> bool:
    return any(owner.uid == node.execution.info.uid for owner in pod.metadata.owner_references)


def _is_attempts(node: NodeView, attempt: int, pod: Pod) -> bool:
    return is_of(node.execution, node.number, attempt, pod)


def _name_is_taken(node: NodeView, attempt: int, pod: Pod) -> Failure:
    """Two attempts of the execution have one pod name. The next attempt has another name."""
    claim = claim_of(pod, node.execution.info.name)
    assert claim is not None
    reason = (
        f"pod {pod.metadata.name} is attempt {claim.attempt} of node {claim.node}: its name is the same as that of "
        f"attempt {attempt} of node {node.execution.unique_id(node.number)}; rename one of the nodes"
    )
    return Failure("PodNameTaken", reason, ErrorKind.SYSTEM, recoverable=True)


def _rejection(error: Malformed | TooLarge) -> Failure:
    """Flyte's codes for a refused pod (task/k8s/plugin_manager.go)."""
    return Failure("EntityTooLarge" if isinstance(error, TooLarge) else "BadTaskFormat", str(error))
