"""Worlds in which a queue holds pods by scheduling gates, also for longer than their tasks may take.

A pod that waits has not begun: its attempt neither fails nor runs out of time, whoever has the execution by then. Its
time begins when the queue lets it go.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import msgspec
import orjson

from propeller.embedded.server import Forward, Interceptor
from propeller.errors import Conflict, NotFound
from propeller.handlers.transitions import _task, _task_timers
from propeller.handlers.transitions._attempts import attempt_deadline
from propeller.kube import PODS, Raw, Request, Response
from propeller.workflow import Continue, Launching, NodeView, Running
from tests.simulation import users, world
from tests.simulation.flows import Flow, Graph
from tests.simulation.kubelet import Kubelet
from tests.simulation.retries import retry_until_ok
from tests.simulation.scene import NAMESPACE, Scene

GATE = "example.com/queue"
HELD = "held pod"

MAX_HOLD = 1500.0
"""Virtual seconds that a pod may be held: tasks with a time have 900."""

LOOK = 20.0
"""Virtual seconds between two looks at what is held."""

_PODS = PODS.typed(Raw)


class Queue:
    """The webhook that holds pods, and what lets them go."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def before(self, interceptor: Interceptor) -> Interceptor:
        return _Webhook(self, interceptor)

    def admit(self, request: Request) -> Request:
        """Hold a pod that is created, for as long as its name says: a create may be sent twice."""
        if request.method != "POST" or not request.path.endswith("/pods"):
            return request
        pod = orjson.loads(request.body)
        if not self._seconds(pod):
            return request
        pod["spec"]["schedulingGates"] = [{"name": GATE}]
        return msgspec.structs.replace(request, body=orjson.dumps(pod))

    def _seconds(self, pod: Raw) -> float:
        rng = random.Random(f"held {self._scene.seed} {pod['metadata']['name']}")
        return rng.choice((0.0, 0.0, 5.0, 60.0, MAX_HOLD)) * rng.random()

    async def run(self) -> None:
        """Let pods go when their time has come, until cancelled."""
        since: dict[str, float] = {}
        while True:
            await asyncio.sleep(LOOK)
            for pod in (await retry_until_ok(lambda: self._scene.clean.list(_PODS, NAMESPACE))).items:
                uid, now = pod["metadata"]["uid"], self._scene.loop.time()
                if is_held(pod) and now >= since.setdefault(uid, now) + self._seconds(pod):
                    await self._let_go(pod)

    async def _let_go(self, pod: Raw) -> None:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        body = {"metadata": {"uid": uid}, "spec": {"schedulingGates": None}}
        try:
            await retry_until_ok(lambda: self._scene.clean.patch(_PODS, name, NAMESPACE, body=body))
        except (NotFound, Conflict):
            return  # it was deleted
        self._scene.event_log.record(f"the queue lets pod {name} go")


class _Webhook:
    def __init__(self, queue: Queue, inner: Interceptor) -> None:
        self._queue = queue
        self._inner = inner

    async def exchange(self, request: Request, forward: Forward) -> Response:
        async def admitted(passed: Request) -> Response:
            return await forward(self._queue.admit(passed))

        return await self._inner.exchange(request, admitted)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self._inner.stream(request, chunks)


class QueueingKubelet(Kubelet):
    """Runs a pod once the queue has let it go."""

    async def _run_pod(self, pod: Raw) -> None:
        found = self._oracle.pods.get(pod["metadata"]["uid"])
        if found is not None and is_held(pod):
            found[1].kinds |= {HELD}
            while is_held(pod):
                await asyncio.sleep(LOOK)
                name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
                try:
                    pod = await retry_until_ok(functools.partial(self._client.get, _PODS, name, NAMESPACE))
                except NotFound:
                    return
                if pod["metadata"]["uid"] != uid or "deletionTimestamp" in pod["metadata"]:
                    return
            found[1].kinds -= {HELD}
        await super()._run_pod(pod)


def is_held(pod: Raw) -> bool:
    """Whether a queue holds the pod."""
    return bool(pod["spec"].get("schedulingGates"))


@contextmanager
def holds() -> Iterator[None]:
    """See the module's text."""

    def put_on(scene: Scene) -> None:
        scene.archive = Queue(scene)
        scene.restored.used = False

    with (
        mock.patch.object(Scene, "put_on", put_on),
        mock.patch.object(world, "Kubelet", QueueingKubelet),
        mock.patch.object(users, "draw_flow", functools.partial(_draw, users.draw_flow)),
    ):
        yield


def _draw(draw: Callable[[random.Random], Flow], rng: random.Random) -> Flow:
    flow = draw(rng)
    kept = tuple(node for node in flow.root.nodes if not node.timed)
    subs = {name: _limited(rng, graph) for name, graph in flow.subs.items() if name != "timed"}
    return replace(flow, root=_limited(rng, replace(flow.root, nodes=kept)), subs=subs)


def _limited(rng: random.Random, graph: Graph) -> Graph:
    """More of its tasks have a time."""
    nodes = [
        replace(node, deadline=node.deadline or rng.random() < 0.5) if node.kind in {"task", "map"} else node
        for node in graph.nodes
    ]
    return replace(graph, nodes=tuple(nodes))


def _the_time_of_a_pod_that_is_held_goes_on() -> AbstractContextManager[Any]:
    def always(node: NodeView, state: Launching | Running) -> tuple[float, ...]:
        return attempt_deadline(node, state.since)

    return mock.patch.object(_task_timers, "running_deadline", always)


def _the_time_of_a_pod_begins_with_its_create() -> AbstractContextManager[Any]:
    def as_before(node: NodeView, state: Launching | Running, begun: Running, now: float) -> Continue:
        return Continue(begun, wakes=attempt_deadline(node, begun.since))

    return mock.patch.object(_task, "_begun", as_before)


HELD_MUTATIONS: Mapping[str, Any] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (_the_time_of_a_pod_that_is_held_goes_on, _the_time_of_a_pod_begins_with_its_create)
}
