"""Determine how a pod ends: its primary container decides, independent of the other containers.

Guarantees
    A container's end is final when it is first observed, so that the outcome of an attempt does not depend on which of
    its pod's events arrives: `Running` with a terminated primary container gives the same result as the last `Failed`.
    Native sidecars, and containers that a webhook added, neither keep a task running nor decide how it ends.
"""

from __future__ import annotations

from propeller.clock import parse_rfc3339
from propeller.handlers.plugins._api import DEFAULT_GRACE
from propeller.handlers.plugins._metadata import PRIMARY_CONTAINER
from propeller.handlers.plugins.pod._dataloader import UPLOADER
from propeller.handlers.plugins.pod._kueue import TERMINATION_TARGET, is_gated
from propeller.kube import ContainerStatus, ContainerTerminated, Pod, PodCondition
from propeller.workflow import Remains

UNNAMED_PRIMARY = "primary"
"""The name of a container task's container if its pod's name is too long for a container."""

_ENDED = frozenset({"Succeeded", "Failed"})
_DISRUPTIONS = frozenset({"DisruptionTarget", TERMINATION_TARGET})


def has_ended(pod: Pod) -> bool:
    """Whether none of its containers runs, or ever will: it has a terminal phase, or is deleted while a queue holds it.
    Finalizers may keep such an object for long.
    """
    return pod.status.phase in _ENDED or (is_gated(pod) and is_being_deleted(pod))


def is_being_deleted(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None


def primary_of(pod: Pod) -> ContainerStatus | None:
    """Return the container that decides: the one that an annotation names, otherwise that of a container task, by name,
    otherwise the only one. None before the kubelet has reported it, or if all containers count.
    """
    containers = pod.status.container_statuses
    named = (pod.metadata.annotations or {}).get(PRIMARY_CONTAINER)
    for name in (named, pod.metadata.name, UNNAMED_PRIMARY):
        for container in containers:
            if container.name == name:
                return container
    return containers[0] if named is None and len(containers) == 1 else None


def end_of(pod: Pod, container: ContainerStatus) -> ContainerTerminated | None:
    """Return the final termination of the container, None if it runs or the kubelet will restart it."""
    ended = container.state.terminated
    match pod.spec.restart_policy:
        case "Always":  # it never ends for good: its first end is the task's
            return container.last_state.terminated or ended
        case "OnFailure" if not has_ended(pod) and ended is not None and ended.exit_code:
            return None
    return ended


def remains_of(pod: Pod) -> Remains:
    """Return what is left of the pod after its attempt is over."""
    if has_ended(pod):
        return Remains.NOTHING
    by_itself = _all_have_ended(pod) and not _is_uploading(pod)
    return Remains.ENDING if is_being_deleted(pod) or by_itself else Remains.RUNNING


def _all_have_ended(pod: Pod) -> bool:
    """Whether only native sidecars are left, which the kubelet stops by itself."""
    containers = pod.status.container_statuses
    return (
        bool(containers)
        and pod.spec.restart_policy != "Always"
        and all(end_of(pod, container) is not None for container in containers)
    )


def _is_uploading(pod: Pod) -> bool:
    """Whether an uploader runs: the kubelet lets it for as long as uploads may take, which is hours."""
    return any(one.name == UPLOADER and one.state.running is not None for one in pod.status.init_container_statuses)


def grace_of(pod: Pod) -> float:
    """Return the seconds that the pod has to stop after its deletion, 0 if it has stopped or not begun."""
    if has_ended(pod) or is_gated(pod):
        return 0.0
    given = pod.metadata.deletion_grace_period_seconds
    if given is None and not uploads(pod):
        given = pod.spec.termination_grace_period_seconds
    return DEFAULT_GRACE if given is None else float(given)


def ended_by_itself(pod: Pod, end: ContainerTerminated) -> bool:
    """Whether the container ended before its pod was to stop (deleted, evicted, preempted), by the times of both. These
    are whole seconds: an end in the same second counts as a consequence.
    """
    finished = _epoch(end.finished_at)
    told = [when for when in (_deletion_asked_at(pod), *map(_disrupted_at, pod.status.conditions)) if when is not None]
    return bool(told) and finished is not None and finished < min(told)


def uploads(pod: Pod) -> bool:
    """Whether an uploader is in it: then the grace period of its spec is the time for uploads, which an attempt that is
    over does not get.
    """
    found = pod.status.init_container_statuses
    return bool(found) and any(one.name == UPLOADER for one in found)


def finished_at(end: ContainerTerminated) -> float:
    """Return the epoch second of the end, 0 if unknown."""
    return _epoch(end.finished_at) or 0.0


def _deletion_asked_at(pod: Pod) -> float | None:
    over = _epoch(pod.metadata.deletion_timestamp)  # the end of the grace period
    return None if over is None else over - (pod.metadata.deletion_grace_period_seconds or 0)


def _disrupted_at(condition: PodCondition) -> float | None:
    disrupted = condition.type in _DISRUPTIONS and condition.status == "True"
    return _epoch(condition.last_transition_time) if disrupted else None


def disruptions_of(pod: Pod) -> tuple[PodCondition, ...]:
    """Return the conditions by which the pod was disrupted: evicted, preempted, its node drained, tainted or lost."""
    found = pod.status.conditions
    return tuple(one for one in found if one.type == "DisruptionTarget" and one.status == "True")


def since_of(condition: PodCondition) -> float:
    """Return the epoch second since which the condition is as it is, 0 if unknown."""
    return _epoch(condition.last_transition_time) or 0.0


def created_at(pod: Pod) -> float:
    """Return the epoch second when the API server created the pod, 0 if unknown."""
    return _epoch(pod.metadata.creation_timestamp) or 0.0


def scheduled_at(pod: Pod) -> float:
    """Return the epoch second when the pod was assigned to its node, which then pulls images; 0 if unknown."""
    ready = scheduled = None
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "True":
            scheduled = _epoch(condition.last_transition_time)
        elif condition.type == "Ready":
            ready = _epoch(condition.last_transition_time)
    return scheduled or ready or 0.0


def _epoch(text: str | None) -> float | None:
    try:
        return parse_rfc3339(text) if text else None
    except ValueError:
        return None
