"""In some worlds a webhook adds a sidecar to pods of tasks: the task ends, and the pod runs on.

What the attempt comes to is what the task did, whatever becomes of the sidecar. The pod stops when the sidecar has
ended: by itself, because the kubelet stops it (a native one), or because the controller deletes the pod, and then it
takes its time: longer than its grace, if its machine is out of reach.
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import orjson

from propeller.clock import LoopClock, rfc3339
from propeller.embedded.server import Forward, Interceptor
from propeller.kube import Raw, Request, Response
from tests.simulation.event_log import EventLog

NAME = "proxy"

MAX_SECONDS = 400.0
"""Virtual seconds without faults after which a pod that outlives its task was told to stop: a status comes first, and
a watch that brings nothing is noticed.
"""

_GRACE = 30.0
_CLOCK = LoopClock()
_ENDED = ("Succeeded", "Failed")


class Kind(enum.Enum):
    """What a sidecar does; its container's argument says it, so that the pod alone tells."""

    RUNS_ON = "runs until it is stopped"
    ENDS_LATER = "ends some time after the task"
    FAILED = "has failed before the task ends"
    NATIVE = "is stopped by the kubelet when the task has ended"


KINDS = tuple(Kind)


class Sidecars:
    """The webhook, and the part of the kubelet that runs what it adds: in a quarter of all worlds."""

    def __init__(self, seed: int, event_log: EventLog) -> None:
        self._seed = seed
        self._rng = random.Random(f"sidecars {seed}")
        self.used = self._rng.random() < 1 / 4
        self._event_log = event_log
        self._left: dict[str, tuple[str, float]] = {}
        """By uid, the name of a pod that nobody has told to stop since its task ended, and when that was."""
        self._fair_since = math.inf

    def before(self, interceptor: Interceptor) -> Interceptor:
        return _Webhook(self, interceptor) if self.used else interceptor

    def admit(self, request: Request) -> Request:
        """Add a sidecar to a pod that is created; which one follows from its name: a create may be sent twice."""
        if request.method != "POST" or not request.path.endswith("/pods"):
            return request
        pod = orjson.loads(request.body)
        rng = random.Random(f"sidecar {self._seed} {pod['metadata']['name']}")
        if rng.random() < 0.3:
            return request
        kind, spec = rng.choice(KINDS), pod["spec"]
        container = {"name": NAME, "image": NAME, "args": [kind.value]}
        if kind is Kind.NATIVE:
            spec.setdefault("initContainers", []).append(container | {"restartPolicy": "Always"})
        else:
            spec["containers"].insert(rng.randint(0, 1), container)
        return msgspec.structs.replace(request, body=orjson.dumps(pod))

    def ends(self, pod: Raw, phase: str, terminated: dict[str, Any]) -> Iterator[tuple[float, dict[str, Any]]]:
        """What is reported of a pod whose task has ended, each with the seconds until then. The last report has a
        terminal phase if the pod stops without being told to.
        """
        kind = _kind_of(pod)
        if kind is None:
            yield 0.0, {"phase": phase, **statuses(pod, {"terminated": terminated})}
            return
        state = {"terminated": terminated | {"finishedAt": rfc3339(_CLOCK.now())}}
        if kind is Kind.FAILED:
            yield 0.0, _last(pod, state, 1)
            return
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        self._event_log.record(f"the task of pod {name} has ended; its sidecar {kind.value}")
        if kind is not Kind.NATIVE:
            self._left[uid] = name, _CLOCK.monotonic()
        yield 0.0, {"phase": "Running", **statuses(pod, state)}
        if kind is not Kind.RUNS_ON:
            yield self._rng.uniform(0.0, _GRACE), _last(pod, state, self._rng.choice((0, 1)))
            self._left.pop(uid, None)

    def is_told_to_stop(self, uid: str) -> None:
        self._left.pop(uid, None)

    @property
    def longest_stop(self) -> float:
        """Seconds until a machine that was out of reach is heard of again, and has stopped its pods."""
        return 1500.0 if self.used else 0.0

    def stopping_takes(self, uid: str) -> float:
        """Seconds that a pod takes to stop, beyond what others take: few are out of reach."""
        rng = random.Random(f"out of reach {self._seed} {uid}")
        return rng.uniform(_GRACE, self.longest_stop) if self.used and rng.random() < 0.1 else 0.0

    def stopped(self, pod: Raw, verbose: dict[str, Any]) -> dict[str, Any] | None:
        """The last report of a pod that was told to stop, if there is one. `told` is the one before."""
        last = self.last_report(pod, verbose)
        return None if last is None or self._rng.random() < 0.3 else last

    def last_report(self, pod: Raw, verbose: dict[str, Any]) -> dict[str, Any] | None:
        """The terminal status of a pod whose sidecar was stopped after its task had ended, if it was not reported."""
        if verbose.get("phase") in _ENDED or (ended := end_of_task(verbose)) is None:
            return None
        return _last(pod, ended["state"], 143)

    def check(self) -> None:
        """Now that nothing goes wrong any more, no pod outlives its task for long."""
        now = _CLOCK.monotonic()
        self._fair_since = min(self._fair_since, now)
        for uid, (name, since) in list(self._left.items()):
            if now > max(since, self._fair_since) + MAX_SECONDS:
                self._event_log.violation(f"pod {name} runs on after its task, and nobody stops it")
                del self._left[uid]


def task_container(pod: Raw) -> Raw:
    """The one that the controller has made."""
    return next(found for found in pod["spec"]["containers"] if found["name"] != NAME)


def end_of_task(status: dict[str, Any]) -> dict[str, Any] | None:
    """The status of the task's container, if it has ended."""
    for container in status.get("containerStatuses", ()):
        if container["name"] != NAME and "terminated" in container["state"]:
            found: dict[str, Any] = container
            return found
    return None


def statuses(pod: Raw, state: dict[str, Any], sidecar: dict[str, Any] | None = None) -> dict[str, Any]:
    """Of the task's container and the sidecar, which runs unless it has failed already."""
    of_task, kind = _container_status(task_container(pod), state), _kind_of(pod)
    if kind is None:
        return {"containerStatuses": [of_task]}
    sidecar = sidecar or (_terminated(1) if kind is Kind.FAILED else {"running": {}})
    of_sidecar = _container_status({"name": NAME, "image": NAME}, sidecar)
    if kind is Kind.NATIVE:
        return {"containerStatuses": [of_task], "initContainerStatuses": [of_sidecar]}
    return {"containerStatuses": [of_sidecar, of_task]}


def _last(pod: Raw, state: dict[str, Any], code: int) -> dict[str, Any]:
    """All has ended, the sidecar with this exit code; of a native one it does not count."""
    failed = state["terminated"]["exitCode"] or (code and _kind_of(pod) is not Kind.NATIVE)
    return {"phase": "Failed" if failed else "Succeeded", **statuses(pod, state, _terminated(code))}


def _kind_of(pod: Raw) -> Kind | None:
    for container in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", ())):
        if container["name"] == NAME:
            return Kind(container["args"][0])
    return None


def _terminated(code: int) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}}


def _container_status(container: Raw, state: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }


class _Webhook:
    def __init__(self, sidecars: Sidecars, inner: Interceptor) -> None:
        self._sidecars = sidecars
        self._inner = inner

    async def exchange(self, request: Request, forward: Forward) -> Response:
        async def admitted(passed: Request) -> Response:
            return await forward(self._sidecars.admit(passed))

        return await self._inner.exchange(request, admitted)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self._inner.stream(request, chunks)
