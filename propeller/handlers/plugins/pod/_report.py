"""Map a pod's status to an observation of its attempt, with Flyte's error codes and kinds (flytek8s/pod_helper.go,
Demystify*).

An OOM kill is USER (request more memory); another SIGKILL, an eviction, a lost node, a deleted pod are SYSTEM; any
other exit code is USER. All are recoverable.
A pod that cannot start is PENDING, with the failure that this becomes if it lasts. One that a queue holds by a
scheduling gate is PENDING, and waits; one that its queue takes back is evicted, which costs its task nothing.
"""

from __future__ import annotations

import re
import signal

import msgspec

from propeller.errors import ErrorKind
from propeller.handlers.plugins._api import GONE
from propeller.handlers.plugins.pod._ends import (
    created_at,
    disruptions_of,
    end_of,
    ended_by_itself,
    grace_of,
    is_being_deleted,
    primary_of,
    remains_of,
    scheduled_at,
    since_of,
)
from propeller.handlers.plugins.pod._kueue import is_gated, taken_back, waits_for
from propeller.handlers.plugins.pod._loaded import download_failure, says_why, told_why, upload_of
from propeller.kube import ContainerStatus, ContainerTerminated, ContainerWaiting, Pod
from propeller.redaction import redact
from propeller.text import bounded, one_line
from propeller.workflow import AttemptObserved, AttemptPhase, Failure, Remains

INTERRUPTED = "Interrupted"
OOM_KILLED = "OOMKilled"

DELETED = "UnexpectedObjectDeletion"
_UNDECIDED = frozenset({AttemptPhase.PENDING, AttemptPhase.RUNNING})
_SIGKILL_EXITS = frozenset({137, 247})  # 128 + 9, and 256 - 9 as some runtimes have it
_SYSTEM_REASON = re.compile(
    r"OutOf\w.*|(?:Unexpected)?AdmissionError|\w*Affinity(?:Error)?|(?:Node)?Shutdown|Terminated|Evicted|Preempt\w*|Node\w+"
)
"""A pod's reasons by which a node (kubelet/lifecycle, kubelet/eviction, its managers of devices and topology), a
scheduler or a controller of nodes says that it took the pod away or did not admit it. OutOf has the resource behind it,
also one that a device plugin names.
"""

_WORD = re.compile(r"[A-Za-z][\w.-]{0,62}", re.ASCII)

MAX_REASON = 1024
"""Characters of why a pod waits. A scheduler's message names the causes of all nodes, which is some hundred."""

_SIGNALLED = 128
"""What a shell, and a container runtime, adds to the number of the signal that ended a process."""

_SIGNALS = {one.value: one.name for one in signal.Signals}
_SHELLS_EXITS = {126: "the command cannot be executed", 127: "the command was not found"}
_MORE_MEMORY = "The container used more memory than its limit: request more, with Resources(mem=...)"

_DEADLINE = "DeadlineExceeded"
"""The one pod's reason that is the user's, as in FlytePropeller: its spec's own activeDeadlineSeconds."""

_RATE_LIMITED = "429 Too Many Requests"
"""What a registry says of a pull that it has no room for now; not the user's fault, as in FlytePropeller."""

_HARMLESS_WAITING = frozenset({"", "ErrImagePull", "ContainerCreating", "PodInitializing", "CrashLoopBackOff"})
_USERS_WAITING = {
    "InvalidImageName": False,
    "ErrImageNeverPull": False,
    "CreateContainerConfigError": False,
    "CreateContainerError": False,
    "ImagePullBackOff": True,
}
"""What keeps a container from starting through the user's fault, and whether another attempt may mend it."""


def report(pod: Pod, attempt: int) -> AttemptObserved:
    """Return what the pod shows of its attempt."""
    seen = _report(pod, attempt)
    if seen.phase in _UNDECIDED and not is_being_deleted(pod):
        return seen
    if (remains := remains_of(pod)) is Remains.NOTHING:
        return seen
    return msgspec.structs.replace(seen, remains=remains, grace=grace_of(pod))


def is_alive(pod: Pod) -> bool:
    """Whether it runs, or will run, until it is deleted."""
    return remains_of(pod) is Remains.RUNNING


def _report(pod: Pod, attempt: int) -> AttemptObserved:
    primary = primary_of(pod)
    if primary is not None and (end := end_of(pod, primary)) is not None:
        return _ended(pod, attempt, primary, end)
    match pod.status.phase:
        case "Succeeded":
            if any(_is_oom(c.state.terminated) for c in _containers(pod)):
                return _failed(attempt, OOM_KILLED, "the pod reports success, though a container was OOMKilled")
            return AttemptObserved(attempt, AttemptPhase.SUCCEEDED)
        case "Failed" if (failed := download_failure(pod, attempt)) is not None:
            return failed
        case "Failed":
            return _demystify_failure(pod, attempt, primary)
        case "Running":
            return AttemptObserved(attempt, AttemptPhase.RUNNING)
        case _ if primary is not None and primary.state.running is not None:
            return AttemptObserved(attempt, AttemptPhase.RUNNING)  # a sidecar alone has not started
        case _:
            return _pending(pod, attempt)


def gone(attempt: int, name: str, why: str = "it was deleted by somebody else or its node was lost") -> AttemptObserved:
    """Return the observation of a pod that was deleted before its end was observed."""
    message = f"pod {name} is gone before its end was seen: {why}"
    failure = Failure(GONE, message, ErrorKind.SYSTEM, recoverable=True, attempt=attempt)
    return AttemptObserved(attempt, AttemptPhase.GONE, failure=failure)


def _pending(pod: Pod, attempt: int) -> AttemptObserved:
    if is_gated(pod):
        if is_being_deleted(pod):
            return _deleted(pod, attempt, "it had not begun")
        return AttemptObserved(attempt, AttemptPhase.PENDING, waits_for(pod), gated=True)
    for container in _containers(pod):
        waiting = container.state.waiting
        if waiting is not None and waiting.reason not in _HARMLESS_WAITING:
            failure = _cannot_start(attempt, container.name, waiting)
            reason = _shown(f"{waiting.reason}: {waiting.message}")
            return AttemptObserved(attempt, AttemptPhase.PENDING, reason, failure, since=scheduled_at(pod))
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            reason = _shown(f"{condition.reason}: {condition.message}")
            return AttemptObserved(attempt, AttemptPhase.PENDING, reason, since=since_of(condition) or created_at(pod))
    return AttemptObserved(attempt, AttemptPhase.PENDING, since=scheduled_at(pod) or created_at(pod))


def _cannot_start(attempt: int, name: str, waiting: ContainerWaiting) -> Failure:
    """Return the failure of a container that cannot start: known user errors by name, anything else as SYSTEM."""
    code = f"ContainersNotReady|{_code_of(waiting.reason, 'Unknown')}"
    message = redact(f"[{name}] {waiting.message or waiting.reason}")
    recoverable = _USERS_WAITING.get(waiting.reason)
    if recoverable is not None and _RATE_LIMITED not in waiting.message:
        return Failure(code, message, recoverable=recoverable, attempt=attempt)
    return Failure(code, message, ErrorKind.SYSTEM, recoverable=True, attempt=attempt)


def _ended(pod: Pod, attempt: int, primary: ContainerStatus, end: ContainerTerminated) -> AttemptObserved:
    """Return the end of the attempt: that of its primary container, whatever phase the pod is in."""
    if not end.exit_code and not _is_oom(end):
        return upload_of(pod, attempt, end) or AttemptObserved(attempt, AttemptPhase.SUCCEEDED)
    return told_why(pod, _demystify_failure(pod, attempt, primary, end), end)


def _demystify_failure(
    pod: Pod, attempt: int, primary: ContainerStatus | None, end: ContainerTerminated | None = None
) -> AttemptObserved:
    """Return the cause of a failure: the primary container's if it has ended (`end`), otherwise that of the pod and all
    containers.
    """
    status = pod.status
    by_itself = end is not None and ended_by_itself(pod, end)
    reason, disruptions = ("", ()) if by_itself else (status.reason, disruptions_of(pod))
    code = reason if reason == _DEADLINE else "UnknownError"
    system = not by_itself and (_SYSTEM_REASON.fullmatch(reason) is not None or bool(disruptions))
    lines = [redact(": ".join(filter(None, (reason, status.message))))] if reason or status.message else []
    lines += [redact(": ".join(filter(None, (found.type, found.reason, found.message)))) for found in disruptions]
    for container in _containers(pod):
        is_primary = primary is None or container.name == primary.name
        terminated = end if end and is_primary else container.last_state.terminated or container.state.terminated
        if terminated is None:
            continue
        if says_why(container.name, terminated):
            lines.insert(0, redact(terminated.message.strip()))
        else:
            lines.append(describe_end(container.name, terminated))
        if end is not None and not is_primary:
            continue
        if _is_oom(terminated):
            code = OOM_KILLED
        elif code == OOM_KILLED:
            pass  # whatever else ended with it, the cause is known
        elif terminated.exit_code in _SIGKILL_EXITS:
            code = INTERRUPTED
            system = system or is_primary
        elif terminated.exit_code and code == "UnknownError":
            code = _code_of(terminated.reason, "Error")
    message = "\n".join(lines) or "the pod failed, and Kubernetes gave no message"
    if not by_itself and (is_being_deleted(pod) or taken_back(pod) is not None):
        return _deleted(pod, attempt, message)
    if system or code == "UnknownError":
        return _failed(attempt, INTERRUPTED, message, ErrorKind.SYSTEM)
    return _failed(attempt, code, f"{message}\n{_MORE_MEMORY}" if code == OOM_KILLED else message)


def _deleted(pod: Pod, attempt: int, message: str) -> AttemptObserved:
    """Return the end of an attempt whose pod was deleted by somebody else: by the queue that has let it start, too."""
    if (why := taken_back(pod)) is None:
        return _failed(attempt, DELETED, f"somebody deleted the pod before its end: {message}", ErrorKind.SYSTEM)
    taken = f"its queue took the pod back ({why}): {message}"
    failure = Failure(INTERRUPTED, taken, ErrorKind.SYSTEM, recoverable=True, attempt=attempt, evicted=True)
    return AttemptObserved(attempt, AttemptPhase.FAILED, failure=failure)


def describe_end(name: str, terminated: ContainerTerminated) -> str:
    """Say how a container has ended, with what is left of its log."""
    end = f"[{name}] terminated with exit code ({terminated.exit_code})"
    if what := _SIGNALS.get(terminated.signal or terminated.exit_code - _SIGNALLED):
        end += f", signal {what}"
    elif what := _SHELLS_EXITS.get(terminated.exit_code):
        end += f", {what}"
    if terminated.reason:
        end += f", reason {terminated.reason}"
    said = terminated.message.strip()
    return f"{end}: {redact(said)}" if said else end


def _failed(attempt: int, code: str, message: str, kind: ErrorKind = ErrorKind.USER) -> AttemptObserved:
    failure = Failure(code, message, kind, recoverable=True, attempt=attempt)
    return AttemptObserved(attempt, AttemptPhase.FAILED, failure=failure)


def _code_of(reason: str, otherwise: str) -> str:
    """Return the reason of a container as a code, if it is a word: a runtime may say anything."""
    return reason if _WORD.fullmatch(reason) else otherwise


def _shown(reason: str) -> str:
    """Return why a pod waits, in one bounded line: it is shown and logged for as long as the pod waits."""
    return one_line(redact(bounded(reason, MAX_REASON)))


def _containers(pod: Pod) -> tuple[ContainerStatus, ...]:
    return pod.status.init_container_statuses + pod.status.container_statuses


def _is_oom(terminated: ContainerTerminated | None) -> bool:
    return terminated is not None and OOM_KILLED in terminated.reason
