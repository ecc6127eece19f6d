"""Effects on pods: launch one for an attempt, find the one that is there, stop it.

Guarantees
    An attempt has one pod, whose name is fixed: launching again finds it. A pod of that name that is somebody else's is
    neither used nor deleted.
    A pod that has ended is not deleted: it is the record of its attempt.
"""

from __future__ import annotations

from typing import Any

import msgspec

from propeller.errors import (
    AlreadyExists,
    Conflict,
    Denied,
    ErrorKind,
    Invalid,
    NotFound,
    Rejected,
    Retryable,
    StorageError,
    Throttled,
    TooLarge,
    Unavailable,
)
from propeller.handlers._collect import has_ended
from propeller.handlers._services import Services
from propeller.handlers.tasks import build_pod, gone, is_alive, report, shape_of, template_uri
from propeller.kube import PODS, Client, Pod
from propeller.workflow import (
    Adopt,
    EffectFailed,
    Expire,
    Expired,
    Fact,
    Failure,
    Launch,
    Launched,
    NodePhase,
    NodeView,
    PodPhase,
    PodSeen,
    Refused,
    Stopped,
    StopPod,
)

QUOTA_RETRY_SECONDS = 5.0
"""Before a pod that a quota refused is asked for again, where the server named no time."""

UNAVAILABLE_RETRY_SECONDS = 1.0

STORAGE_RETRY_SECONDS = 5.0
"""Before a launch whose inputs could not be read or written is tried again."""


class _Unread(msgspec.Struct, frozen=True):
    """The answer to a create: the pod's events tell all of it."""


CREATED = PODS.metadata_only().typed(_Unread)

LOOKS = 5
"""How often a pod that changes just then is looked at again before a pause."""


async def launch(node: NodeView, effect: Launch, services: Services) -> tuple[Fact, ...]:
    try:
        return await _launch(node, effect, services)
    except StorageError as error:  # nothing of the attempt has begun, and its state can say what it waits for
        return (Refused(effect.attempt, str(error), error.after or STORAGE_RETRY_SECONDS),)


async def _launch(node: NodeView, effect: Launch, services: Services) -> tuple[Fact, ...]:
    attempt, execution = effect.attempt, node.execution
    name = execution.pod_name(node.number, attempt)
    if (cached := services.pods.get(f"{execution.info.namespace}/{name}")) is not None:
        return _adopted(node, attempt, cached, followed=True)
    inputs = await services.inputs.of_task(node)
    plan = node.graph.plan
    try:
        pod = build_pod(node, attempt, inputs, services.pod_settings)
    except Invalid as error:
        return (EffectFailed(attempt, Failure("FailedToBuildResource", str(error))),)
    if plan.of_task(node.spec.task, shape_of).needs_template:
        template = plan.task(node.spec.task).SerializeToString(deterministic=True)
        await services.storage.write(template_uri(node), template)
    if is_given_up(node, attempt):
        return ()
    return await _create(node, attempt, name, pod, services.client)


async def _create(node: NodeView, attempt: int, name: str, pod: dict[str, Any], client: Client) -> tuple[Fact, ...]:
    """Create the pod, or find it there; where the server has no room or no answer now, wait for a later try."""
    namespace = node.execution.info.namespace
    try:
        await client.create(CREATED, pod, namespace)
    except AlreadyExists:
        return await _find(node, attempt, name, client)
    except Throttled as error:
        return (Refused(attempt, str(error), error.after or QUOTA_RETRY_SECONDS),)
    except Retryable as error:
        return (Refused(attempt, str(error), error.after or UNAVAILABLE_RETRY_SECONDS),)
    except Rejected as error:
        return (EffectFailed(attempt, _rejection(error)),)
    return (Launched(attempt),)


async def _find(node: NodeView, attempt: int, name: str, client: Client) -> tuple[Fact, ...]:
    """A pod that exists, and may be gone before we look at it."""
    try:
        return _adopted(node, attempt, await client.get(PODS, name, node.execution.info.namespace), followed=False)
    except (NotFound, Retryable) as error:
        return (Refused(attempt, str(error), UNAVAILABLE_RETRY_SECONDS),)


def is_given_up(node: NodeView, attempt: int) -> bool:
    """Whether the attempt was given up, as it may be while an effect of it is under way."""
    execution, number = node.execution, node.number
    given_up = execution.dropped or execution.phases[number] in {NodePhase.ABORTED, NodePhase.FAILED}
    return given_up or execution.attempts[number] != attempt


async def adopt(node: NodeView, effect: Adopt, services: Services) -> tuple[Fact, ...]:
    info = node.execution.info
    name = node.execution.pod_name(node.number, effect.attempt)
    if (cached := services.pods.get(f"{info.namespace}/{name}")) is not None:
        return _adopted(node, effect.attempt, cached, followed=True)[-1:]  # that it was launched is known
    try:
        pod = await services.client.get(PODS, name, info.namespace)
    except NotFound:
        if await has_ended(node, effect.attempt, services.storage):
            return (PodSeen(effect.attempt, PodPhase.SUCCEEDED),)  # it is gone, and its documents speak for it
        return (gone(effect.attempt, name),)
    return _adopted(node, effect.attempt, pod, followed=False)


async def expire(node: NodeView, effect: Expire, services: Services) -> tuple[Fact, ...]:
    """What an attempt came to whose time is up. One that ended before anybody looked has not run out of it."""
    seen = (await adopt(node, Adopt(node.number, effect.attempt), services))[-1]
    if isinstance(seen, PodSeen) and seen.phase in {PodPhase.SUCCEEDED, PodPhase.FAILED}:
        return (seen,)
    return (Expired(effect.attempt),)


async def stop_pod(node: NodeView, effect: StopPod, services: Services) -> tuple[Fact, ...]:
    info = node.execution.info
    name = node.execution.pod_name(node.number, effect.attempt)
    pod = services.pods.get(f"{info.namespace}/{name}")
    for _ in range(LOOKS):
        try:
            if pod is None:
                pod = await services.client.get(PODS, name, info.namespace)
            if _is_ours(node, pod) and is_alive(pod):
                seen = pod.metadata
                await services.client.delete(
                    PODS, name, info.namespace, uid=seen.uid, resource_version=seen.resource_version
                )
            return (Stopped(effect.attempt),)
        except NotFound:
            return (Stopped(effect.attempt),)  # gone already: that is what was wanted
        except Conflict:
            pod = None  # it may have come to its end since, or be another one
    raise Unavailable(f"pod {info.namespace}/{name} changes faster than it can be deleted")


def _adopted(node: NodeView, attempt: int, pod: Pod, *, followed: bool) -> tuple[Fact, ...]:
    """A pod of that name exists: ours, with its news, or somebody else's.

    That it runs is news only where the informer follows it (`followed`): else its end may come and go unseen, and it
    has to be looked for again.
    """
    if not _is_ours(node, pod):
        name = f"{node.execution.info.namespace}/{pod.metadata.name}"
        reason = f"pod {name} exists and belongs to something else: delete it"
        return (Refused(attempt, reason, QUOTA_RETRY_SECONDS),)
    seen = report(pod)
    if seen is None or (seen.phase is PodPhase.RUNNING and not followed):
        return (Launched(attempt),)
    return (Launched(attempt), seen)


def _is_ours(node: NodeView, pod: Pod) -> bool:
    return any(owner.uid == node.execution.info.uid for owner in pod.metadata.owner_references)


def _rejection(error: Rejected) -> Failure:
    """Flyte's codes for a refused pod (task/k8s/plugin_manager.go)."""
    match error:
        case TooLarge():
            return Failure("EntityTooLarge", str(error))
        case Denied():
            return Failure("RuntimeFailure", str(error), ErrorKind.SYSTEM, recoverable=True)
        case _:
            return Failure("BadTaskFormat", str(error))
