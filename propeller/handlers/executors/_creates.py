"""Create the resource of an attempt, and say what an error means.

Guarantees
    If the name is taken, the resource that has it is observed: a second create finds the first one's.
    If an error does not blame the resource itself, the attempt waits and is not used up (docs/refusals.md).
"""

from __future__ import annotations

from typing import Any

import msgspec

from propeller.clock import rfc3339
from propeller.errors import (
    AlreadyExists,
    ErrorKind,
    Malformed,
    NotFound,
    Overloaded,
    PropellerError,
    Rejected,
    Retryable,
    Throttled,
    TooLarge,
    WebhookUnavailable,
)
from propeller.handlers.executors._attempts import found_resource, observer_of, why_not_served
from propeller.handlers.executors._gates import REASON_CHARACTERS, refusals_of, refused_event
from propeller.handlers.executors._services import Cluster, Kind, Services
from propeller.workflow import EffectFailed, Failure, Launched, NodeEvent, NodeView


async def create(
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
            what = observer_of(node, services, cluster)[1].resource.kind.lower()
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
