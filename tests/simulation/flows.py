"""Random workflows, in a form that both the resource and the model are made from."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from google.protobuf import json_format

from tests.unit.storage.values import bound, literal, promise
from tests.unit.workflow import drive

Source = Any
"""Where a value comes from: an integer, (node id, output) with "" for the graph's own inputs, or a list of these."""

EXECUTION_DEADLINE = "15m"

TIMED = {"executionDeadline": "1h0m0s", "activeDeadline": "3h0m0s"}
"""Of a node with others inside it: nothing but what never ends takes so long."""

INTEGER = {"type": {"simple": "INTEGER"}}


@dataclass(frozen=True)
class Node:
    """One node; what does not belong to its kind keeps its default."""

    id: str
    kind: str  # task, dynamic, map, workflow, branch; a gate's: signal, approve, sleep; a launch plan's: plan, plans
    inputs: dict[str, Source] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    attempts: int = 1
    deadline: bool = False
    limited: str = field(default="", repr=False)
    """A gate's time, as a duration; "": any."""
    timed: bool = False
    """Whether what runs inside the node has a time, in which some of it may not end."""
    may_hang: bool = False
    """Whether a task may never end; which node it is inside of stops it."""
    always: str = field(default="", repr=False)
    """What each run of a task comes to, the value of an Outcome; "" draws that."""
    at_first: str = field(default="", repr=False)
    """As `always`, unless what has failed by it is recovered."""
    task: str = field(default="", repr=False)
    """The template of a task; "": that of its kind."""
    at_once: int = 0
    """Of a map: how many items at once; 0 leaves that to the workflow's limit."""
    min_successes: int | None = None
    calls: str = ""
    limit: int = 0
    """Of a branch; the seconds of a sleep."""
    cases: tuple[str, ...] = ()
    """A branch's two: for x below `limit`, and else."""


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they could run; `output` names the node whose output is the graph's."""

    nodes: tuple[Node, ...]
    output: str
    keeps_going: bool
    failure_node: Node | None = None

    def node(self, node_id: str) -> Node:
        return next(node for node in self.nodes if node.id == node_id)


@dataclass(frozen=True)
class Flow:
    """A workflow and how it is to run."""

    root: Graph
    subs: dict[str, Graph]
    x: int
    parallelism: int
    trouble: float
    is_recovery: bool = field(default=False, kw_only=True)

    @property
    def is_timed(self) -> bool:
        """Whether some node has a time, which what is slow may use up."""
        nodes = [node for graph in (self.root, *self.subs.values()) for node in graph.nodes]
        return any(node.deadline or node.timed for node in nodes)

    @property
    def same_whatever_failed(self) -> bool:
        """Whether every node's output is the same in each execution in which it succeeds: those of a map task are not
        that may lack items, nor of a dynamic task or one with a time, whose nodes have its attempt in their names.
        """
        nodes = [node for graph in (self.root, *self.subs.values()) for node in graph.nodes]
        return all(node.kind != "dynamic" and node.min_successes is None and not node.timed for node in nodes)

    @property
    def ends_in_order(self) -> bool:
        """Whether whatever runs comes to its own end, also if something else fails."""
        graphs = (self.root, *self.subs.values())
        kinds = {node.kind for graph in graphs for node in graph.nodes}
        return all(graph.keeps_going for graph in graphs) and not self.is_timed and kinds <= {"task", "workflow"}

    def resource(self, name: str) -> dict[str, Any]:
        """As FlyteAdmin would create it."""
        return {
            "metadata": {"name": name, "labels": {"execution-id": name}},
            "spec": _graph(self.root),
            "subWorkflows": {key: _graph(graph) for key, graph in self.subs.items()},
            "tasks": {kind: task_template(kind) for kind in ("task", "dynamic")},
            "inputs": {"literals": {"x": json_format.MessageToDict(literal(self.x))}},
            "executionConfig": {"MaxParallelism": self.parallelism},
        }


SomeFlow = TypeVar("SomeFlow", bound=Flow)


def also(kind: type[SomeFlow], flow: Flow, **changes: Any) -> SomeFlow:
    """Return a workflow, of whatever kinds it is by now, that is of another kind, too."""
    values = {one.name: getattr(flow, one.name) for one in fields(flow)}
    return _both(kind, type(flow))(**values | changes)


def _both(kind: type[SomeFlow], other: type[Flow]) -> type[SomeFlow]:
    if other is Flow:
        return kind
    made: type[SomeFlow] = type(f"{kind.__name__}{other.__name__}", (kind, other), {})
    return dataclass(frozen=True)(made)


def task_template(kind: str) -> dict[str, Any]:
    """A task that finds its inputs and leaves its outputs where its arguments say."""
    return {
        "id": {"resourceType": "TASK", "project": "p", "domain": "d", "name": kind, "version": "v"},
        "type": "python-task",
        "interface": {"inputs": {"variables": {"x": INTEGER}}, "outputs": {"variables": {"o": INTEGER}}},
        "container": {"image": "image", "args": [kind, "{{.input}}", "{{.outputPrefix}}"]},
    }


def plan_reference(name: str) -> dict[str, Any]:
    """The part of a node that names the launch plan that it starts."""
    return {"launchPlanRefId": {"project": "p", "domain": "d", "name": name, "version": "v"}}


def draw_flow(rng: random.Random) -> Flow:
    subs: dict[str, Graph] = {}
    for number in range(rng.choice((0, 0, 1, 2))):
        subs[f"sub{number}"] = _draw_graph(rng, tuple(subs), rng.randint(1, 3))
    root = _draw_graph(rng, tuple(subs), rng.choice((1, 2, 3, 4, 6, 8)))
    flow = Flow(root, subs, rng.randint(0, 9), rng.choice((0, 0, 1, 2, 3)), rng.choice((0.0, 0.1, 0.3)))
    apart = random.Random(repr(root))  # so that the worlds of most seeds stay what they are
    return _with_timed_node(apart, flow) if not flow.parallelism and apart.random() < 0.15 else flow


def _with_timed_node(rng: random.Random, flow: Flow) -> Flow:
    """With one more node that has a time, in which some of it may not end. No limit makes any of it wait for others."""
    attempts = rng.choice((1, 2, 2, 3))
    if rng.random() < 0.3:
        node = Node("timed", "map", {"x": [("", "x"), 3]}, attempts=attempts, timed=True, may_hang=True)
        subs = flow.subs
    else:
        first = Node("t0", "task", {"x": ("", "x")}, may_hang=True)
        inside = Graph((first, Node("t1", "task", {"x": ("t0", "o")}, ("t0",), may_hang=True)), "t1", keeps_going=False)
        node = Node("timed", "workflow", {"x": ("", "x")}, attempts=attempts, timed=True, calls="timed")
        subs = flow.subs | {"timed": inside}
    root = replace(flow.root, nodes=(*flow.root.nodes, node))
    return replace(flow, root=root, subs=subs)


def _draw_graph(rng: random.Random, subs: tuple[str, ...], count: int) -> Graph:
    nodes: list[Node] = []
    numbers: list[str] = []  # nodes whose output is an integer
    shape = rng.random()
    for number in range(count):
        kind = rng.choices(("task", "dynamic", "map", "workflow", "branch"), (8, 1, 2, 2 if subs else 0, 1.5))[0]
        names = [node.id for node in nodes if "-" not in node.id]
        before = names[-1:] if shape < 0.3 else rng.sample(names, min(len(names), rng.choice((0, 1, 1, 2, 3))))
        nodes += _draw_node(rng, f"n{number}", kind, before, [name for name in before if name in numbers], subs)
        if kind != "map":
            numbers.append(f"n{number}")
    if not numbers:
        nodes += _draw_node(rng, "last", "task", [node.id for node in nodes], [], subs)
        numbers.append("last")
    output = rng.choice(numbers)
    failure = Node("fn", "task", {"x": 1}, attempts=rng.randint(1, 2)) if rng.random() < 0.3 else None
    return Graph(tuple(nodes), output, rng.random() < 0.5, failure)


def _draw_node(
    rng: random.Random, name: str, kind: str, before: list[str], numbers: list[str], subs: tuple[str, ...]
) -> list[Node]:
    def source() -> Source:
        return rng.choice([rng.randint(0, 9), ("", "x"), *((other, "o") for other in numbers)])

    retry: dict[str, Any] = {"attempts": rng.choice((1, 1, 2, 3)), "deadline": rng.random() < 0.2}
    after = tuple(before)
    match kind:
        case "task" | "dynamic":
            inputs = {"x": source()} | {f"v{i}": (other, "o") for i, other in enumerate(before) if rng.random() < 0.5}
            return [Node(name, kind, inputs, after, **retry)]
        case "map":
            items = [source() for _ in range(rng.choice((0, 1, 2, 3, 5)))]
            needed = rng.randint(0, len(items)) if rng.random() < 0.5 else None
            at_once = rng.choice((0, 1, 2))
            return [Node(name, kind, {"x": items}, after, at_once=at_once, min_successes=needed, **retry)]
        case "workflow":
            return [Node(name, kind, {"x": source()}, after, calls=rng.choice(subs))]
    cases = [
        Node(f"{name}-{case}", "workflow", {"x": source()}, calls=rng.choice(subs))
        if subs and rng.random() < 0.3
        else Node(f"{name}-{case}", "task", {"x": source()}, **retry)
        for case in ("a", "b")
    ]
    branch = Node(name, "branch", {"x": source()}, after, limit=rng.randint(0, 9), cases=tuple(n.id for n in cases))
    return [branch, *(_after_what_it_reads(case) for case in cases)]


def _after_what_it_reads(case: Node) -> Node:
    read = tuple(value[0] for value in case.inputs.values() if isinstance(value, tuple) and value[0])
    return Node(**{**vars(case), "after": read})


def _graph(graph: Graph) -> dict[str, Any]:
    edges = [(before, node.id) for node in graph.nodes for before in node.after]
    policy = "FAIL_AFTER_EXECUTABLE_NODES_COMPLETE" if graph.keeps_going else "FAIL_IMMEDIATELY"
    made = drive.graph(*map(_node, graph.nodes), edges=edges, onFailurePolicy=policy)
    made["nodes"]["end-node"]["inputBindings"] = _bindings({"o": (graph.output, "o")})
    upstream = made["edges"]["upstream"].setdefault("end-node", [])
    upstream += [graph.output] if graph.output not in upstream else []
    if graph.failure_node is not None:
        made["onFailure"] = _node(graph.failure_node)
    return made


def _node(node: Node) -> dict[str, Any]:
    made: dict[str, Any] = {"id": node.id, "kind": node.kind, "inputBindings": _bindings(node.inputs)}
    task: dict[str, Any] = {"kind": "task", "task": node.task or (node.kind if node.kind == "dynamic" else "task")}
    task |= {"retry": {"minAttempts": node.attempts}}
    if node.deadline:
        task["executionDeadline"] = EXECUTION_DEADLINE
    if node.limited:
        made |= {"executionDeadline": node.limited, "retry": {"minAttempts": node.attempts}}
    if node.timed:
        made |= TIMED | {"retry": {"minAttempts": node.attempts}}
    match node.kind:
        case "task" | "dynamic":
            made |= task
        case "map":
            array: dict[str, Any] = {"SubNodeSpec": {"id": "item", **task}, "dataMode": 1}
            if node.at_once:
                array["Parallelism"] = node.at_once
            if node.min_successes is not None:
                array["MinSuccesses"] = node.min_successes
            made |= {"kind": "array", "array": array}
        case "workflow":
            made["workflow"] = {"subWorkflowRef": node.calls}
        case "plan":
            made |= {"kind": "workflow", "workflow": plan_reference(node.calls)}
        case "plans":
            item = {"id": "item", "kind": "workflow", "workflow": plan_reference(node.calls)}
            made |= {"kind": "array", "array": {"SubNodeSpec": item}}
            if node.at_once:
                made["array"]["Parallelism"] = node.at_once
            if node.min_successes is not None:
                made["array"]["MinSuccesses"] = node.min_successes
        case "branch":
            comparison = {
                "operator": "LT",
                "leftValue": {"var": "x"},
                "rightValue": {"primitive": {"integer": str(node.limit)}},
            }
            first = {"condition": {"comparison": comparison}, "then": node.cases[0]}
            made["branch"] = {"if": first, "else": node.cases[1]}
        case "signal":
            condition = {"signalId": node.id, "type": INTEGER["type"], "outputVariableName": "o"}
            made |= {"kind": "gate", "gate": {"kind": "signal", "signal": condition}}
        case "approve":
            made |= {"kind": "gate", "gate": {"kind": "approve", "approve": {"signalId": node.id}}}
        case "sleep":
            made |= {"kind": "gate", "gate": {"kind": "sleep", "sleep": {"duration": f"{node.limit}s"}}}
    return made


def _bindings(inputs: dict[str, Source]) -> list[dict[str, Any]]:
    return [{"var": name, "binding": json_format.MessageToDict(bound(_bound(value)))} for name, value in inputs.items()]


def _bound(source: Source) -> Any:
    if isinstance(source, tuple):
        return promise(*source)
    return [_bound(item) for item in source] if isinstance(source, list) else source
