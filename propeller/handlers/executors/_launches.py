"""Launch an attempt: when nothing holds it back any more, build its resource and create it.

Guarantees
    The order is fixed: what was refused before (`Gates`, `Windows`), room in quotas, tokens of pools, then the API
    server's load (`LaunchPressure`). Who waits for one holds no worker, sends no request, and says so in its status.
    An attempt has one resource with a fixed name: a second launch finds the first one's.
    If an error does not blame the resource itself, the attempt waits and is not used up (docs/refusals.md).
"""

from __future__ import annotations

from typing import Any

import msgspec

from propeller.clock import rfc3339
from propeller.errors import (
    AlreadyExists,
    ErrorKind,
    Invalid,
    Malformed,
    NotFound,
    Overloaded,
    PropellerError,
    Rejected,
    Retryable,
    StorageError,
    Throttled,
    TooLarge,
    Unavailable,
    WebhookUnavailable,
)
from propeller.handlers.executors._attempts import found_resource, is_given_up, plugin_of, why_not_served
from propeller.handlers.executors._echo import echoed, is_echo
from propeller.handlers.executors._gates import REASON_CHARACTERS, refusals_of, refused_event
from propeller.handlers.executors._services import Cluster, Kind, Services
from propeller.handlers.executors._tokens import SHORTEST_LOOK
from propeller.handlers.plugins import PodSettings, TaskPlugin
from propeller.handlers.plugins.pod import shape_of, template_name, template_uri
from propeller.storage import write_literals
from propeller.workflow import (
    EffectFailed,
    Failure,
    Launch,
    Launched,
    NodeEvent,
    NodeView,
    Recovered,
    Refusals,
    Refused,
)

HELD = "the platform refuses pods of this execution: they ask one after the other"
"""Why a create is not sent yet although it was not refused itself."""

NAMESPACE_HELD = "the platform refuses what is created in this namespace: launches ask one after the other"
"""Why a create is not sent yet although nothing of its execution was refused."""


_TEMPLATES_RETRY = 5.0
"""Seconds before an attempt whose PodTemplate could not be read asks again: a grant of the right takes minutes."""


async def launch(node: NodeView, effect: Launch, services: Services) -> tuple[NodeEvent, ...]:
    events: tuple[NodeEvent, ...] = ()
    cluster = services.cluster_of(node, effect.attempt)
    pressure = cluster.pressure
    slot = None if pressure is None else pressure.slot_of(node, effect.attempt)
    try:
        events = await _launch(node, effect, services, cluster)
    except StorageError as error:  # nothing was started yet: the attempt waits, and its state says for what
        after = error.after or services.effects.storage_retry
        events = (
            refused_event(
                node, effect.attempt, error, after, services.gates.clock.now(), denied=refusals_of(node).denied
            ),
        )
    finally:
        if cluster.windows is not None:
            cluster.windows.given_up(node, effect.attempt)
        if cluster.quotas is not None:
            cluster.quotas.answered(node, effect.attempt, events)
        if pressure is not None and slot is not None:
            pressure.give_back(slot)
        if services.tokens is not None and not (pressure is not None and pressure.holds(node, effect.attempt)):
            services.tokens.answered(node, effect.attempt, events)
    return events


async def _launch(node: NodeView, effect: Launch, services: Services, cluster: Cluster) -> tuple[NodeEvent, ...]:
    attempt, execution = effect.attempt, node.execution
    plugin, kind = plugin_of(node, services, cluster)
    name = execution.pod_name(node.number, attempt)
    if (cached := kind.cache.get(f"{execution.info.namespace}/{name}")) is not None:
        return found_resource(node, attempt, cached, services, cluster, followed=True)
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
        if isinstance(no_room, Refused) and services.tokens is not None and services.tokens.keep(node, attempt):
            no_room = msgspec.structs.replace(no_room, after=min(no_room.after, SHORTEST_LOOK))
        return (no_room,)
    if (
        services.tokens is not None
        and not is_given_up(node, attempt)
        and (wait := await services.tokens.ask(node, attempt)) is not None
    ):
        return (wait,)
    if (pressure := cluster.pressure) is None:
        return await _begin(node, attempt, name, plugin, kind, services, cluster)
    if is_given_up(node, attempt):
        return ()
    if (waits := pressure.ask(node, attempt)) is not None:
        return (waits,)
    try:
        return await _begin(node, attempt, name, plugin, kind, services, cluster)
    finally:
        pressure.done()


async def _begin(
    node: NodeView, attempt: int, name: str, plugin: TaskPlugin, kind: Kind, services: Services, cluster: Cluster
) -> tuple[NodeEvent, ...]:
    """Build the resource from its inputs, and create it."""
    execution, plan = node.execution, node.graph.plan
    settings = cluster.pod_settings or services.pod_settings
    inputs = await services.inputs.of_task(node)
    task = plan.task(node.spec.task)
    if settings.templates is not None and template_name(task, settings):
        try:
            await settings.templates.ready()
        except Unavailable as error:
            now, denied = services.gates.clock.now(), refusals_of(node).denied
            return (refused_event(node, attempt, error, _TEMPLATES_RETRY, now, denied=denied),)
    try:
        if is_echo(task):
            uri = f"{execution.output_directory(node.number, attempt)}/outputs.pb"
            await write_literals(services.storage, uri, echoed(task, inputs))
            return (Recovered(attempt),)
        resource = plugin.build(node, attempt, inputs, settings)
    except Invalid as error:
        return (EffectFailed(attempt, Failure("FailedToBuildResource", str(error))),)
    if _needs_template(node, settings):
        template = task.SerializeToString(deterministic=True)
        await services.storage.write(template_uri(node), template)
    if is_given_up(node, attempt):
        return ()
    if services.tokens is not None:
        services.tokens.describe(node, attempt, resource)
    if cluster.marks is not None:
        resource = cluster.marks.mark(resource, execution.info)
    return await _create(node, attempt, name, resource, kind, services, cluster)


def _needs_template(node: NodeView, settings: PodSettings) -> bool:
    """Whether a command of the task refers to the task's template. False if the task cannot be a pod."""
    try:
        return shape_of(node, settings).needs_template
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
        return found_resource(node, attempt, found, services, cluster, followed=False)
    except (Malformed, TooLarge) as error:
        return (EffectFailed(attempt, _rejection(error)),)
    except Overloaded as error:
        return (_overloaded(node, attempt, error, services, cluster),)
    except Throttled as error:
        services.gates.passed(node)  # quotas are checked last
        if cluster.quotas is not None and (waits := cluster.quotas.refused(node, attempt, kind.resource, error)):
            return (waits,)
        after = error.after or services.effects.quota_retry
        if cluster.windows is not None:
            after = cluster.windows.refused(node, attempt, error.after)
        return (refused_event(node, attempt, error, after, services.gates.clock.now(), denied=0.0),)
    except NotFound as error:  # the namespace or the type: the server does not say which
        return (_tried_later(node, attempt, await why_not_served(kind, cluster.client) or error, services, cluster),)
    except (Rejected, Retryable) as error:
        return (_tried_later(node, attempt, error, services, cluster),)
    services.gates.passed(node)
    if cluster.windows is not None:
        cluster.windows.passed(node, attempt)
    return (Launched(attempt),)


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
            what = plugin_of(node, services, cluster)[1].resource.kind.lower()
            why = f"its {what} could not be created since {rfc3339(denied)}, longer than launches.limit: {error}"
            failure = Failure("RuntimeFailure", why[:REASON_CHARACTERS], ErrorKind.SYSTEM)
            return EffectFailed(attempt, failure)
    after = max(pause, error.after or 0.0) if isinstance(error, Retryable) else pause
    event = refused_event(node, attempt, error, after, gates.clock.now(), denied=denied)
    is_certain = isinstance(error, Rejected | WebhookUnavailable | Throttled)
    return event if is_certain else msgspec.structs.replace(event, may_exist=True)


def _overloaded(node: NodeView, attempt: int, error: Overloaded, services: Services, cluster: Cluster) -> NodeEvent:
    """The API server had no room for a create: it waits with the others. If nothing of its namespace has passed for
    long, the namespace is asked for rarely.
    """
    after = None if cluster.windows is None else cluster.windows.throttled(node, attempt, error.after)
    if after is None and cluster.pressure is not None:
        return cluster.pressure.refused(node, attempt)
    pause = after or error.after or services.effects.quota_retry
    return refused_event(node, attempt, error, pause, services.gates.clock.now(), denied=0.0)


def _rejection(error: Malformed | TooLarge) -> Failure:
    """Flyte's codes for a refused resource (task/k8s/plugin_manager.go)."""
    return Failure("EntityTooLarge" if isinstance(error, TooLarge) else "BadTaskFormat", str(error))
