"""Remove Flyte's finalizers: FlyteAdmin (since 1.14) and FlytePropeller add them, and the engine has to remove them.

Guarantees
    A workflow is released only after its end is in the cache and each of its pods, and of other plugins' resources, has
    ended, is deleted, or has exceeded its grace period. Finalizers of other owners are kept: a patch names the version
    of the object that it was computed from.
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
from propeller.handlers.plugins import HOLD_FINALIZER, AttemptObserver
from propeller.kube import PODS, Client, KubeObject, ObjectMeta, Pod, Resource

JOBS_FINALIZER = "propeller.dev/jobs"
"""Of workflows that have jobs of remote services: held until these have ended or are deleted (`_remote_jobs`)."""

OF_WORKFLOWS = frozenset({"flyte.org/finalizer", "flyte-finalizer", JOBS_FINALIZER})
"""FlytePropeller's controller.Finalizer, its name before 1.15, and ours."""

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


def is_our_hold(by: _HasFinalizers) -> bool:
    """Whether a pod of another cluster has the finalizer that it was created with (`_holds`)."""
    return bool(by.finalizers) and HOLD_FINALIZER in by.finalizers


def is_held(by: _HasFinalizers) -> bool:
    """Whether an object has a finalizer that the controller has to remove."""
    return bool(by.finalizers) and not OURS.isdisjoint(by.finalizers)


def kept(finalizers: Iterable[str]) -> list[str]:
    """Return the finalizers of other owners, in order."""
    return [name for name in finalizers if name not in OURS]


def never_runs(obj: KubeObject) -> bool:
    """Whether a resource is a pod that waits for a node, and so has no end to be read: it never gets one while it is
    being deleted.
    """
    return isinstance(obj, Pod) and not obj.spec.node_name and obj.status.phase in {"", "Pending"}


def stops_at(plugin: AttemptObserver, obj: KubeObject) -> float | None:
    """Return the epoch second from which on a resource counts as stopped: 0 if it has ended, None if it is not being
    deleted. A pod's `deletionTimestamp` is the end of its grace period.
    """
    if plugin.has_ended(obj):
        return 0.0
    if obj.metadata.deletion_timestamp is None:
        return None
    try:
        return parse_rfc3339(obj.metadata.deletion_timestamp) + OVERDUE
    except ValueError:
        return None


def next_stop(resources: Iterable[AttemptResource], now: float) -> float | None:
    """Return the epoch second when the last of the resources counts as stopped, None if all do already, infinity if one
    is not being deleted.
    """
    times = (stops_at(one.plugin, one.obj) for one in resources)
    last = max((at if at is not None else float("inf") for at in times), default=0.0)
    return last if last > now else None


async def release(
    client: Client, workflow: ObjectMeta, resources: Sequence[AttemptResource], labels: dict[str, str]
) -> ObjectMeta:
    """Remove Flyte's finalizers from the resources of an ended workflow, then from the workflow, which gets `labels` as
    well; returns its metadata after that. Raises NotFound for a deleted workflow, Conflict for an object that has
    changed, and what the client raises.
    """
    for one in resources:
        with suppress(NotFound):
            await _remove(one.client, one.plugin.resource, one.metadata, {})
    return await _remove(client, WORKFLOWS, workflow, {"labels": labels})


async def release_hold(client: Client, pod: ObjectMeta) -> None:
    """Remove our own finalizer from a pod of another cluster. Raises NotFound, Conflict, and what the client raises."""
    left = [name for name in pod.finalizers if name != HOLD_FINALIZER]
    body = {"metadata": {**_identity(pod), "finalizers": left}}
    await client.patch(PODS.metadata_only(), pod.name, pod.namespace, body=body)


async def _remove(client: Client, resource: Resource[Any], metadata: ObjectMeta, changes: dict[str, Any]) -> ObjectMeta:
    if not is_held(metadata):
        return metadata
    body = {"metadata": {**_identity(metadata), "finalizers": kept(metadata.finalizers), **changes}}
    patched = await client.patch(resource.metadata_only(), metadata.name, metadata.namespace, body=body)
    return patched.metadata


def _identity(metadata: ObjectMeta) -> dict[str, str]:
    """Pin a merge patch to this object at this version (409 otherwise)."""
    return {"resourceVersion": metadata.resource_version, "uid": metadata.uid}
