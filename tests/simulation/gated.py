"""Worlds whose workflows have gates: they sleep, and people answer them late, twice, wrongly, and change their minds.

Which answer counts is for the first status to say that has one: from then on it is the gate's, and what is behind the
gate may run, with that value. Before, nothing behind it is foretold to run at all.
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

from propeller.controller import _effects, _session
from propeller.errors import Conflict, NotFound
from propeller.handlers import TRANSITIONS
from propeller.handlers.transitions import _gate
from propeller.kube import Raw
from propeller.workflow import AtGate, Continue, NodeKind, OpenGate, OpeningGate, Resume, Stay
from tests.simulation import users
from tests.simulation.flows import Flow, Graph, Node, also
from tests.simulation.oracle import Oracle
from tests.simulation.retries import retry_until_ok
from tests.simulation.scene import NAMESPACE, WORKFLOWS, Scene

MEAN_PAUSE = 15.0
"""Virtual seconds between two answers."""

UNHEARD = "unheard"
"""In the name of a gate that nobody answers."""


@dataclass(frozen=True)
class GatedFlow(Flow):
    """A workflow with gates. What they are answered need not be the same in another execution."""

    @property
    def same_whatever_failed(self) -> bool:
        return False


@contextmanager
def all_workflows_have_gates() -> Iterator[None]:
    """See the module's text."""
    with (
        mock.patch.object(users, "draw_flow", functools.partial(_draw, users.draw_flow)),
        mock.patch.object(Oracle, "gated", True),
    ):
        yield


def _draw(draw: Callable[[random.Random], Flow], rng: random.Random) -> GatedFlow:
    flow = draw(rng)
    root = _with_gates(rng, flow.root)
    subs = {key: _with_gates(rng, graph) if key != "timed" else graph for key, graph in flow.subs.items()}
    maps = any(node.kind == "map" for graph in (root, *subs.values()) for node in graph.nodes)
    parallelism = 0 if maps else flow.parallelism  # a map task has a limit of its own
    return also(GatedFlow, flow, root=root, subs=subs, parallelism=parallelism)


def _with_gates(rng: random.Random, graph: Graph) -> Graph:
    """The graph with gates in the place of some of its tasks."""
    read = {graph.output} | {source[0] for node in graph.nodes for source in _sources(node) if source[0]}
    cases = {case for node in graph.nodes for case in node.cases}
    nodes = []
    for node in graph.nodes:
        if node.kind == "dynamic":
            node = replace(node, kind="task")  # what a status shows of one is not known without waiting
        if node.kind == "task" and node.id not in cases and rng.random() < 0.4:
            kinds = ["signal", "approve"] if node.id in read else ["signal", "approve", "sleep"]
            node = _gate_for(rng, node, rng.choice(kinds))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _sources(node: Node) -> list[tuple[str, str]]:
    values = [value for one in node.inputs.values() for value in (one if isinstance(one, list) else [one])]
    return [value for value in values if isinstance(value, tuple)]


def _gate_for(rng: random.Random, node: Node, kind: str) -> Node:
    inputs = {"o": node.inputs["x"]} if kind == "approve" else {}
    return Node(node.id, kind, inputs, node.after, limit=rng.choice((0, 5, 300)))


class Answering:
    """People who answer gates, in the worlds that have them."""

    def __init__(self, scene: Scene) -> None:
        self._rng = random.Random(f"answers {scene.seed}")
        self._scene = scene

    async def run(self) -> None:
        """Answer for ever."""
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / MEAN_PAUSE))
            oracle = self._scene.oracle
            workflows = (*oracle.workflows.values(), *oracle.children.values())
            standing = [one for one in workflows if not (one.deleted or one.collected or one.ended)]
            if standing:
                await self._answer(self._rng.choice(standing).name)

    async def _answer(self, name: str) -> None:
        try:
            found = await retry_until_ok(lambda: self._scene.clean.get(WORKFLOWS, name, NAMESPACE))
            given = self._given(found)
            if given:
                self._scene.event_log.record(f"somebody answers gates of {name}: {given}")
                body = {"metadata": {"annotations": given}}
                await retry_until_ok(lambda: self._scene.clean.patch(WORKFLOWS, name, NAMESPACE, body=body))
        except (NotFound, Conflict):
            return  # it is being deleted, or its type is

    def _given(self, workflow: Raw) -> dict[str, str | None]:
        """Answers to some of what waits, and to what had an answer before."""
        annotations = workflow["metadata"].get("annotations") or {}
        earlier = {key: "" for key in annotations if key.startswith("propeller/signal.")}
        waits = (workflow.get("status") or {}).get("waits") or []
        asked = {
            f"propeller/signal.{wait['node']}": wait["reason"]
            for wait in waits
            if "propeller " in wait["reason"] and UNHEARD not in wait["node"]
        }
        nodes = (workflow.get("spec") or {}).get("nodes", ())  # a stored closure has them elsewhere
        early = {f"propeller/signal.{node}": "" for node in nodes if self._rng.random() < 0.05 and UNHEARD not in node}
        return {
            key: self._text(reason) for key, reason in (early | earlier | asked).items() if self._rng.random() < 0.7
        }

    def _text(self, reason: str) -> str | None:
        drawn = self._rng.random()
        if drawn < 0.15:
            return self._rng.choice((None, "", "nonsense", "1" * 9000, "[" * 5000))
        if "waits for approval" in reason:
            return "true" if drawn < 0.93 else "false"
        return str(self._rng.randint(0, 9)) if reason else self._rng.choice(("true", "3", "4"))


def _an_answer_is_acted_on_before_a_status_holds_it() -> AbstractContextManager[Any]:
    needed = _effects.needs_checkpoint

    def hasty(execution: Any, effect: Any) -> bool:
        return not isinstance(effect, OpenGate) and needed(execution, effect)

    return mock.patch.object(_effects, "needs_checkpoint", hasty)


def _an_answer_that_a_status_holds_is_asked_for_again() -> AbstractContextManager[Any]:
    transition = TRANSITIONS[NodeKind.GATE]

    def forgetful(node: Any, state: Any, event: Any, now: float) -> Any:
        if isinstance(event, Resume) and isinstance(state, OpeningGate):
            return Continue(AtGate(now), effects=_gate._awaiting(node), wakes=(now,))
        return transition(node, state, event, now)

    return mock.patch.dict(TRANSITIONS, {NodeKind.GATE: forgetful})


def _changes_of_the_object_are_no_news_while_gates_wait() -> AbstractContextManager[Any]:
    def own(self: _session.Running, metadata: Any) -> bool:
        return bool(metadata.resource_version == self.version or self.gates.nodes)

    return mock.patch.object(_session.Running, "is_own_write", own)


def _sleeps_are_forgotten_by_a_restart() -> AbstractContextManager[Any]:
    transition = TRANSITIONS[NodeKind.GATE]

    def asleep(node: Any, state: Any, event: Any, now: float) -> Any:
        if isinstance(event, Resume) and isinstance(state, AtGate):
            return Stay(effects=_gate._awaiting(node))
        return transition(node, state, event, now)

    return mock.patch.dict(TRANSITIONS, {NodeKind.GATE: asleep})


GATED_MUTATIONS: Mapping[str, Any] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (
        _an_answer_is_acted_on_before_a_status_holds_it,
        _an_answer_that_a_status_holds_is_asked_for_again,
        _changes_of_the_object_are_no_news_while_gates_wait,
        _sleeps_are_forgotten_by_a_restart,
    )
}
