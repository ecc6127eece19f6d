"""Worlds in which users recover every execution that fails, while its controllers die and the object store is slow.

Something of each workflow fails at first, and nothing does later: so all else comes to the same end in both executions,
whatever its kind. What the first has left is taken over, whether or not a controller dies in between: none of its tasks
runs again, none of its gates asks again, and executions that it has started are recovered in their turn.
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
from weakref import WeakSet

import msgspec

from propeller.controller import _loading
from propeller.embedded.faults import FaultProfile
from propeller.status import rebuild
from propeller.workflow import Execution
from tests.simulation import users, world
from tests.simulation.faults import Faults
from tests.simulation.flows import Flow, Graph, Node, also, task_template
from tests.simulation.oracle import Oracle
from tests.simulation.scene import Scene
from tests.simulation.scripts import Outcome
from tests.simulation.users import Users

FAILS = "fails"
"""A task that is never cached."""

MAX_SECONDS = 1500
"""Virtual seconds until executions have ended of which some are to be recovered."""


@dataclass(frozen=True)
class RecoverableFlow(Flow):
    """A workflow that fails at first, by tasks of their own alone."""

    @property
    def same_whatever_failed(self) -> bool:
        return True

    @property
    def may_lose_one(self) -> bool:
        return False

    def resource(self, name: str) -> dict[str, Any]:
        resource = super().resource(name)
        resource["tasks"][FAILS] = task_template(FAILS)  # launch plans share it
        return resource


class RecoveringUsers(Users):
    """They recover all that has failed, and now and then think better of it."""

    async def recover_some(self) -> None:
        rng = random.Random(f"recoveries {self._scene.seed}")
        recovered = set[str]()
        for _ in range(MAX_SECONDS):
            standing = [one for one in self._scene.oracle.workflows.values() if not (one.deleted or one.collected)]
            earlier = [one for one in standing if not one.flow.is_recovery]
            for failed in [one for one in earlier if one.status.get("phase") == 5 and one.uid not in recovered]:
                recovered.add(failed.uid)
                await self.create(f"again{len(recovered)}", recover=failed)
                await self._disturb(rng)
            if all(one.ended for one in earlier):
                return
            if rng.random() < 0.1:
                await Faults(self._scene, self._processes).crash()
            await asyncio.sleep(1.0)

    async def _disturb(self, rng: random.Random) -> None:
        """While it is recovered."""
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            await asyncio.sleep(rng.choice((0.1, 2.0, 10.0)) * rng.random())
            await Faults(self._scene, self._processes).crash()
        if rng.random() < 0.1:
            await self._delete(list(self._scene.oracle.workflows.values())[-1])


@contextmanager
def recoveries() -> Iterator[None]:
    """See the module's text."""

    def put_on(scene: Scene) -> None:
        rng = random.Random(f"recovering {scene.seed}")
        scene.calm(FaultProfile(latency=rng.choice((0.0, 0.05)), blob_latency=rng.choice((0.05, 0.5, 2.0))))
        scene.is_local, scene.pace = False, 20.0
        lag = msgspec.structs.replace(scene.settings.checkpoint, max_lag=rng.choice((0.0, 1.0)))
        options = msgspec.structs.replace(scene.settings.controller, ttl=0.0)
        scene.settings = msgspec.structs.replace(scene.settings, checkpoint=lag, controller=options)
        scene.retyped.used = False

    with (
        mock.patch.object(Scene, "put_on", put_on),
        mock.patch.object(world, "Users", RecoveringUsers),
        mock.patch.object(users, "draw_flow", functools.partial(_draw, users.draw_flow)),
        mock.patch.object(Oracle, "recoveries", True),
    ):
        yield


def _draw(draw: Callable[[random.Random], Flow], rng: random.Random) -> RecoverableFlow:
    flow = draw(rng)
    kept = tuple(node for node in flow.root.nodes if not node.timed)
    root = replace(_that_fails(rng, replace(flow.root, nodes=kept)), keeps_going=rng.random() < 0.7)
    if rng.random() < 0.5:
        root = replace(root, failure_node=Node("fn", "task", {"x": 1}))
    subs = {
        name: _that_fails(rng, graph) if rng.random() < 0.3 else _untimed(graph)
        for name, graph in flow.subs.items()
        if name != "timed"
    }
    return also(RecoverableFlow, flow, root=root, subs=subs, trouble=0.0)


def _that_fails(rng: random.Random, graph: Graph) -> Graph:
    after = (graph.output,) if rng.random() < 0.4 else ()
    node = Node(FAILS, "task", {"x": ("", "x")}, after, task=FAILS, at_first=Outcome.FATAL.value)
    graph = _untimed(graph)
    return replace(graph, nodes=(*graph.nodes, node))


def _untimed(graph: Graph) -> Graph:
    return replace(graph, nodes=tuple(replace(node, deadline=False) for node in graph.nodes))


def _a_restart_forgets_what_was_to_be_recovered() -> AbstractContextManager[Any]:
    recover = _loading.Loader._recover
    rebuilt = WeakSet[Execution]()

    async def noted(*given: Any) -> Execution:
        execution = await rebuild(*given)
        rebuilt.add(execution)
        return execution

    async def once(self: _loading.Loader, execution: Execution, *given: Any) -> None:
        if execution not in rebuilt:
            await recover(self, execution, *given)

    return _both(mock.patch.object(_loading, "rebuild", noted), mock.patch.object(_loading.Loader, "_recover", once))


@contextmanager
def _both(*patches: AbstractContextManager[Any]) -> Iterator[None]:
    with patches[0], patches[1]:
        yield


RECOVERY_MUTATIONS: Mapping[str, Any] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (_a_restart_forgets_what_was_to_be_recovered,)
}
