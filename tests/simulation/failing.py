"""Worlds whose workflows fail and have failure nodes, which take long: what goes wrong does so while they run.

A failure node runs once all else of its graph has ended, whoever has the execution by then, and its graph ends with it:
with the failure that it had before.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from propeller.kube import Raw
from propeller.workflow import Cancel, Execution, Failure, NodeEvent, _decide
from propeller.workflow._execution import Frame
from propeller.workflow._graphs import GraphProgress
from tests.simulation import users, world
from tests.simulation.faults import Faults
from tests.simulation.flows import Flow, Graph, Node, also
from tests.simulation.kubelet import Kubelet
from tests.simulation.model import Expected
from tests.simulation.oracle import NODE, Oracle, Workflow
from tests.simulation.scripts import Outcome
from tests.simulation.users import Users

LONG = 60.0
"""Virtual seconds that the pod of a failure node runs, on average."""

FAILURE_NODE = "fn"


@dataclass(frozen=True)
class FailingFlow(Flow):
    """A workflow that fails, by a task of its own."""


class SlowKubelet(Kubelet):
    """Failure nodes take long."""

    async def _end(self, pod: Raw, expected: Expected, outcome: Outcome) -> None:
        if pod["metadata"]["annotations"][NODE].rpartition("-")[2] == FAILURE_NODE:
            await self._rest(LONG)
        await super()._end(pod, expected, outcome)


class FailingUsers(Users):
    """While failure nodes run, controllers die and are joined by others, users delete workflows, and stores go away."""

    deletes = 0.1

    async def run(self) -> None:
        rng = random.Random(f"failing {self._scene.seed}")
        faults = Faults(self._scene, self._processes)
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run())
            if self._scene.fault_free:
                return
            for _ in range(rng.choice((1, 2, 4))):
                struck = await self._failing()
                await asyncio.sleep(rng.choice((0.0, 1.0, 20.0)) * rng.random())
                match rng.choice(("crash", "abort", "store", "overlap", "watches")):
                    case "abort" if struck is not None and not (struck.deleted or struck.ended):
                        await self._delete(struck)
                    case "store":
                        group.create_task(faults._storage_outage())
                    case "overlap":
                        faults._overlap()
                    case "watches":
                        await faults._disturb_watches()
                    case _:
                        await faults.crash()

    async def _failing(self) -> Workflow | None:
        """Wait until a failure node runs, if one does."""
        for _ in range(200):
            standing = [one for one in self._scene.oracle.workflows.values() if not one.deleted]
            for workflow in standing:
                if any(pod.live and _is_of_failure_node(workflow, pod.node) for pod in workflow.pods):
                    return workflow
            await asyncio.sleep(0.5)
        return None


def _is_of_failure_node(workflow: Workflow, node: str) -> bool:
    expected = workflow.prediction.tasks.get(node)
    return expected is not None and "failure node" in expected.kinds


@contextmanager
def failures() -> Iterator[None]:
    """See the module's text."""
    with (
        mock.patch.object(world, "Users", FailingUsers),
        mock.patch.object(world, "Kubelet", SlowKubelet),
        mock.patch.object(users, "draw_flow", functools.partial(_draw, users.draw_flow)),
        mock.patch.object(Oracle, "strict", True),
    ):
        yield


def _draw(draw: Callable[[random.Random], Flow], rng: random.Random) -> FailingFlow:
    flow = draw(rng)
    root = _that_fails(rng, replace(flow.root, nodes=tuple(node for node in flow.root.nodes if not node.timed)))
    subs = {
        name: _that_fails(rng, graph) if rng.random() < 0.3 else graph
        for name, graph in flow.subs.items()
        if name != "timed"
    }
    return also(FailingFlow, flow, root=root, subs=subs)


def _that_fails(rng: random.Random, graph: Graph) -> Graph:
    """Its last node fails, or one beside the others."""
    after = (graph.output,) if rng.random() < 0.5 else ()
    node = Node("fails", "task", {"x": ("", "x")}, after, at_first=Outcome.FATAL.value)
    handler = Node(FAILURE_NODE, "task", {"x": 1}, attempts=rng.randint(1, 2))
    return replace(graph, nodes=(*graph.nodes, node), failure_node=handler)


def _a_restart_cancels_failure_nodes() -> AbstractContextManager[Any]:
    def all_of(execution: Execution, frame: Frame, failure: Failure) -> Iterator[tuple[int, NodeEvent]]:
        return ((node, Cancel(f"node {failure.node} failed")) for node in execution.active_in(frame))

    return mock.patch.object(_decide, "cancels", all_of)


def _a_failure_node_runs_beside_others() -> AbstractContextManager[Any]:
    finish = GraphProgress.finish_failed

    def hasty(self: GraphProgress) -> bool:
        active = [(frame, frame.active) for frame in self._execution.failing if frame.graph.failure is not None]
        for frame, _ in active:
            frame.active = 0
        try:
            return finish(self)
        finally:
            for frame, count in active:
                frame.active = count

    return mock.patch.object(GraphProgress, "finish_failed", hasty)


FAILURE_MUTATIONS: Mapping[str, Any] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (_a_restart_cancels_failure_nodes, _a_failure_node_runs_beside_others)
}
