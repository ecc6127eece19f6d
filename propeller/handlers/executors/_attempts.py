"""Create, observe and stop the resource of an attempt: a pod, or the resource that another task plugin makes.

Guarantees
    An attempt has one resource with a fixed name: a second launch finds the first one's. A resource of that name with
    another owner is neither used nor deleted.
    A resource that has ended is not deleted: it is the record of its attempt.
    If a resource type is not served, its objects do not count as deleted.
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
from propeller.handlers.executors._services import Cluster, Kind, Services
from propeller.handlers.plugins import POD, TaskPlugin, claim_of, is_of, owner_of
from propeller.handlers.plugins.pod import shape_of, template_uri
from propeller.kube import PODS, Client, KubeObject
from propeller.storage import write_literals
from propeller.workflow import (
    AttemptObserved,
    AttemptPhase,
    EffectFailed,
    Expire,
    Expired,
    Failure,
    Launch,
    Launched,
    NodeEvent,
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
"""Characters of a refusal that are kept: a webhook may answer with any length of text."""


HELD = "the platform refuses pods of this execution: they ask one after the other"
"""Why a create is not sent yet although it was not refused itself."""

NAMESPACE_HELD = "the platform refuses what is created in this namespace: launches ask one after the other"
"""Why a create is not sent yet although nothing of its execution was refused."""

_GIVEN_UP = (NodePhase.ABORTED, NodePhase.FAILED)

MAX_DELETE_ATTEMPTS = 5
"""Tries to delete a resource that changes at the same time, before a pause."""


async def launch(node: NodeView, effect: Launch, services: Services) -> tuple[NodeEvent, ...]:
    events: tuple[NodeEvent, ...] = ()
    cluster = services.cluster_of(node, effect.attempt)
    try:
        events = await _launch(node, effect, services, cluster)
    except StorageError as error:  # nothing was started yet: the attempt waits, and its state says for what
        after = error.after or services.effects.storage_retry
        events = (_refused(node, effect.attempt, error, after, services, denied=refusals_of(node).denied),)
    finally:
        if cluster.windows is not None:
            cluster.windows.given_up(node, effect.attempt)
        if cluster.quotas is not None:
            cluster.quotas.answered(node, effect.attempt, events)
        if services.tokens is not None:
            services.tokens.answered(node, effect.attempt, events)
    return events


async def _launch(node: NodeView, effect: Launch, services: Services, cluster: Cluster) -> tuple[NodeEvent, ...]:
    attempt, execution = effect.attempt, node.execution
    plugin, kind = _plugin_of(node, services, cluster)
    name = execution.pod_name(node.number, attempt)
    if (cached := kind.cache.get(f"{execution.info.namespace}/{name}")) is not None:
        return _found(node, attempt, cached, services, cluster, followed=True)
    has_room = cluster.windows is not None and cluster.windows.has_room(node)
    if not has_room and (held := services.gates.hold(node)) is not None:
        refusals = refusals_of(node)
        if not refusals.reason:
            refusals = Refusals(0, services.gates.clock.now(), 0.0, HELD)
        return (Refused(attempt, refusals.reason, held, refusals),)
    if cluster.windows is not None and (held := cluster.windows.hold(node, attempt)) is not None:
        before = refusals_of(node)
        held_back = Refusals(
            before.tries, before.since or services.gates.clock.now(), before.denied, before.reason or NAMESPACE_HELD
        )
        return (Refused(attempt, held_back.reason, held, held_back, repeats=True),)
    if (
        cluster.quotas is not None
        and not is_given_up(node, attempt)
        and (no_room := cluster.quotas.ask(node, attempt, kind.resource)) is not None
    ):
        return (no_room,)
    if (
        services.tokens is not None
        and not is_given_up(node, attempt)
        and (wait := await services.tokens.ask(node, attempt)) is not None
    ):
        return (wait,)
    inputs = await services.inputs.of_task(node)
    plan = node.graph.plan
    task = plan.task(node.spec.task)
    try:
        if is_echo(task):
            uri = f"{execution.output_directory(node.number, attempt)}/outputs.pb"
            await write_literals(services.storage, uri, echoed(task, inputs))
            return (Recovered(attempt),)
        resource = plugin.build(node, attempt, inputs, services.pod_settings)
    except Invalid as error:
        return (EffectFailed(attempt, Failure("FailedToBuildResource", str(error))),)
    if _needs_template(node):
        template = task.SerializeToString(deterministic=True)
        await services.storage.write(template_uri(node), template)
    if is_given_up(node, attempt):
        return ()
    if services.tokens is not None:
        services.tokens.describe(node, attempt, resource)
    if cluster.marks is not None:
        resource = cluster.marks.mark(resource, execution.info)
    return await _create(node, attempt, name, resource, kind, services, cluster)


def _plugin_of(node: NodeView, services: Services, cluster: Cluster) -> tuple[TaskPlugin, Kind]:
    """Return the plugin of the node's task, and its kind. Raises PluginFailed if the plugin cannot be used."""
    plugin = services.plugins.of(node)
    return plugin, cluster.kinds[plugin]


def _needs_template(node: NodeView) -> bool:
    """Whether a command of the task refers to the task's template. False if the task cannot be a pod."""
    try:
        return node.graph.plan.of_task(node.spec.task, shape_of).needs_template
    except Invalid:
        return False


async def _create(
    node: NodeView,
    attempt: int,
    name: str,
    resource: dict[str, Any],
    kind: Kind,
    services: Services,
    cluster: Cluster,
) -> tuple[NodeEvent, ...]:
    """Create the resource, or find the existing one. If the error does not blame the resource itself, the attempt waits
    and is not used up (docs/refusals.md).
    """
    namespace = node.execution.info.namespace
    try:
        await cluster.client.create(kind.created, resource, namespace)
    except AlreadyExists:
        try:
            found = await cluster.client.get(kind.resource, name, namespace)
        except PropellerError as error:  # it may be deleted in between
            return (_tried_later(node, attempt, error, services, cluster),)
        return _found(node, attempt, found, services, cluster, followed=False)
    except (Malformed, TooLarge) as error:
        return (EffectFailed(attempt, _rejection(error)),)
    except Throttled as error:
        services.gates.passed(node)  # quotas are checked last
        if cluster.quotas is not None and (waits := cluster.quotas.refused(node, attempt, kind.resource, error)):
            return (waits,)
        after = error.after or services.effects.quota_retry
        if cluster.windows is not None:
            after = cluster.windows.refused(node, attempt, error.after)
        return (_refused(node, attempt, error, after, services, denied=0.0),)
    except NotFound as error:  # the namespace or the type: the server does not say which
        return (_tried_later(node, attempt, await _why_not_served(kind, cluster.client) or error, services, cluster),)
    except (Rejected, Retryable) as error:
        return (_tried_later(node, attempt, error, services, cluster),)
    services.gates.passed(node)
    if cluster.windows is not None:
        cluster.windows.passed(node, attempt)
    return (Launched(attempt),)


async def _get(kind: Kind, name: str, namespace: str, client: Client) -> KubeObject:
    """Return the resource of that name. Raises NotFound if it is deleted, Unavailable if its type is not served, and
    what the client raises.
    """
    found: KubeObject
    try:
        found = await client.get(kind.resource, name, namespace)
    except NotFound:
        if kind.resource is PODS:
            raise
        if (unserved := await _why_not_served(kind, client)) is not None:
            raise Unavailable(str(unserved)) from unserved
        found = await client.get(
            kind.resource, name, namespace
        )  # the type may have been missing for the first GET only
    return found


async def _why_not_served(kind: Kind, client: Client) -> PropellerError | None:
    """Return why the server does not serve the type, or does not answer; None if it serves it. Pods are always served
    and cost no request.
    """
    if kind.resource is PODS:
        return None
    try:
        await client.has_subresource(kind.resource, "status")
    except NotFound:
        plural, version = kind.resource.plural, kind.resource.api_version
        why = f"look up {plural}: the server has no {plural} in {version}: install the resource type"
        return NotFound(why, status=404)
    except PropellerError as error:
        return error
    return None


def _tried_later(
    node: NodeView, attempt: int, error: PropellerError, services: Services, cluster: Cluster
) -> NodeEvent:
    """Retry a create that was denied or not answered, with growing pauses, up to the operator's limit."""
    gates, denied = services.gates, refusals_of(node).denied
    pause = gates.refused(node, str(error))
    if isinstance(error, Rejected | WebhookUnavailable):
        if cluster.windows is not None:
            cluster.windows.denied(node, attempt)
        now, limit = gates.clock.now(), gates.settings.limit
        denied = denied or now
        if limit and now - denied >= limit:
            what = _plugin_of(node, services, cluster)[1].resource.kind.lower()
            why = f"its {what} could not be created since {rfc3339(denied)}, longer than launches.limit: {error}"
            failure = Failure("RuntimeFailure", why[:REASON_CHARACTERS], ErrorKind.SYSTEM)
            return EffectFailed(attempt, failure)
    after = max(pause, error.after or 0.0) if isinstance(error, Retryable) else pause
    refused = _refused(node, attempt, error, after, services, denied=denied)
    is_certain = isinstance(error, Rejected | WebhookUnavailable | Throttled)
    return refused if is_certain else msgspec.structs.replace(refused, may_exist=True)


def _refused(
    node: NodeView, attempt: int, why: PropellerError | str, after: float, services: Services, *, denied: float
) -> Refused:
    """Return the event. `denied` is the epoch second of the first denial in a row, 0 if this is none."""
    before, reason = refusals_of(node), str(why)[:REASON_CHARACTERS]
    since = before.since or services.gates.clock.now()
    return Refused(attempt, reason, after, Refusals(before.tries + 1, since, denied, reason))


def is_given_up(node: NodeView, attempt: int) -> bool:
    """Whether the attempt was given up, which may happen while one of its effects runs."""
    execution, number = node.execution, node.number
    given_up = execution.dropped or execution.phases[number] in _GIVEN_UP
    return given_up or execution.attempts[number] != attempt


async def observe(node: NodeView, effect: ObserveAttempt, services: Services) -> tuple[NodeEvent, ...]:
    info = node.execution.info
    cluster = services.cluster_of(node, effect.attempt)
    plugin, kind = _plugin_of(node, services, cluster)
    name = node.execution.pod_name(node.number, effect.attempt)
    if not effect.fresh and (cached := kind.cache.get(f"{info.namespace}/{name}")) is not None:
        return _found(node, effect.attempt, cached, services, cluster, followed=True)[
            -1:
        ]  # the launch is known already
    try:
        obj = await _get(kind, name, info.namespace, cluster.client)
    except NotFound:
        if services.tokens is not None:
            services.tokens.stopped(node, effect.attempt)
        if await has_ended(node, effect.attempt, services.storage):
            # its documents in the object store prove it
            return (AttemptObserved(effect.attempt, AttemptPhase.SUCCEEDED),)
        return (plugin.missing(name, effect.attempt),)
    return _found(node, effect.attempt, obj, services, cluster, followed=False)


async def expire(node: NodeView, effect: Expire, services: Services) -> tuple[NodeEvent, ...]:
    """Check an attempt whose deadline has passed: if it ended before, that end counts."""
    seen = (await observe(node, ObserveAttempt(node.number, effect.attempt), services))[-1]
    if isinstance(seen, AttemptObserved) and seen.phase in {AttemptPhase.SUCCEEDED, AttemptPhase.FAILED}:
        return (seen,)
    return (Expired(effect.attempt),)


async def stop(node: NodeView, effect: StopAttempt, services: Services) -> tuple[NodeEvent, ...]:
    stopped = await _stop(node, effect, services)
    if services.tokens is not None and not stopped.grace:
        services.tokens.stopped(node, effect.attempt)
    return (stopped,)


async def _stop(node: NodeView, effect: StopAttempt, services: Services) -> Stopped:
    info = node.execution.info
    cluster = services.cluster_of(node, effect.attempt)
    plugin, kind = _plugin_of(node, services, cluster)
    name = node.execution.pod_name(node.number, effect.attempt)
    obj: KubeObject | None = kind.cache.get(f"{info.namespace}/{name}")
    for _ in range(MAX_DELETE_ATTEMPTS):
        try:
            found = obj or await _get(kind, name, info.namespace, cluster.client)
        except NotFound:
            return Stopped(effect.attempt)  # deleted already
        if not (_is_ours(node, found) and _is_attempts(node, effect.attempt, found)):
            return Stopped(effect.attempt)
        try:
            if plugin.is_alive(found):
                await delete_resource(plugin, found, cluster.client, unchanged=True)
            return Stopped(effect.attempt, plugin.grace_of(found))
        except NotFound:
            if kind.resource is PODS:
                return Stopped(effect.attempt)
            obj = None  # the object or its type is deleted
        except Conflict:
            obj = None  # it may have ended since, or be another object
    raise Unavailable(f"{kind.resource.kind} {info.namespace}/{name} changes faster than it can be deleted")


async def delete_resource(plugin: TaskPlugin, obj: KubeObject, client: Client, *, unchanged: bool = False) -> None:
    """Delete this resource of an attempt by uid, and with `unchanged` only at this resourceVersion. Raises NotFound,
    Conflict, and what the client raises.
    """
    assert plugin.resource is not None
    metadata = obj.metadata
    await client.delete(
        plugin.resource,
        metadata.name,
        metadata.namespace,
        uid=metadata.uid,
        resource_version=metadata.resource_version if unchanged else None,
        propagation=None if plugin is POD else "Foreground",  # it stays until its dependents are deleted
    )


def _found(
    node: NodeView, attempt: int, obj: KubeObject, services: Services, cluster: Cluster, *, followed: bool
) -> tuple[NodeEvent, ...]:
    """Return the events of an existing resource of that name; it may have another owner.

    That it runs is reported only if it is in the informer's cache (`followed`): otherwise its end may be missed, and it
    has to be observed again.
    """
    plugin, kind = _plugin_of(node, services, cluster)
    if not _is_ours(node, obj):
        name = f"{kind.resource.kind.lower()} {node.execution.info.namespace}/{obj.metadata.name}"
        reason = f"{name} exists and belongs to something else: delete it"
        return (_refused(node, attempt, reason, services.effects.quota_retry, services, denied=0.0),)
    if not _is_attempts(node, attempt, obj):
        return (EffectFailed(attempt, _name_is_taken(node, attempt, obj, kind)),)
    seen = plugin.observe(obj, attempt)
    if seen is None or (seen.phase is AttemptPhase.RUNNING and not followed):
        return (Launched(attempt),)
    return (Launched(attempt), seen)


def _is_ours(node: NodeView, obj: KubeObject) -> bool:
    uid = node.execution.info.uid
    if obj.metadata.owner_references:
        return any(owner.uid == uid for owner in obj.metadata.owner_references)
    return (owner := owner_of(obj)) is not None and owner.uid == uid


def _is_attempts(node: NodeView, attempt: int, obj: KubeObject) -> bool:
    return is_of(node.execution, node.number, attempt, obj)


def _name_is_taken(node: NodeView, attempt: int, obj: KubeObject, kind: Kind) -> Failure:
    """Two attempts of the execution have the same resource name. The next attempt has another one."""
    claim = claim_of(obj, node.execution.info.name)
    assert claim is not None
    reason = (
        f"{kind.resource.kind.lower()} {obj.metadata.name} is attempt {claim.attempt} of node {claim.node}: "
        f"its name is the same as that of attempt {attempt} of node {node.execution.unique_id(node.number)}; "
        "rename one of the nodes"
    )
    return Failure("PodNameTaken", reason, ErrorKind.SYSTEM, recoverable=True)


def _rejection(error: Malformed | TooLarge) -> Failure:
    """Flyte's codes for a refused resource (task/k8s/plugin_manager.go)."""
    return Failure("EntityTooLarge" if isinstance(error, TooLarge) else "BadTaskFormat", str(error))
