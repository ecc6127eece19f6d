"""Say what is wrong with a pod that another resource has made: it is no attempt itself, and one of many."""

from __future__ import annotations

from typing import NamedTuple

from propeller.handlers.plugins.pod._ends import finished_at, is_being_deleted
from propeller.handlers.plugins.pod._report import DELETED, describe_end, report
from propeller.kube import ContainerStatus, ContainerTerminated, Pod
from propeller.workflow import AttemptPhase

_FAILED, _RESTARTED, _CANNOT_START, _WAITS, _STOPPED, _WELL = range(6)
"""What explains the failure of all pods best comes first. Those that were stopped ran until their job failed."""


class Trouble(NamedTuple):
    """What is wrong with a pod, "" if nothing is known to be. Of two pods, the one of lower rank says more."""

    rank: tuple[int, float]
    text: str


NONE = Trouble((_WELL, 0.0), "")


def trouble_of(pod: Pod) -> Trouble:
    """Return what is wrong with a pod."""
    seen = report(pod, 0)
    if seen.phase is AttemptPhase.FAILED and seen.failure is not None:
        kind = _STOPPED if seen.failure.code == DELETED else _FAILED
        return Trouble((kind, _failed_at(pod)), seen.failure.message)
    if seen.phase is AttemptPhase.SUCCEEDED or is_being_deleted(pod):
        return NONE
    restarts = [text for one in pod.status.container_statuses if (text := _restarts(one))]
    if restarts:
        return Trouble((_RESTARTED, _failed_at(pod)), "\n".join(restarts))
    if seen.phase is not AttemptPhase.PENDING:
        return NONE
    if seen.failure is not None:
        return Trouble((_CANNOT_START, seen.since), f"it cannot start: {seen.reason}")
    return Trouble((_WAITS, seen.since), f"it has not started: {seen.reason}") if seen.reason else NONE


def _restarts(container: ContainerStatus) -> str:
    """Say how a container that was started again has ended before."""
    end = container.last_state.terminated
    if end is None or not end.exit_code:
        return ""
    return f"started again {container.restart_count} times: {describe_end(container.name, end)}"


def _failed_at(pod: Pod) -> float:
    """Return the epoch second of the first failure of its containers, 0 if unknown."""
    status = pod.status
    ends = [end for one in status.init_container_statuses + status.container_statuses for end in _ends(one)]
    return min((finished_at(end) for end in ends if end.exit_code), default=0.0)


def _ends(container: ContainerStatus) -> tuple[ContainerTerminated, ...]:
    return tuple(end for end in (container.last_state.terminated, container.state.terminated) if end is not None)
