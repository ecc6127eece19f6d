"""Worlds whose gates have a time: answers come before it is over, at the same moment, or never.

With `--nested`, launch plans' nodes have one, too, whose executions never end: each is stopped before the next attempt.
A gate whose answer no status shows fails when its time is over, however often controllers die meanwhile; one that has
its answer opens. Half of the worlds have one that nobody answers. Put on top of `--gated`.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import msgspec

from propeller.handlers import TRANSITIONS
from propeller.handlers.transitions import _gate
from propeller.workflow import AtGate, NodeKind, NodeView, Resume, Stay, Transition
from tests.simulation import users
from tests.simulation.flows import Flow, Graph, Node
from tests.simulation.gated import UNHEARD
from tests.simulation.nested import HUNG, NestedFlow
from tests.simulation.oracle import Oracle
from tests.simulation.scripts import Outcome

GATES = {"signal", "approve", "sleep"}

LATE = "late-plan"
"""A launch plan's node whose execution never ends, and whose time does."""


@contextmanager
def timeouts() -> Iterator[None]:
    """See the module's text."""
    with (
        mock.patch.object(users, "draw_flow", functools.partial(_draw, users.draw_flow)),
        mock.patch.object(Oracle, "strict", True),
    ):
        yield


def _draw(draw: Callable[[random.Random], Flow], rng: random.Random) -> Flow:
    flow = draw(rng)
    root = _limited(rng, flow.root)
    if rng.random() < 0.5:
        kind, attempts = rng.choice(("signal", "approve")), rng.choice((1, 1, 2, 3))
        own = {"o": 1} if kind == "approve" else {}
        gate = Node(UNHEARD, kind, own, attempts=attempts, limited=rng.choice(("10s", "3m")))
        root = replace(root, nodes=(*root.nodes, gate))
    subs = {name: _limited(rng, graph) for name, graph in flow.subs.items()}
    if isinstance(flow, NestedFlow) and HUNG not in subs and rng.random() < 0.5:
        subs[HUNG] = Graph((Node("h0", "task", {"x": ("", "x")}, always=Outcome.HANG.value),), "h0", keeps_going=False)
        late = Node(LATE, "plan", {"x": ("", "x")}, attempts=rng.choice((1, 2)), calls=HUNG, limited="5m")
        flow = replace(flow, parallelism=0)
        root = replace(root, nodes=(*root.nodes, late))
    return replace(flow, root=root, subs=subs)


def _limited(rng: random.Random, graph: Graph) -> Graph:
    nodes = [
        replace(node, limited=rng.choice(("5s", "20s", "2m")), attempts=rng.choice((1, 2)))
        if node.kind in GATES and rng.random() < 0.5
        else node
        for node in graph.nodes
    ]
    return replace(graph, nodes=tuple(nodes))


def _gates_have_any_time() -> AbstractContextManager[Any]:
    return mock.patch.object(_gate, "parse_duration", return_value=0.0)


def _the_time_of_a_gate_is_forgotten_by_a_restart() -> AbstractContextManager[Any]:
    transition = TRANSITIONS[NodeKind.GATE]

    def timeless(node: NodeView, state: Any, event: Any, now: float) -> Transition | None:
        found = transition(node, state, event, now)
        if isinstance(event, Resume) and isinstance(state, AtGate) and isinstance(found, Stay):
            return msgspec.structs.replace(found, wakes=())
        return found

    return mock.patch.dict(TRANSITIONS, {NodeKind.GATE: timeless})


TIMEOUT_MUTATIONS: Mapping[str, Any] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (_gates_have_any_time, _the_time_of_a_gate_is_forgotten_by_a_restart)
}
