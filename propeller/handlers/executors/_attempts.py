"""Effects on attempts: create the resource of one (a pod, or what its plugin makes), find one that is there, stop it.

Guarantees
    An attempt has one resource, whose name is fixed: launching again finds it. A resource of that name that is somebody
    else's is neither used nor deleted.
    A resource that has ended is not deleted: it is the record of its attempt.
    That a type is not served says nothing of its objects: nothing is taken for gone by it.
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
from propeller.handlers.executors._services import Kind, Services
from propeller.handlers.plugins import POD, TaskPlugin, claim_of, is_of
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
"""Of a refusal that are kept: a webhook may answer with any length of text."""


HELD = "the platform refuses pods of this execution: they ask one after the other"
"""The reason of a pod that was not asked for yet."""

_GIVEN_UP = (NodePhase.ABORTED, NodePhase.FAILED)

MAX_DELETE_ATTEMPTS = 5
"""How often a resource that changes just then is looked at again before a pause."""


async def launch(node: NodeView, effect: Launch, services: Services) -> tuple[NodeEvent, ...]:
    events: tuple[NodeEvent, ...] = ()
    try:
        events = await _launch(node, effect, services)
    except StorageError as error:  # nothing of the attempt has begun, and its state can say what it waits for
        after = error.after or services.effects.storage_retry
        events = (_refused(node, effect.attempt, error, after, services, denied=refusals_of(node).denied),)
    finally:
        if services.tokens is not None:
            services.tokens.answered(node, effect.attempt, events)
    return events


async def _launch(node: NodeView, effect: Launch, services: Services) -> tuple[NodeEvent, ...]:
    attempt, execution = effect.attempt, node.execution
    plugin, kind = _plugin_of(node, services)
    name = execution.pod_name(node.number, attempt)
    if (cached := kind.cache.get(f"{execution.info.namespace}/{name}")) is not None:
        return _found(node, attempt, cached, services, followed=True)
    if (held := services.gates.hold(node)) is not None:
        refusals = refusals_of(node)
        if not refusals.reason:
            refusals = Refusals(0, services.gates.clock.now(), 0.0, HELD)
        return (Refused(attempt, refusals.reason, held, refusals),)
    if (
        services.tokens is not None
        and not is_given_up(node, attempt)
        and (wait := services.tokens.ask(node, attempt)) is not None
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
        services.tokens.describe(node, resource)
    return await _create(node, attempt, name, resource, kind, services)


def _plugin_of(node: NodeView, services: Services) -> tuple[TaskPlugin, Kind]:
    """Raises PluginFailed if the plugin of the node's task cannot be used."""
    plugin = services.plugins.of(node)
    return plugin, services.kinds[plugin]


def _needs_template(node: NodeView) -> bool:
    """Whether a command of the task names its template. A task that cannot be a pod has none."""
    try:
        return node.graph.plan.of_task(node.spec.task, shape_of).needs_template
    except Invalid:
        return False


async def _create(
    node: NodeView, attempt: int, name: str, resource: dict[str, Any], kind: Kind, services: Services
) -> tuple[NodeEvent, ...]:
    """Create the resource, or find it there. Whatever does not say that the resource itself is wrong is waited for: the
    attempt has not begun (docs/refusals.md).
    """
    namespace = node.execution.info.namespace
    try:
        await services.client.create(kind.created, resource, namespace)
    except AlreadyExists:
        try:
            found = await services.client.get(kind.resource, name, namespace)
        except PropellerError as error:  # it may be gone before we look at it
            return (_tried_later(node, attempt, error, services),)
        return _found(node, attempt, found, services, followed=False)
    except (Malformed, TooLarge) as error:
        return (EffectFailed(attempt, _rejection(error)),)
    except Throttled as error:
        services.gates.passed(node)  # quotas are looked at last
        return (_refused(node, attempt, error, error.after or services.effects.quota_retry, services, denied=0.0),)
    except NotFound as error:  # its namespace, or its type: the server does not say which
        return (_tried_later(node, attempt, await _why_not_served(kind, services) or error, services),)
    except (Rejected, Retryable) as error:
        return (_tried_later(node, attempt, error, services),)
    services.gates.passed(node)
    return (Launched(attempt),)


async def _get(kind: Kind, name: str, namespace: str, services: Services) -> KubeObject:
    """The resource of that name. Raises NotFound if it is gone, Unavailable if its type is not served, as nothing can
    be said of it then, and what the client raises.
    """
    found: KubeObject
    try:
        found = await services.client.get(kind.resource, name, namespace)
    except NotFound:
        if kind.resource is PODS:
            raise
        if (unserved := await _why_not_served(kind, services)) is not None:
            raise Unavailable(str(unserved)) from unserved
        found = await services.client.get(kind.resource, name, namespace)  # it may have been away at the first look
    return found


async def _why_not_served(kind: Kind, services: Services) -> PropellerError | None:
    """Ask the server whether it has the type: why it has not, or does not say; None if it has. It has pods, and is not
    asked.
    """
    if kind.resource is PODS:
        return None
    try:
        await services.client.has_subresource(kind.resource, "status")
    except NotFound:
        resource = kind.resource
        why = (
            f"create {resource.plural}: the server has no {resource.plural} in {resource.api_version}: install its type"
        )
        return NotFound(why, status=404)
    except PropellerError as error:
        return error
    return None


def _tried_later(node: NodeView, attempt: int, error: PropellerError, services: Services) -> NodeEvent:
    """The create was denied, or not answered: the next try waits, each time longer, up to the operator's limit."""
    gates, denied = services.gates, refusals_of(node).denied
    pause = gates.refused(node, str(error))
    if isinstance(error, Rejected | WebhookUnavailable):
        now, limit = gates.clock.now(), gates.settings.limit
        denied = denied or now
        if limit and now - denied >= limit:
            what = _plugin_of(node, services)[1].resource.kind.lower()
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
    """`denied` is since when the platform has denied the create, 0 if it does not."""
    before, reason = refusals_of(node), str(why)[:REASON_CHARACTERS]
    since = before.since or services.gates.clock.now()
    return Refused(attempt, reason, after, Refusals(before.tries + 1, since, denied, reason))


def is_given_up(node: NodeView, attempt: int) -> bool:
    """Whether the attempt was given up, as it may be while an effect of it is under way."""
    execution, number = node.execution, node.number
    given_up = execution.dropped or execution.phases[number] in _GIVEN_UP
    return given_up or execution.attempts[number] != attempt


async def observe(node: NodeView, effect: ObserveAttempt, services: Services) -> tuple[NodeEvent, ...]:
    info = node.execution.info
    plugin, kind = _plugin_of(node, services)
    name = node.execution.pod_name(node.number, effect.attempt)
    if not effect.fresh and (cached := kind.cache.get(f"{info.namespace}/{name}")) is not None:
        return _found(node, effect.attempt, cached, services, followed=True)[-1:]  # that it was launched is known
    try:
        obj = await _get(kind, name, info.namespace, services)
    except NotFound:
        if services.tokens is not None:
            services.tokens.stopped(node, effect.attempt)
        if await has_ended(node, effect.attempt, services.storage):
            # its documents speak for it
            return (AttemptObserved(effect.attempt, AttemptPhase.SUCCEEDED),)
        return (plugin.missing(name, effect.attempt),)
    return _found(node, effect.attempt, obj, services, followed=False)


async def expire(node: NodeView, effect: Expire, services: Services) -> tuple[NodeEvent, ...]:
    """What an attempt came to whose time is up. One that ended before anybody looked has not run out of it."""
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
    plugin, kind = _plugin_of(node, services)
    name = node.execution.pod_name(node.number, effect.attempt)
    obj: KubeObject | None = kind.cache.get(f"{info.namespace}/{name}")
    for _ in range(MAX_DELETE_ATTEMPTS):
        try:
            found = obj or await _get(kind, name, info.namespace, services)
        except NotFound:
            return Stopped(effect.attempt)  # gone already: that is what was wanted
        if not (_is_ours(node, found) and _is_attempts(node, effect.attempt, found)):
            return Stopped(effect.attempt)
        try:
            if plugin.is_alive(found):
                await delete_resource(plugin, found, services.client, unchanged=True)
            return Stopped(effect.attempt, plugin.grace_of(found))
        except NotFound:
            if kind.resource is PODS:
                return Stopped(effect.attempt)
            obj = None  # it is gone, or its type is
        except Conflict:
            obj = None  # it may have come to its end since, or be another one
    raise Unavailable(f"{kind.resource.kind} {info.namespace}/{name} changes faster than it can be deleted")


async def delete_resource(plugin: TaskPlugin, obj: KubeObject, client: Client, *, unchanged: bool = False) -> None:
    """Delete that very resource of an attempt, and if `unchanged` only in that state. Raises NotFound, Conflict, and
    what the client raises.
    """
    assert plugin.resource is not None
    metadata = obj.metadata
    await client.delete(
        plugin.resource,
        metadata.name,
        metadata.namespace,
        uid=metadata.uid,
        resource_version=metadata.resource_version if unchanged else None,
        propagation=None if plugin is POD else "Foreground",  # so that it is there until what it has started is gone
    )


def _found(
    node: NodeView, attempt: int, obj: KubeObject, services: Services, *, followed: bool
) -> tuple[NodeEvent, ...]:
    """A resource of that name exists: ours, with its news, or somebody else's.

    That it runs is news only where the informer follows it (`followed`): else its end may come and go unseen, and it
    has to be looked for again.
    """
    plugin, kind = _plugin_of(node, services)
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
    return any(owner.uid == node.execution.info.uid for owner in obj.metadata.owner_references)


def _is_attempts(node: NodeView, attempt: int, obj: KubeObject) -> bool:
    return is_of(node.execution, node.number, attempt, obj)


def _name_is_taken(node: NodeView, attempt: int, obj: KubeObject, kind: Kind) -> Failure:
    """Two attempts of the execution have one name. The next attempt has another one."""
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
