"""Worlds whose workflows start others: nodes call launch plans, by themselves and in maps, several deep.

An execution that a node has started is one more workflow, foretold as its parent is: what it finds, what its tasks come
to, and its outputs. It is started once, when what it needs has ended well; it is stopped only if something around it
fails or goes; and nothing of it is left once its parent has ended or is deleted. Some of them never end by themselves
and have to be stopped, and now and then somebody deletes one, which its parent may fail by.
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

import msgspec

from propeller.controller import _observing
from propeller.errors import Conflict, NotFound, StorageError
from propeller.handlers.executors import _attempts, _child_closures
from propeller.handlers.plugins import _child
from propeller.kube import Raw
from propeller.workflow import AttemptObserved, AttemptPhase, entity_path
from tests.simulation import flows, users
from tests.simulation.flows import INTEGER, Flow, Graph, Node, also, plan_reference
from tests.simulation.oracle import Oracle, Workflow
from tests.simulation.retries import retry_until_ok
from tests.simulation.scene import NAMESPACE, WORKFLOWS, Scene
from tests.simulation.scripts import Outcome

MEAN_PAUSE = 20.0
"""Virtual seconds until somebody deletes an execution."""

TIMED, HUNG = "timed", "hung"
"""Sub-workflows that are no launch plans of the draw: one has a time, one never ends."""


@dataclass(frozen=True)
class NestedFlow(Flow):
    """A workflow whose resource carries its sub-workflows as launch plans, too."""

    @property
    def is_timed(self) -> bool:
        """One that never ends holds tokens and room of a quota that others would wait for."""
        return super().is_timed or HUNG in self.subs

    @property
    def may_lose_one(self) -> bool:
        """Whether it is known what becomes of it if an execution is deleted: it fails, or goes on as foretold."""
        graphs = (self.root, *self.subs.values())
        return self.same_whatever_failed and all(graph.failure_node is None for graph in graphs)

    def resource(self, name: str) -> Raw:
        resource = super().resource(name)
        shared = {key: resource[key] for key in ("tasks", "subWorkflows")}
        plans = {key: _document(key, graph) | shared for key, graph in self.subs.items()}
        return resource | {"launchPlans": {entity_path("p", "d", key, "v"): plan for key, plan in plans.items()}}


def _document(name: str, graph: Graph) -> Raw:
    closure = {
        "expectedInputs": {"parameters": {"x": {"var": INTEGER, "required": True}}},
        "expectedOutputs": {"variables": {"o": INTEGER}},
    }
    plan = {"id": plan_reference(name)["launchPlanRefId"], "spec": {"workflowId": {"name": name}}, "closure": closure}
    return {"launchPlan": plan, "spec": flows._graph(graph)}


@contextmanager
def all_workflows_start_others() -> Iterator[None]:
    """See the module's text."""
    with (
        mock.patch.object(users, "draw_flow", functools.partial(_draw, users.draw_flow)),
        mock.patch.object(Oracle, "nested", True),
    ):
        yield


def _draw(draw: Callable[[random.Random], Flow], rng: random.Random) -> NestedFlow:
    flow = draw(rng)
    subs = dict(flow.subs)
    if not subs.keys() - {TIMED}:
        subs["plan"] = flows._draw_graph(rng, (), rng.randint(1, 3))
    names = [key for key in subs if key != TIMED]
    for number, name in enumerate(names):
        subs[name] = _with_plans(rng, subs[name], names[:number])
    root, parallelism = _with_plans(rng, flow.root, names), flow.parallelism
    root = replace(root, nodes=(*root.nodes, Node("last-plan", "plan", {"x": ("", "x")}, calls=names[-1])))
    if not flow.is_timed and not (Oracle.caches or Oracle.recoveries) and rng.random() < 0.3:
        root, parallelism = _with_one_to_be_stopped(root), 0
        first = Node("h0", "task", {"x": ("", "x")}, always=Outcome.HANG.value)
        subs[HUNG] = Graph((first,), "h0", keeps_going=False)
    return also(NestedFlow, flow, root=root, subs=subs, parallelism=parallelism)


def _with_one_to_be_stopped(graph: Graph) -> Graph:
    """Something fails, and an execution beside it would never end."""
    hung = Node(HUNG, "plan", {"x": ("", "x")}, calls=HUNG)
    after = Node("before-bad", "task", {"x": 1})
    bad = Node("bad", "task", {"x": (after.id, "o")}, (after.id,), always=Outcome.FATAL.value)
    return replace(graph, nodes=(*graph.nodes, hung, after, bad), keeps_going=False)


def _with_plans(rng: random.Random, graph: Graph, names: list[str]) -> Graph:
    """The graph with launch plans in the place of some sub-workflows, tasks, and items of maps."""
    cases = {case for node in graph.nodes for case in node.cases}
    nodes = []
    for node in graph.nodes:
        drawn = rng.random()
        called = rng.choice(names) if names else ""
        if node.kind == "workflow" and not node.timed and drawn < 0.7:
            node = replace(node, kind="plan")
        elif node.kind == "task" and called and node.id not in cases and drawn < 0.25:
            node = Node(node.id, "plan", {"x": node.inputs["x"]}, node.after, calls=called)
        elif node.kind == "map" and called and not node.timed and drawn < 0.6:
            node = replace(node, kind="plans", calls=called, attempts=1, deadline=False)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


class Vandal:
    """Somebody who deletes executions that nodes have started, in half of the worlds."""

    def __init__(self, scene: Scene) -> None:
        self._rng = random.Random(f"vandal {scene.seed}")
        self._scene = scene

    async def run(self) -> None:
        """Until cancelled."""
        if self._rng.random() < 0.5:
            return
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / MEAN_PAUSE))
            children = self._scene.oracle.children.values()
            standing = [one for one in children if not (one.deleted or one.collected or one.ended) and _may_go(one)]
            if standing:
                await self._delete(self._rng.choice(standing))

    async def _delete(self, child: Workflow) -> None:
        self._scene.event_log.record(f"somebody deletes execution {child.name}")
        child.vanished, around = True, child.parent
        while around is not None:
            around.disturbed, around = True, around.parent
        try:
            await retry_until_ok(
                lambda: self._scene.clean.delete(
                    WORKFLOWS, child.name, NAMESPACE, uid=child.uid, propagation="Background"
                )
            )
        except (NotFound, Conflict):
            return  # it has gone just before


def _may_go(child: Workflow) -> bool:
    around: Workflow | None = child
    while around is not None and around.parent is not None:
        around = around.parent
    return around is not None and isinstance(around.flow, NestedFlow) and around.flow.may_lose_one


def _executions_are_not_stopped() -> AbstractContextManager[Any]:
    return mock.patch.object(_child.ChildObserver, "is_alive", return_value=False)


def _an_execution_that_was_started_before_is_anothers() -> AbstractContextManager[Any]:
    is_ours = _attempts.is_ours

    def strange(node: Any, obj: Any) -> bool:
        return node.spec.workflow is None and is_ours(node, obj)

    return mock.patch.multiple(_attempts, is_ours=strange, parent_of=lambda metadata: None)


def _an_execution_that_runs_has_succeeded() -> AbstractContextManager[Any]:
    observe = _child.ChildObserver.observe

    def hasty(self: Any, obj: Any, attempt: int) -> AttemptObserved:
        seen = observe(self, obj, attempt)
        if seen.phase is AttemptPhase.RUNNING and obj.status.get("phase"):
            return msgspec.structs.replace(seen, phase=AttemptPhase.SUCCEEDED)
        return seen

    return mock.patch.object(_child.ChildObserver, "observe", hasty)


def _an_execution_that_fails_is_tried_again() -> AbstractContextManager[Any]:
    failure = _child._failure

    def again(*given: Any) -> Any:
        return msgspec.structs.replace(failure(*given), recoverable=True)

    return mock.patch.object(_child, "_failure", again)


def _the_end_of_an_execution_brings_no_parent_back() -> AbstractContextManager[Any]:
    tell = _observing.Observing._tell

    def to_those_in_memory(self: Any, key: str, cluster: Any, plugin: Any, change: Any) -> None:
        if plugin is not _child.CHILD or self._executions.get(key) is not None:
            tell(self, key, cluster, plugin, change)

    return mock.patch.object(_observing.Observing, "_tell", to_those_in_memory)


def _a_closure_that_could_not_be_stored_is_referred_to() -> AbstractContextManager[Any]:
    store = _child_closures.ChildClosures._store

    async def careless(self: Any, known: Any, *given: Any) -> None:
        try:
            await store(self, known, *given)
        except StorageError:
            known.until = asyncio.get_running_loop().time() + _child_closures.FRESH_SECONDS

    return mock.patch.object(_child_closures.ChildClosures, "_store", careless)


NESTED_MUTATIONS: Mapping[str, Any] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (
        _a_closure_that_could_not_be_stored_is_referred_to,
        _an_execution_that_fails_is_tried_again,
        _an_execution_that_runs_has_succeeded,
        _an_execution_that_was_started_before_is_anothers,
        _executions_are_not_stopped,
        _the_end_of_an_execution_brings_no_parent_back,
    )
}
