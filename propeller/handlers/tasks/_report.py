"""What a pod's status says about its attempt, in Flyte's error codes and kinds (flytek8s/pod_helper.go, Demystify*).

An OOM kill is the user's (ask for more memory); a SIGKILL by anybody else, an eviction, a lost node, a deleted or
vanished pod are the system's; any other exit code is the user's. All of them may be tried again.
A pod that cannot start is PENDING, with the failure that this becomes if it lasts.
"""

from __future__ import annotations

from propeller.errors import ErrorKind
from propeller.handlers.tasks._metadata import (
    ATTEMPT_ANNOTATION,
    NODE_ANNOTATION,
    PRIMARY_CONTAINER,
    SYSTEM_FAILURES_ANNOTATION,
)
from propeller.kube import ContainerStatus, ContainerTerminated, ContainerWaiting, Pod
from propeller.workflow import Failure, PodPhase, PodSeen

INTERRUPTED = "Interrupted"
OOM_KILLED = "OOMKilled"

_ENDED = frozenset({"Succeeded", "Failed"})
_SIGKILL_EXITS = frozenset({137, 247})  # 128 + 9, and 256 - 9 as some runtimes have it
_SYSTEM_REASONS = frozenset(
    {"Shutdown", "Terminated", "NodeShutdown", "NodeAffinity", "Evicted", "Preempting", "UnexpectedAdmissionError"}
)
_HARMLESS_WAITING = frozenset({"", "ErrImagePull", "ContainerCreating", "PodInitializing", "CrashLoopBackOff"})
_USERS_WAITING = {
    "InvalidImageName": False,
    "ErrImageNeverPull": False,
    "CreateContainerConfigError": False,
    "CreateContainerError": False,
    "ImagePullBackOff": True,
}
"""What keeps a container from starting through the user's fault, and whether another attempt may mend it."""


def report(pod: Pod) -> PodSeen | None:
    """The pod's news, or None where it is not one of ours."""
    attempt = attempt_of(pod)
    if attempt is None:
        return None
    seen = _report(pod, attempt, (pod.metadata.annotations or {}).get(PRIMARY_CONTAINER, ""))
    if seen.phase in {PodPhase.PENDING, PodPhase.RUNNING} and pod.metadata.deletion_timestamp is not None:
        message = f"pod {pod.metadata.name} is being deleted by somebody else before its end"
        return _failed(seen.attempt, "UnexpectedObjectDeletion", message, ErrorKind.SYSTEM)
    return seen


def is_alive(pod: Pod) -> bool:
    """Whether it runs, or will, and nobody has told it to stop."""
    return pod.status.phase not in _ENDED and pod.metadata.deletion_timestamp is None


def node_of(pod: Pod) -> str:
    """The unique id of its node; "" where it is not one of ours."""
    return (pod.metadata.annotations or {}).get(NODE_ANNOTATION, "")


def attempt_of(pod: Pod) -> int | None:
    """Which attempt of its node the pod is; None where it is not one of ours."""
    return _number(pod, ATTEMPT_ANNOTATION)


def system_failures_of(pod: Pod) -> int:
    """How many attempts before this one failed by the system's fault."""
    return _number(pod, SYSTEM_FAILURES_ANNOTATION) or 0


def _number(pod: Pod, annotation: str) -> int | None:
    text = (pod.metadata.annotations or {}).get(annotation, "")
    return int(text) if text.isascii() and text.isdigit() else None


def _report(pod: Pod, attempt: int, primary: str) -> PodSeen:
    match pod.status.phase:
        case "Succeeded":
            if any(_is_oom(c.state.terminated) for c in _containers(pod)):
                return _failed(attempt, OOM_KILLED, "the pod reports success, though a container was OOMKilled")
            return PodSeen(attempt, PodPhase.SUCCEEDED)
        case "Failed":
            return _demystify_failure(pod, attempt, primary)
        case "Running" if primary:
            return _primary_phase(pod, attempt, primary)
        case "Running":
            return PodSeen(attempt, PodPhase.RUNNING)
        case _:
            return _pending(pod, attempt)


def gone(attempt: int, name: str, why: str = "it was deleted by somebody else or its node was lost") -> PodSeen:
    """The news of a pod that is no longer there though its end was not seen."""
    message = f"pod {name} is gone before its end was seen: {why}"
    failure = Failure("ResourceDeletedExternally", message, ErrorKind.SYSTEM, recoverable=True, attempt=attempt)
    return PodSeen(attempt, PodPhase.GONE, failure=failure)


def _pending(pod: Pod, attempt: int) -> PodSeen:
    for container in _containers(pod):
        waiting = container.state.waiting
        if waiting is not None and waiting.reason not in _HARMLESS_WAITING:
            failure = _cannot_start(attempt, container.name, waiting)
            return PodSeen(attempt, PodPhase.PENDING, f"{waiting.reason}: {waiting.message}", failure)
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return PodSeen(attempt, PodPhase.PENDING, f"{condition.reason}: {condition.message}")
    return PodSeen(attempt, PodPhase.PENDING)


def _cannot_start(attempt: int, name: str, waiting: ContainerWaiting) -> Failure:
    """What does not start by the user's fault is named; anything else is the system's."""
    code, message = f"ContainersNotReady|{waiting.reason}", f"[{name}] {waiting.message or waiting.reason}"
    if (recoverable := _USERS_WAITING.get(waiting.reason)) is not None:
        return Failure(code, message, recoverable=recoverable, attempt=attempt)
    return Failure(code, message, ErrorKind.SYSTEM, recoverable=True, attempt=attempt)


def _primary_phase(pod: Pod, attempt: int, primary: str) -> PodSeen:
    """A pod with sidecars ends when its primary container does."""
    for container in pod.status.container_statuses:
        if container.name != primary or (terminated := container.state.terminated) is None:
            continue
        if _is_oom(terminated):
            return _failed(attempt, OOM_KILLED, _describe(container.name, terminated))
        if terminated.exit_code in _SIGKILL_EXITS:
            return _failed(attempt, INTERRUPTED, _describe(container.name, terminated), ErrorKind.SYSTEM)
        if terminated.exit_code:
            return _failed(attempt, terminated.reason or "Error", _describe(container.name, terminated))
        return PodSeen(attempt, PodPhase.SUCCEEDED)
    return PodSeen(attempt, PodPhase.RUNNING)


def _demystify_failure(pod: Pod, attempt: int, primary: str) -> PodSeen:
    status = pod.status
    code = status.reason or "UnknownError"
    system = code in _SYSTEM_REASONS
    lines = [status.message] if status.message else []
    for container in _containers(pod):
        terminated = container.last_state.terminated or container.state.terminated
        if terminated is None:
            continue
        if _is_oom(terminated):
            code = OOM_KILLED
        elif code == OOM_KILLED:
            pass  # whatever else ended with it, the cause is known
        elif terminated.exit_code in _SIGKILL_EXITS:
            code = INTERRUPTED
            system = system or not primary or container.name == primary
        elif terminated.exit_code and code == "UnknownError":
            code = terminated.reason or "Error"
        lines.append(_describe(container.name, terminated))
    message = "\n".join(lines) or "the pod failed, and Kubernetes gave no message"
    if system or code == "UnknownError":
        return _failed(attempt, INTERRUPTED, message, ErrorKind.SYSTEM)
    return _failed(attempt, code, message)


def _describe(name: str, terminated: ContainerTerminated) -> str:
    end = f"[{name}] terminated with exit code ({terminated.exit_code})"
    if terminated.reason:
        end += f", reason {terminated.reason}"
    return f"{end}: {terminated.message.strip()}" if terminated.message else end


def _failed(attempt: int, code: str, message: str, kind: ErrorKind = ErrorKind.USER) -> PodSeen:
    failure = Failure(code, message, kind, recoverable=True, attempt=attempt)
    return PodSeen(attempt, PodPhase.FAILED, failure=failure)


def _containers(pod: Pod) -> tuple[ContainerStatus, ...]:
    return pod.status.init_container_statuses + pod.status.container_statuses


def _is_oom(terminated: ContainerTerminated | None) -> bool:
    return terminated is not None and OOM_KILLED in terminated.reason
