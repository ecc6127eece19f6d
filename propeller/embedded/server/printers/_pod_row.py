"""A pod's row: ready containers, one word for its state, restarts (printPod of k8s.io/kubernetes/pkg/printers)."""

from __future__ import annotations

from typing import Any

from propeller.embedded.server._storage import Object
from propeller.embedded.server.printers._durations import age


def pod_cells(pod: Object, now: float) -> list[Any]:
    """The cells of a pod's row, those of `-o wide` included; `now` in epoch seconds."""
    spec, status, metadata = pod.get("spec") or {}, pod.get("status") or {}, pod["metadata"]
    sidecars = {one.get("name") for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"}
    state = _State(status, sidecars, len(spec.get("initContainers") or ()))
    word = state.word
    if metadata.get("deletionTimestamp") and status.get("phase") not in ("Succeeded", "Failed"):
        word = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    restarts = str(state.restarts)
    if state.restarts and state.last_restart:
        restarts = f"{restarts} ({age(state.last_restart, now)} ago)"
    addresses = status.get("podIPs") or ()
    return [
        metadata["name"],
        f"{state.ready}/{len(spec.get('containers') or ()) + len(sidecars)}",
        word,
        restarts,
        age(metadata.get("creationTimestamp"), now),
        (addresses[0].get("ip") if addresses else "") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _readiness_gates(spec, status),
    ]


class _State:
    """State collected from the containers' statuses."""

    def __init__(self, status: dict[str, Any], sidecars: set[Any], init_count: int) -> None:
        self.word = status.get("reason") or status.get("phase", "")
        self.ready = 0
        self.restarts = 0
        self.last_restart = ""
        conditions = {one.get("type"): one for one in status.get("conditions") or ()}
        if (conditions.get("PodScheduled") or {}).get("reason") == "SchedulingGated":
            self.word = "SchedulingGated"
        initializing = self._read_init(status.get("initContainerStatuses") or (), sidecars, init_count)
        if not initializing or (conditions.get("Initialized") or {}).get("status") == "True":
            if not sidecars:
                self.restarts, self.last_restart = 0, ""
            self._read_main(
                status.get("containerStatuses") or (), (conditions.get("Ready") or {}).get("status") == "True"
            )

    def _count(self, container: dict[str, Any]) -> None:
        self.restarts += container.get("restartCount", 0)
        ended = (container.get("lastState") or {}).get("terminated") or {}
        self.last_restart = max(self.last_restart, ended.get("finishedAt") or "")

    def _read_init(self, containers: Any, sidecars: set[Any], count: int) -> bool:
        """Return whether the pod is still initializing; set the status text for it."""
        for index, container in enumerate(containers):
            self._count(container)
            state = container.get("state") or {}
            ended, waiting = state.get("terminated"), state.get("waiting") or {}
            if ended is not None and not ended.get("exitCode"):
                continue
            if container.get("name") in sidecars and container.get("started"):
                self.ready += bool(container.get("ready"))
                continue
            if ended is not None:
                self.word = f"Init:{_end(ended)}"
            elif waiting.get("reason") not in (None, "", "PodInitializing"):
                self.word = f"Init:{waiting['reason']}"
            else:
                self.word = f"Init:{index}/{count}"
            return True
        return False

    def _read_main(self, containers: Any, pod_ready: bool) -> None:
        running, failure = False, ""
        for container in reversed(containers):
            self._count(container)
            state = container.get("state") or {}
            if reason := (state.get("waiting") or {}).get("reason"):
                self.word = reason
            elif (ended := state.get("terminated")) is not None:
                self.word = _end(ended)
                if ended.get("exitCode"):
                    failure = self.word
            elif container.get("ready") and "running" in state:
                running = True
                self.ready += 1
        if self.word == "Completed":
            if running and pod_ready:
                self.word = "Running"
            elif failure:
                self.word = failure
            elif running:
                self.word = "NotReady"


def _end(ended: dict[str, Any]) -> str:
    if reason := ended.get("reason"):
        return str(reason)
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _readiness_gates(spec: dict[str, Any], status: dict[str, Any]) -> str:
    gates = spec.get("readinessGates")
    if not gates:
        return "<none>"
    true = {one.get("type") for one in status.get("conditions") or () if one.get("status") == "True"}
    return f"{sum(gate.get('conditionType') in true for gate in gates)}/{len(gates)}"
