"""What must become of a workflow: its graph walked node after node, without time, pods or faults.

Every node that can run does: where the policy is to fail at once, what is predicted is the most that may happen.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from flyteidl.core import literals_pb2

from propeller.workflow import unique_node_id
from tests.simulation.flows import Flow, Graph, Node, Source
from tests.simulation.scripts import Outcome, Script, draw_script
from tests.unit.storage.values import literal

DYNAMIC_TASKS = 2

Answers = Mapping[str, int | None]
"""By unique id, the gates that have opened, and the values that were given to them; None if there is none to give.
Those of an execution that a node has started come after that node's id and a slash.
"""

NO_ANSWERS: Answers = {}

KINDS = {
    "task": "task",
    "dynamic": "dynamic task",
    "map": "map task",
    "workflow": "sub-workflow",
    "branch": "branch",
    "sleep": "sleep",
    "signal": "signal",
    "approve": "approval",
    "plan": "launch plan",
    "plans": "map over launch plans",
}
"""By kind of a node of the draw, its name among what is `reached`."""

RUNS_OF_A_HANGING = 100
"""More than there are pods of one attempt, for each of which it is the same."""


@dataclass(frozen=True)
class Expected:
    """What the runs of one task node must find: their inputs, and these other tasks done."""

    inputs: bytes
    after: frozenset[str]
    script: Script
    is_dynamic: bool = False
    is_inner: bool = False
    """Whether a dynamic task has made it."""
    map: str = ""
    """The map task with a limit of its own that it is an item of, at an attempt; the workflow's does not count then."""
    at_once: int = 0
    """How many items of that map task may run at once."""
    kinds: frozenset[str] = frozenset()
    """Of the node, and of all that it is inside of: see `reached`."""


@dataclass(frozen=True)
class ExpectedGate:
    """When a gate is asked for: all these tasks are done. `seconds` is how long it sleeps; `kinds` as of Expected."""

    after: frozenset[str]
    kinds: frozenset[str]
    seconds: float = 0.0


@dataclass(frozen=True)
class ExpectedChild:
    """What the execution that a launch plan's node starts must come to; for the other fields see Expected."""

    flow: Flow
    prediction: Prediction
    after: frozenset[str]
    map: str = ""
    at_once: int = 0
    kinds: frozenset[str] = frozenset()
    attempts: int = 1
    """More than one only if the node has a time, in which its execution may not end."""


@dataclass
class Prediction:
    """`outputs` is None where the workflow fails; `value` is what is in them. `tasks`, `gates` and `children`, the
    executions that launch plans' nodes start, are by unique node id.
    """

    succeeds: bool = False
    outputs: bytes | None = None
    value: Any = None
    tasks: dict[str, Expected] = field(default_factory=dict)
    children: dict[str, ExpectedChild] = field(default_factory=dict)
    gates: dict[str, ExpectedGate] = field(default_factory=dict)
    failure_node: str = ""
    """The failure node of the workflow itself, by unique id, if that fails and has one; "": none is to run."""
    again: Callable[[Answers], Prediction] | None = None

    def answered(self, answers: Answers) -> None:
        """Foretell what follows from the answers to gates that count."""
        assert self.again is not None
        found = self.again(answers)
        self.succeeds, self.outputs, self.failure_node = found.succeeds, found.outputs, found.failure_node
        self.tasks.update(found.tasks)
        self.children.update(found.children)
        self.gates.update(found.gates)


@dataclass(frozen=True)
class _End:
    ok: bool
    value: Any = None
    done: frozenset[str] = frozenset()


def predict(
    flow: Flow, seed: str, *, unseen: bool, drained: Callable[[Script, str], Script], answers: Answers = NO_ANSWERS
) -> Prediction:
    """`seed` is that of the scripts; `unseen` whether pods may go without a trace, and then `drained` puts drains into
    a script, by the seed that it is given with it. What is behind a gate without an answer does not run.
    """
    walk = _Walk(flow, seed, unseen=unseen, drained=drained, answers=answers)
    end = walk.graph(flow.root, "", 0, {"x": flow.x}, frozenset())
    found = walk.prediction
    found.again = lambda later: predict(flow, seed, unseen=unseen, drained=drained, answers=later)
    found.succeeds = end.ok
    if end.ok:
        found.value, found.outputs = end.value, serialized({"o": end.value})
    return found


def serialized(values: dict[str, Any]) -> bytes:
    literals = {name: literal(value) for name, value in values.items()}
    return literals_pb2.LiteralMap(literals=literals).SerializeToString(deterministic=True)


def output_of(unique_id: str, inputs: bytes) -> int:
    """What a task computes: it tells apart who computed, and from what."""
    return zlib.crc32(unique_id.encode() + inputs) & 0xFFFF


class _Walk:
    def __init__(
        self, flow: Flow, seed: str, *, unseen: bool, drained: Callable[[Script, str], Script], answers: Answers
    ) -> None:
        self.answers = answers
        self.unseen = unseen
        self.drained = drained
        self.flow = flow
        self.seed = seed
        self.prediction = Prediction()
        self.around: frozenset[str] = frozenset()
        """Kinds of what the walk is inside of."""

    @contextmanager
    def inside(self, kind: str) -> Iterator[None]:
        before, self.around = self.around, self.around | {kind}
        try:
            yield
        finally:
            self.around = before

    def graph(self, graph: Graph, parent: str, attempt: int, inputs: dict[str, Any], after: frozenset[str]) -> _End:
        ends: dict[str, _End] = {}
        cases = {case: node.id for node in graph.nodes for case in node.cases}
        for node in graph.nodes:
            if node.id not in cases:
                self._in_order(graph, node, parent, attempt, inputs, after, ends)
        done = after.union(*(end.done for end in ends.values()))
        if all(end.ok for end in ends.values()) and len(ends) == len(graph.nodes) - len(cases):
            return _End(True, ends[graph.output].value, done)
        if graph.failure_node is not None:
            if not parent:
                self.prediction.failure_node = unique_node_id(parent, attempt, graph.failure_node.id)
            with self.inside("failure node"):
                self.node(graph, graph.failure_node, parent, attempt, inputs, after, ends)
        return _End(False, None, done)

    def _in_order(
        self,
        graph: Graph,
        node: Node,
        parent: str,
        attempt: int,
        inputs: dict[str, Any],
        after: frozenset[str],
        ends: dict[str, _End],
    ) -> None:
        if all(before in ends and ends[before].ok for before in node.after):
            needed = after.union(*(ends[before].done for before in node.after))
            ends[node.id] = self.node(graph, node, parent, attempt, inputs, needed, ends)

    def node(
        self,
        graph: Graph,
        node: Node,
        parent: str,
        attempt: int,
        inputs: dict[str, Any],
        after: frozenset[str],
        ends: dict[str, _End],
    ) -> _End:
        unique_id = unique_node_id(parent, attempt, node.id)
        own = {name: _value(source, inputs, ends) for name, source in node.inputs.items()}
        with self.inside(KINDS[node.kind]):
            match node.kind:
                case "task":
                    return self.task(unique_id, node, own, after)
                case "dynamic":
                    return self.dynamic(unique_id, node, own, after)
                case "map":
                    return _attempts(node, lambda number: self.map(unique_id, number, node, own, after))
                case "workflow":
                    sub = self.flow.subs[node.calls]
                    return _attempts(node, lambda number: self.graph(sub, unique_id, number, own, after))
                case "plan":
                    return self.plan(unique_id, node, own["x"], after)
                case "plans":
                    return self.plans(unique_id, node, own["x"], after)
                case "signal" | "approve" | "sleep":
                    return self.gate(unique_id, node, own, after)
            return self.branch(graph, node, parent, attempt, inputs, own, after, ends)

    def branch(
        self,
        graph: Graph,
        node: Node,
        parent: str,
        attempt: int,
        inputs: dict[str, Any],
        own: dict[str, Any],
        after: frozenset[str],
        ends: dict[str, _End],
    ) -> _End:
        case = graph.node(node.cases[0] if own["x"] < node.limit else node.cases[1])
        needed = after.union(*(ends[before].done for before in case.after if before in ends))
        if not all(before in ends and ends[before].ok for before in case.after):
            return _End(False)
        return self.node(graph, case, parent, attempt, inputs, needed, ends)

    def gate(self, unique_id: str, node: Node, inputs: dict[str, Any], after: frozenset[str]) -> _End:
        seconds = float(node.limit) if node.kind == "sleep" else 0.0
        self.prediction.gates[unique_id] = ExpectedGate(after, self.around, seconds)
        if unique_id not in self.answers:
            return _End(False, None, after)
        given = self.answers[unique_id]
        return _End(True, inputs.get("o") if given is None else given, after)

    def task(self, unique_id: str, node: Node, inputs: dict[str, Any], after: frozenset[str]) -> _End:
        data = serialized(inputs)
        script = self.script(unique_id, node)
        self.prediction.tasks[unique_id] = Expected(
            data, after, script, node.kind == "dynamic", not node.id, kinds=self.around
        )
        ok, _ = script.end()
        return _End(ok, output_of(unique_id, data), after | {unique_id} if ok else after)

    def dynamic(self, unique_id: str, node: Node, inputs: dict[str, Any], after: frozenset[str]) -> _End:
        end = self.task(unique_id, node, inputs, after)
        if not end.ok:
            return end
        _, attempt = self.prediction.tasks[unique_id].script.end()
        value, done = 7, end.done
        for number in range(DYNAMIC_TASKS):
            inner = unique_node_id(unique_id, attempt, f"dn{number}")
            end = self.task(inner, Node("", "task"), {"x": value}, done)
            if not end.ok:
                return end
            value, done = end.value, end.done
        return _End(True, value, done)

    def map(self, unique_id: str, attempt: int, node: Node, inputs: dict[str, Any], after: frozenset[str]) -> _End:
        items = inputs["x"]
        ends = [
            self.task(unique_node_id(unique_id, attempt, f"n{number}"), node, {"x": item}, after)
            for number, item in enumerate(items)
        ]
        if node.at_once:
            for item in (unique_node_id(unique_id, attempt, f"n{number}") for number in range(len(items))):
                expected = self.prediction.tasks[item]
                self.prediction.tasks[item] = replace(expected, map=f"{unique_id}-{attempt}", at_once=node.at_once)
        return _of_items(node, ends, after)

    def plan(
        self, unique_id: str, node: Node, x: Any, after: frozenset[str], *, within: str = "", at_once: int = 0
    ) -> _End:
        """Foretell the execution of a launch plan: nodes of its own, whose ids begin anew."""
        flow = replace(self.flow, root=self.flow.subs[node.calls], x=x)
        answers = {
            gate.removeprefix(f"{unique_id}/"): value
            for gate, value in self.answers.items()
            if gate.startswith(f"{unique_id}/")
        }
        seed = f"{self.seed} {unique_id}"
        found = predict(flow, seed, unseen=self.unseen, drained=self.drained, answers=answers)
        self.prediction.children[unique_id] = ExpectedChild(
            flow, found, after, within, at_once, self.around, node.attempts if node.limited else 1
        )
        return _End(found.succeeds, found.value, after | {unique_id} if found.succeeds else after)

    def plans(self, unique_id: str, node: Node, items: list[Any], after: frozenset[str]) -> _End:
        within = f"{unique_id}-0" if node.at_once else ""
        ends = [
            self.plan(
                unique_node_id(unique_id, 0, f"n{number}"), node, item, after, within=within, at_once=node.at_once
            )
            for number, item in enumerate(items)
        ]
        return _of_items(node, ends, after)

    def script(self, unique_id: str, node: Node) -> Script:
        rng = random.Random(f"{self.seed} {unique_id}")
        if always := node.always or ("" if self.flow.is_recovery else node.at_first):
            return Script((Outcome(always),) * RUNS_OF_A_HANGING, 1)
        if node.may_hang:
            return Script((Outcome.HANG,) * RUNS_OF_A_HANGING if rng.random() < 0.5 else (), 1)
        unseen = self.unseen and node.kind != "dynamic"  # the ids of what is inside have the attempt in them
        script = draw_script(rng, node.attempts, hangs=node.deadline, unseen=unseen, trouble=self.flow.trouble)
        return self.drained(script, f"{self.seed} {unique_id}") if unseen else script


def _of_items(node: Node, ends: list[_End], after: frozenset[str]) -> _End:
    """What comes of a map, of what comes of its items."""
    needed = len(ends) if node.min_successes is None else node.min_successes
    ok = sum(end.ok for end in ends) >= needed
    return _End(ok, [end.value if end.ok else None for end in ends], after.union(*(end.done for end in ends)))


def _attempts(node: Node, run: Callable[[int], _End]) -> _End:
    """What comes of what runs inside a node, which is tried again where its time is up before its end."""
    for attempt in range(node.attempts if node.timed else 1):
        end = run(attempt)
        if end.ok:
            break
    return end


def _value(source: Source, inputs: dict[str, Any], ends: dict[str, _End]) -> Any:
    if isinstance(source, list):
        return [_value(item, inputs, ends) for item in source]
    if isinstance(source, tuple):
        node_id, name = source
        return ends[node_id].value if node_id else inputs[name]
    return source
