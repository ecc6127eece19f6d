"""Launch an attempt: when nothing holds it back any more, build its resource and create it.

Guarantees
    The order is fixed: what was refused before (`Gates`, `Windows`), room in quotas, tokens of pools, then the API
    server's load (`LaunchPressure`). Who waits for one holds no worker, sends no request, and says so in its status.
    An attempt has one resource with a fixed name: a second launch finds the first one's.
    If an error does not blame the resource itself, the attempt waits and is not used up (docs/refusals.md).
"""

from __future__ import annotations

import msgspec

from propeller.errors import (
    Invalid,
    StorageError,
    Unavailable,
)
from propeller.handlers.executors._attempts import explained, found_resource
from propeller.handlers.executors._creates import create
from propeller.handlers.executors._eager import refused_eager
from propeller.handlers.executors._echo import echoed, is_echo
from propeller.handlers.executors._gates import refusals_of, refused_event
from propeller.handlers.executors._given_up import is_given_up
from propeller.handlers.executors._job_effects import launch_job
from propeller.handlers.executors._services import Cluster, Kind, Services
from propeller.handlers.executors._tokens import MIN_LOOK
from propeller.handlers.plugins import PodSettings, TaskPlugin
from propeller.handlers.plugins.pod import shape_of, template_name, template_uri
from propeller.storage import write_literals
from propeller.workflow import (
    EffectFailed,
    Failure,
    Launch,
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
    if services.jobs is not None and services.jobs.is_used and (found := services.jobs.of(node)) is not None:
        return await launch_job(node, effect, found, services.jobs, services)
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
    plugin = services.plugins.of(node)
    kind = cluster.kinds[plugin]
    name = execution.pod_name(node.number, attempt)
    if (cached := kind.cache.get(f"{execution.info.namespace}/{name}")) is not None:
        found = found_resource(node, attempt, cached, services, cluster, followed=True)
        return await explained(found, plugin, cached, cluster)
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
            no_room = msgspec.structs.replace(no_room, after=min(no_room.after, MIN_LOOK))
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
        if (refused := refused_eager(node, attempt, task)) is not None:
            return (refused,)
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
    return await create(node, attempt, name, resource, kind, services, cluster)


def _needs_template(node: NodeView, settings: PodSettings) -> bool:
    """Whether a command of the task refers to the task's template. False if the task cannot be a pod."""
    try:
        return shape_of(node, settings).needs_template
    except Invalid:
        return False
