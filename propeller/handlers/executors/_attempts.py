"""Observe and stop the resource of an attempt: a pod, or the resource that another task plugin makes.

Guarantees
    A resource with an attempt's name and another owner is neither used nor deleted.
    A resource that has ended is not deleted: it is the record of its attempt.
    If a resource type is not served, its objects do not count as deleted.
    An object that is not of its type, as somebody wrote nonsense into it, shows nothing of its attempt: it can be
    stopped, its time can be over, and it is looked at again.
    The resource of an attempt that has begun is gone if another one has its name.
"""

from __future__ import annotations

from propeller.errors import (
    Conflict,
    ErrorKind,
    Invalid,
    NotFound,
    PropellerError,
    Unavailable,
)
from propeller.handlers.executors._gates import refused_event
from propeller.handlers.executors._job_effects import expire_job, stop_job
from propeller.handlers.executors._outcome import has_ended
from propeller.handlers.executors._services import Cluster, Kind, Services
from propeller.handlers.plugins import (
    CHILD,
    DEFAULT_GRACE,
    POD,
    AttemptObserver,
    claim_of,
    is_of,
    owner_of,
    parent_of,
    told_of_pods,
    uploads,
    why_pods_failed,
)
from propeller.kube import PODS, Client, KubeObject, Pod
from propeller.workflow import (
    AttemptObserved,
    AttemptPhase,
    EffectFailed,
    Expire,
    Expired,
    Failure,
    Launched,
    Launching,
    NodeEvent,
    NodeView,
    ObserveAttempt,
    StopAttempt,
    Stopped,
)

_ENDS = frozenset({AttemptPhase.SUCCEEDED, AttemptPhase.FAILED})

MAX_DELETE_ATTEMPTS = 5
"""Tries to delete a resource that changes at the same time, before a pause."""


def observer_of(node: NodeView, services: Services, cluster: Cluster) -> tuple[AttemptObserver, Kind]:
    """Return what reads the resources of the node's attempts, and their kind. Raises PluginFailed if the plugin of the
    node's task cannot be used.
    """
    plugin = services.plugins.observer_of(node)
    return plugin, cluster.kinds[plugin]


async def _get(kind: Kind, name: str, namespace: str, client: Client) -> KubeObject:
    """Return the resource of that name, its metadata alone if it cannot be decoded. Raises NotFound if it is deleted,
    Unavailable if its type is not served, and what the client raises.
    """
    try:
        return await _read(kind, name, namespace, client)
    except NotFound:
        if kind.resource is PODS:
            raise
        if (unserved := await why_not_served(kind, client)) is not None:
            raise Unavailable(str(unserved)) from unserved
        return await _read(kind, name, namespace, client)  # the type may have been missing for the first GET only


async def _read(kind: Kind, name: str, namespace: str, client: Client) -> KubeObject:
    found: KubeObject
    try:
        found = await client.get(kind.resource, name, namespace)
    except Invalid:
        found = await client.get(kind.resource.metadata_only(), name, namespace)
    return found


async def why_not_served(kind: Kind, client: Client) -> PropellerError | None:
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


async def observe(node: NodeView, effect: ObserveAttempt, services: Services) -> tuple[NodeEvent, ...]:
    info = node.execution.info
    if services.jobs is not None and node.execution.jobs.of(node.number, effect.attempt) is not None:
        ended = await services.jobs.look_now(node, effect.attempt)
        return () if ended is None else (ended,)
    cluster = services.cluster_of(node, effect.attempt)
    plugin, kind = observer_of(node, services, cluster)
    name = node.execution.pod_name(node.number, effect.attempt)
    if not effect.fresh and (cached := kind.cache.get(f"{info.namespace}/{name}")) is not None:
        found = found_resource(node, effect.attempt, cached, services, cluster, followed=True)
        return (await explained(found, plugin, cached, cluster))[-1:]  # the launch is known already
    try:
        obj = await _get(kind, name, info.namespace, cluster.client)
        if not is_ours(node, obj) and not isinstance(node.execution.states.get(node.number), Launching):
            raise NotFound(f"{kind.resource.kind} {info.namespace}/{name} is another object now", status=404)
    except NotFound:
        if services.tokens is not None:
            services.tokens.stopped(node, effect.attempt)
        if await has_ended(node.execution.output_directory(node.number, effect.attempt), services.storage):
            # its documents in the object store prove it
            return (AttemptObserved(effect.attempt, AttemptPhase.SUCCEEDED),)
        return (plugin.missing(name, effect.attempt),)
    return await explained(
        found_resource(node, effect.attempt, obj, services, cluster, followed=False), plugin, obj, cluster
    )


async def expire(node: NodeView, effect: Expire, services: Services) -> tuple[NodeEvent, ...]:
    """Check an attempt whose deadline has passed: if it ended before, that end counts."""
    if services.jobs is not None and node.execution.jobs.of(node.number, effect.attempt) is not None:
        return await expire_job(node, effect, services.jobs)
    seen = (await observe(node, ObserveAttempt(node.number, effect.attempt), services))[-1]
    if isinstance(seen, AttemptObserved) and (seen.phase in _ENDS or _has_failed(seen)):
        return (seen,)
    return (Expired(effect.attempt, await _why_late(node, effect.attempt, services)),)


async def _why_late(node: NodeView, attempt: int, services: Services) -> str:
    """Say what is wrong with the pods that the resource of an attempt without an end has made."""
    cluster = services.cluster_of(node, attempt)
    observer, kind = observer_of(node, services, cluster)
    name = node.execution.pod_name(node.number, attempt)
    obj: KubeObject | None = kind.cache.get(f"{node.execution.info.namespace}/{name}")
    return "" if obj is None or not is_ours(node, obj) else await why_pods_failed(observer, obj, cluster.client)


async def explained(
    events: tuple[NodeEvent, ...], observer: AttemptObserver, obj: KubeObject, cluster: Cluster
) -> tuple[NodeEvent, ...]:
    """Add to a failure among the events of a resource what became of the pods that it has made."""
    seen = events[-1]
    if not isinstance(seen, AttemptObserved) or seen.phase is not AttemptPhase.FAILED:
        return events
    return (*events[:-1], told_of_pods(seen, await why_pods_failed(observer, obj, cluster.client)))


async def stop(node: NodeView, effect: StopAttempt, services: Services) -> tuple[NodeEvent, ...]:
    job = node.execution.jobs.of(node.number, effect.attempt)
    if services.jobs is not None and job is not None:
        return await stop_job(node, effect, job, services.jobs)
    stopped = await _stop(node, effect, services)
    if services.tokens is not None and not stopped.grace:
        services.tokens.stopped(node, effect.attempt)
    return (stopped,)


async def _stop(node: NodeView, effect: StopAttempt, services: Services) -> Stopped:
    info = node.execution.info
    cluster = services.cluster_of(node, effect.attempt)
    plugin, kind = observer_of(node, services, cluster)
    name = node.execution.pod_name(node.number, effect.attempt)
    obj: KubeObject | None = kind.cache.get(f"{info.namespace}/{name}")
    for _ in range(MAX_DELETE_ATTEMPTS):
        try:
            found = obj or await _get(kind, name, info.namespace, cluster.client)
        except NotFound:
            return Stopped(effect.attempt)  # deleted already
        if not (is_ours(node, found) and _is_attempts(node, effect.attempt, found)):
            return Stopped(effect.attempt)
        readable = not _is_unreadable(found, kind)
        try:
            if plugin.is_alive(found) if readable else found.metadata.deletion_timestamp is None:
                await delete_resource(plugin, found, cluster.client, unchanged=True)
            return Stopped(effect.attempt, plugin.grace_of(found) if readable else DEFAULT_GRACE)
        except NotFound:
            if kind.resource is PODS:
                return Stopped(effect.attempt)
            obj = None  # the object or its type is deleted
        except Conflict:
            obj = None  # it may have ended since, or be another object
    raise Unavailable(f"{kind.resource.kind} {info.namespace}/{name} changes faster than it can be deleted")


async def delete_resource(plugin: AttemptObserver, obj: KubeObject, client: Client, *, unchanged: bool = False) -> None:
    """Delete this resource of an attempt by uid, and with `unchanged` only at this resourceVersion. Raises NotFound,
    Conflict, and what the client raises.
    """
    metadata = obj.metadata
    await client.delete(
        plugin.resource,
        metadata.name,
        metadata.namespace,
        uid=metadata.uid,
        resource_version=metadata.resource_version if unchanged else None,
        grace_seconds=round(DEFAULT_GRACE) if isinstance(obj, Pod) and uploads(obj) else None,
        propagation=None if plugin is POD else "Foreground",  # it stays until its dependents are deleted
    )


def found_resource(
    node: NodeView, attempt: int, obj: KubeObject, services: Services, cluster: Cluster, *, followed: bool
) -> tuple[NodeEvent, ...]:
    """Return the events of an existing resource of that name; it may have another owner.

    That it runs is reported only if it is in the informer's cache (`followed`): otherwise its end may be missed, and it
    has to be observed again.
    """
    plugin, kind = observer_of(node, services, cluster)
    if not is_ours(node, obj):
        name = f"{kind.resource.kind.lower()} {node.execution.info.namespace}/{obj.metadata.name}"
        if plugin is CHILD and parent_of(obj.metadata) != node.execution.info.name:
            return (EffectFailed(attempt, _name_is_anothers(node, attempt, name)),)
        reason = f"{name} exists and belongs to something else: delete it"
        return (
            refused_event(node, attempt, reason, services.effects.quota_retry, services.gates.clock.now(), denied=0.0),
        )
    if not _is_attempts(node, attempt, obj):
        return (EffectFailed(attempt, _name_is_taken(node, attempt, obj, kind)),)
    if _is_unreadable(obj, kind):
        return (Launched(attempt),)
    seen = plugin.observe(obj, attempt)
    if seen is None or (seen.phase is AttemptPhase.RUNNING and not followed and seen.failure is None):
        return (Launched(attempt),)
    return (Launched(attempt), seen)


def _is_unreadable(obj: KubeObject, kind: Kind) -> bool:
    """Whether it could not be decoded, so that only its metadata is known."""
    return type(obj) is KubeObject and kind.resource.type is not KubeObject


def _has_failed(seen: AttemptObserved) -> bool:
    """Whether its program has, and only what the program says of it is waited for."""
    return seen.phase is AttemptPhase.RUNNING and seen.failure is not None


def is_ours(node: NodeView, obj: KubeObject) -> bool:
    """Whether the node's execution owns a resource."""
    uid = node.execution.info.uid
    if obj.metadata.owner_references or node.spec.workflow is not None:
        return any(owner.uid == uid for owner in obj.metadata.owner_references)
    return (owner := owner_of(obj)) is not None and owner.uid == uid


def _is_attempts(node: NodeView, attempt: int, obj: KubeObject) -> bool:
    return is_of(node.execution, node.number, attempt, obj)


def _name_is_anothers(node: NodeView, attempt: int, name: str) -> Failure:
    """An execution that no earlier one of our name has started has the name, for as long as it is kept. The next
    attempt has another one.
    """
    reason = (
        f"{name} exists and belongs to something else, so that attempt {attempt} of node "
        f"{node.execution.unique_id(node.number)} cannot have its name: delete it"
    )
    return Failure("NameTaken", reason, ErrorKind.SYSTEM, recoverable=True)


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
