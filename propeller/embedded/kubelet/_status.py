"""The status of a pod, built from the states of its containers: pure, and shaped as a real kubelet reports it."""

from __future__ import annotations

from typing import Any

import msgspec

from propeller.clock import rfc3339
from propeller.embedded.kubelet._probes import Health
from propeller.kube._objects import Raw

LOCAL_IP = "127.0.0.1"
_FINAL = ("Succeeded", "Failed")


class Waiting(msgspec.Struct, frozen=True, tag=True):
    """Not started, or between two runs. Next: Running, or Terminated if it cannot start."""

    reason: str = "PodInitializing"
    message: str = ""


class Running(msgspec.Struct, frozen=True, tag=True):
    """Its process runs. Next: Terminated."""

    started_at: float


class Terminated(msgspec.Struct, frozen=True, tag=True):
    """Ended. Next: Waiting if the restart policy says so."""

    exit_code: int
    signal: int
    reason: str
    message: str
    started_at: float
    finished_at: float


State = Waiting | Running | Terminated


class Failure(msgspec.Struct, frozen=True):
    """Why the pod as a whole failed, whatever its containers say: DeadlineExceeded, Terminated, ..."""

    reason: str
    message: str


class Container:
    """The state of one container: the only mutable object here."""

    def __init__(self, spec: Raw, *, init: bool = False) -> None:
        self.spec = spec
        self.init = init
        self.sidecar = init and spec.get("restartPolicy") == "Always"
        self.state: State = Waiting()
        self.last: Terminated | None = None
        self.health = Health(spec)
        self.restarts = 0

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def succeeded(self) -> bool:
        return isinstance(self.state, Terminated) and self.state.exit_code == 0

    @property
    def failed(self) -> bool:
        return isinstance(self.state, Terminated) and self.state.exit_code != 0

    @property
    def ready(self) -> bool:
        """Whether it runs, and its probes have found it ready."""
        return isinstance(self.state, Running) and self.health.ready

    @property
    def started(self) -> bool:
        return not isinstance(self.state, Waiting) or self.restarts > 0


def phase_of(containers: list[Container], *, policy: str, failure: Failure | None) -> str:
    """The pod's phase by the rules of the real kubelet (k8s.io/kubernetes/pkg/kubelet, getPhase and mergePodStatus): it
    is no final one while a container still runs, a sidecar too.
    """
    phase = _phase_by_containers(containers, policy) if failure is None else "Failed"
    if phase in _FINAL and any(isinstance(one.state, Running) for one in containers):
        return "Running" if any(one.started for one in containers if not one.init) else "Pending"
    return phase


def _phase_by_containers(containers: list[Container], policy: str) -> str:
    plain_inits = [one for one in containers if one.init and not one.sidecar]
    mains = [one for one in containers if not one.init]
    if policy == "Never" and any(one.failed for one in plain_inits):
        return "Failed"
    if not all(one.succeeded for one in plain_inits) or not any(one.started for one in mains):
        return "Pending"
    if not all(isinstance(one.state, Terminated) for one in mains) or policy == "Always":
        return "Running"
    return "Succeeded" if all(one.succeeded for one in mains) else "Failed"


def pod_status(
    containers: list[Container],
    *,
    policy: str,
    bound_at: float,
    started_at: float,
    now: float,
    failure: Failure | None = None,
    address: str = LOCAL_IP,
) -> Raw:
    """The whole `status` of a pod that this kubelet runs, at an IP address. Times are epoch seconds."""
    phase = phase_of(containers, policy=policy, failure=failure)
    done = phase in _FINAL
    initialized = all(one.succeeded or (one.sidecar and one.started) for one in containers if one.init)
    ready = not done and all(one.ready for one in containers if not one.init)
    why = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "ContainersNotReady")
    status: Raw = {
        "phase": phase,
        "hostIP": LOCAL_IP,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": rfc3339(started_at),
        "conditions": [
            condition("PodScheduled", True, at=bound_at),
            condition("Initialized", initialized, at=now, reason="ContainersNotInitialized"),
            condition("Ready", ready, at=now, reason=why),
            condition("ContainersReady", ready, at=now, reason=why),
        ],
        "containerStatuses": [container_status(one) for one in containers if not one.init],
    }
    inits = [container_status(one) for one in containers if one.init]
    if inits:
        status["initContainerStatuses"] = inits
    if failure is not None and done:
        status |= {"reason": failure.reason, "message": failure.message}
    return status


def condition(kind: str, true: bool, *, at: float, reason: str = "", message: str = "") -> Raw:
    """Build a condition; it has reason and message only while it is false."""
    found = {"type": kind, "status": "True" if true else "False", "lastTransitionTime": rfc3339(at)}
    if not true and reason:
        found["reason"] = reason
    if not true and message:
        found["message"] = message
    return found


def keep_transitions(before: list[Raw], after: list[Raw]) -> list[Raw]:
    """The new conditions, each with the time at which its status last changed."""
    known = {one["type"]: one for one in before}
    return [
        one | {"lastTransitionTime": known[one["type"]]["lastTransitionTime"]}
        if one["type"] in known and known[one["type"]]["status"] == one["status"]
        else one
        for one in after
    ]


def container_status(container: Container) -> Raw:
    state = container.state
    image = str(container.spec.get("image", ""))
    status: Raw = {
        "name": container.name,
        "image": image,
        "imageID": image,
        "ready": container.ready or (container.init and not container.sidecar and container.succeeded),
        "started": isinstance(state, Running) and container.health.started,
        "restartCount": container.restarts,
        "state": _state(state),
        "lastState": _state(container.last) if container.last is not None else {},
    }
    return status


def _state(state: State) -> dict[str, Any]:
    match state:
        case Waiting(reason, message):
            return {"waiting": {"reason": reason} | ({"message": message} if message else {})}
        case Running(started_at):
            return {"running": {"startedAt": rfc3339(started_at)}}
        case Terminated():
            ended: dict[str, Any] = {
                "exitCode": state.exit_code,
                "reason": state.reason,
                "startedAt": rfc3339(state.started_at),
                "finishedAt": rfc3339(state.finished_at),
            }
            if state.signal:
                ended["signal"] = state.signal
            if state.message:
                ended["message"] = state.message
            return {"terminated": ended}
