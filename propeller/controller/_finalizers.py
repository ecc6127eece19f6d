"""Finalizers of Flyte's: FlyteAdmin (since 1.14) and FlytePropeller put them on what they create, and whoever runs
the workflow removes them.

Guarantees
    A workflow is released only after its end is in the cache and each of its pods, and of what other plugins have made,
    has ended, is gone, or has outlived the grace that it was given. The finalizers of others are kept: a patch names
    the version of the object that it was computed from.
    An object without such a finalizer costs no request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from propeller.clock import parse_rfc3339
from propeller.controller._attempt_resources import AttemptResource
from propeller.controller._resource import WORKFLOWS
from propeller.errors import NotFound
from propeller.kube import Client, ObjectMeta, Resource

OF_WORKFLOWS = frozenset({"flyte.org/finalizer", "flyte-finalizer"})
"""FlytePropeller's controller.Finalizer, and its name before 1.15."""

OF_PODS = frozenset({"flyte.org/finalizer-k8s", "flyte.org/finalizer-array", "flyte/flytek8s", "flyte/array"})
"""Those of FlytePropeller's plugins (`inject-finalizer`), and their names before 1.15."""

OURS = OF_WORKFLOWS | OF_PODS

OVERDUE = 60.0
"""Seconds after a pod's grace is over from which on it counts as stopped: its node is lost, and nothing but the pod
garbage collector will ever say that it has ended.
"""


class _HasFinalizers(Protocol):
    @property
    def finalizers(self) -> tuple[str, ...]: ...


def is_held(by: _HasFinalizers) -> bool:
    """Whether an object carries a finalizer that is for us to remove."""
    return bool(by.finalizers) and not OURS.isdisjoint(by.finalizers)


def kept(finalizers: Iterable[str]) -> list[str]:
    """The finalizers of others, in their order."""
    return [name for name in finalizers if name not in OURS]


def stops_at(resource: AttemptResource) -> float | None:
    """Epoch seconds from which on a resource counts as stopped, 0 for one that has ended; None while nobody has told it
    to stop. A pod's `deletionTimestamp` is the end of the grace.
    """
    if resource.has_ended:
        return 0.0
    if resource.metadata.deletion_timestamp is None:
        return None
    try:
        return parse_rfc3339(resource.metadata.deletion_timestamp) + OVERDUE
    except ValueError:
        return None


def next_stop(resources: Iterable[AttemptResource], now: float) -> float | None:
    """When the last of the resources that have been told to stop counts as stopped; None if each of them does already.

    Infinity if one has not been told yet.
    """
    last = max((at if at is not None else float("inf") for at in map(stops_at, resources)), default=0.0)
    return last if last > now else None


async def release(
    client: Client, workflow: ObjectMeta, resources: Sequence[AttemptResource], labels: dict[str, str]
) -> None:
    """Remove Flyte's finalizers from what the attempts of an ended workflow have left, then from the workflow, which
    gets `labels` with it. Raises NotFound for a workflow that is not there, Conflict for an object that has changed,
    and what the client raises.
    """
    for plugin, obj in resources:
        if plugin.resource is not None:
            with suppress(NotFound):
                await _remove(client, plugin.resource, obj.metadata, {})
    await _remove(client, WORKFLOWS, workflow, {"labels": labels})


async def _remove(client: Client, resource: Resource[Any], metadata: ObjectMeta, changes: dict[str, Any]) -> None:
    if not is_held(metadata):
        return
    body = {"metadata": {**_identity(metadata), "finalizers": kept(metadata.finalizers), **changes}}
    await client.patch(resource.metadata_only(), metadata.name, metadata.namespace, body=body)


def _identity(metadata: ObjectMeta) -> dict[str, str]:
    """In a merge patch: only that very object, at that version (409 otherwise)."""
    return {"resourceVersion": metadata.resource_version, "uid": metadata.uid}
