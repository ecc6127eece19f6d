"""The plan of a workflow: arrays and integer node numbers, parsed once per closure and shared by its executions.

Guarantees
    Immutable after `parse_plan`, apart from caches of messages that are decoded on demand.
    Every reference between nodes, tasks and sub-workflows holds: `parse_plan` raises Invalid with the path of a bad
    one.
Assumptions
    The closure was compiled by Flyte or by us. Types are not checked again here.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from flyteidl.core import literals_pb2, tasks_pb2

from propeller.decoding import read
from propeller.errors import Invalid
from propeller.text import bounded
from propeller.workflow._gates import check_gate
from propeller.workflow._limits import check_names, check_node, check_reference
from propeller.workflow._map_tasks import MAP_TASK, with_array_nodes
from propeller.workflow._messages import decode_document, parse_message
from propeller.workflow._order import branches_of_cases, check_order
from propeller.workflow._spec import (
    EMPTY_OBJECT,
    END_NODE,
    NOTHING,
    START_NODE,
    ClosureSpec,
    FailurePolicy,
    GraphSpec,
    LaunchPlanRef,
    NodeKind,
    NodeSpec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

_CLOSURE = msgspec.json.Decoder(ClosureSpec)
_BINDINGS = msgspec.json.Decoder(list[msgspec.Raw])
_BINDINGS_AT_ONCE = 1000
"""Nodes: half a millisecond in which nothing else runs."""

_NO_DIRECTORY = re.compile(r"[/\x00]")

MAX_ID_BYTES = 255
"""Of a node's id: the limit of file systems for a directory's name, and of FlyteAdmin's database for a node's id."""

_MAX_ID = 100
"""Of an id in messages."""

_RESERVED_IDS = frozenset({"", ".", "..", "inputs.pb", "outputs.pb", "error.pb", "futures.pb"})
"""Ids that have another meaning as a directory's name, or are the name of a blob beside it."""

_set = msgspec.structs.force_setattr


class Graph:
    """One workflow, sub-workflow, dynamic workflow, or the items of a map task.

    `nodes[i]` is node number i; `downstream[i]` the numbers of its successors; `unmet[i]` how many dependencies must
    complete before it may start (for a case, its branch's choice is one); `entries` the nodes without dependencies;
    `case_of` the branch of each case, `cases` the cases of each branch; `appends_index`: items write their outputs
    below their index (`_map_tasks`).
    """

    __slots__ = (
        "_bindings",
        "_numbers",
        "_starts",
        "appends_index",
        "case_of",
        "cases",
        "downstream",
        "end",
        "entries",
        "failure",
        "id",
        "nodes",
        "plan",
        "policy",
        "unmet",
    )

    def __init__(self, plan: Plan, spec: GraphSpec, where: str) -> None:
        self.plan = plan
        self.id = spec.id
        self.policy = _policy(spec.on_failure_policy, where)
        self.appends_index = False
        self._bindings: dict[int, tuple[literals_pb2.Binding, ...]] = {}
        self._starts: Counter[LaunchPlanRef] | None = None
        nodes = [node for node in spec.nodes.values() if node.kind is not NodeKind.START]
        self.nodes: Sequence[NodeSpec] = tuple(_compact(nodes))
        for key, node in spec.nodes.items():
            if node.id != key:
                raise Invalid(
                    f"{where}.nodes.{bounded(key, _MAX_ID)}.id is {bounded(node.id, _MAX_ID)!r}: it must be the key"
                )
            _check_id(node.id, f"{where}.nodes")
        if spec.on_failure is not None:
            _check_id(spec.on_failure.id, f"{where}.onFailure.id")
            if spec.on_failure.id in spec.nodes:
                raise Invalid(f"{where}.onFailure.id is {spec.on_failure.id!r}, as that of a node in {where}.nodes")
        numbers = self._numbers = {node.id: number for number, node in enumerate(self.nodes)}
        self.end: int | None = numbers.get(END_NODE)
        self.case_of: dict[int, int] = branches_of_cases(self.nodes, numbers, where)
        self.cases: dict[int, list[int]] = {}
        for case, branch in self.case_of.items():
            self.cases.setdefault(branch, []).append(case)
        self.unmet = array("I", bytes(4 * len(self.nodes)))
        downstream: list[list[int]] = [[] for _ in self.nodes]
        for node_id, upstream in spec.edges.upstream.items():
            number = numbers.get(node_id)
            if number is None:
                continue  # Flyte's compiler leaves edges of failure nodes and unknown ids in the connections
            for other in dict.fromkeys(upstream):
                if other == START_NODE or other not in numbers:
                    continue
                downstream[numbers[other]].append(number)
                self.unmet[number] += 1
        for case in self.case_of:
            self.unmet[case] += 1
        self.downstream: Sequence[tuple[int, ...]] = tuple(tuple(numbers) for numbers in downstream)
        self.entries: Sequence[int] = tuple(number for number, unmet in enumerate(self.unmet) if not unmet)
        check_names(self.nodes, self.case_of, where)
        check_order(self, where)
        self.failure: int | None = None
        if spec.on_failure is not None:
            self.failure = len(self.nodes)
            self.nodes = (*self.nodes, *_compact([spec.on_failure]))
            self.downstream = (*self.downstream, ())
            self.unmet.append(1)

    def node_id(self, number: int) -> str:
        return self.nodes[number].id

    def bindings(self, number: int) -> tuple[literals_pb2.Binding, ...]:
        """A node's input bindings, decoded on first use."""
        found = self._bindings.get(number)
        if found is None:
            found = self._bindings[number] = decode_bindings(self.nodes[number].input_bindings)
        return found

    def number_of(self, node_id: str) -> int | None:
        return self._numbers.get(node_id)

    def starts(self, launch_plan: LaunchPlanRef) -> int:
        """Return how many of the nodes start that launch plan."""
        if self._starts is None:
            self._starts = Counter(node.launch_plan for node in self.nodes if node.launch_plan is not None)
        return self._starts[launch_plan]


class ItemsGraph(Graph):
    """The items of a map task: `count` times the same node, no edges, no end node."""

    __slots__ = ()

    def __init__(self, plan: Plan, array_node: NodeSpec, count: int) -> None:
        assert array_node.array is not None
        self.plan = plan
        self.id = array_node.id
        self.policy = FailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE
        self.appends_index = array_node.array.appends_index
        self._bindings = {}
        self._numbers = {}
        self.nodes = (array_node.array.sub_node_spec,) * count
        self.downstream = ((),) * count
        self.unmet = array("I", bytes(4 * count))
        self.entries = ()
        self.case_of = {}
        self.cases = {}
        self.end = None
        self.failure = None

    def node_id(self, number: int) -> str:
        return f"n{number}"

    def starts(self, launch_plan: LaunchPlanRef) -> int:
        return len(self.nodes) if self.nodes and self.nodes[0].launch_plan == launch_plan else 0


class Plan:
    """A closure's graphs and tasks. `digest` identifies its content; `closure_bytes` is the size of the document, 0 if
    there was none.
    """

    def __init__(self, closure: ClosureSpec, digest: str, closure_bytes: int = 0) -> None:
        self.digest = digest
        self.closure_bytes = closure_bytes
        self._tasks: Mapping[str, msgspec.Raw] = {key: task.copy() for key, task in closure.tasks.items()}
        self._templates: dict[str, tasks_pb2.TaskTemplate] = {}
        self.launch_plans: Mapping[str, msgspec.Raw] = {
            key: document.copy() for key, document in (closure.launch_plans or {}).items()
        }
        self._of_tasks: dict[tuple[str, Callable[[tasks_pb2.TaskTemplate], Any]], Any] = {}
        if maps := self._tasks_of_type(MAP_TASK):
            closure = with_array_nodes(closure, maps)
        self.root = Graph(self, closure.spec, "spec")
        self.sub_workflows = {
            key: Graph(self, spec, f"subWorkflows[{key}]") for key, spec in (closure.sub_workflows or {}).items()
        }
        for graph, where in (
            (self.root, "spec"),
            *((g, f"subWorkflows[{k}]") for k, g in self.sub_workflows.items()),
        ):
            self._check_references(graph, where)
        self._check_recursion()

    @cached_property
    def node_count(self) -> int:
        """Nodes of all graphs, as written (a sub-workflow that is called twice counts once)."""
        return sum(len(graph.nodes) for graph in (self.root, *self.sub_workflows.values()))

    def task(self, key: str) -> tasks_pb2.TaskTemplate:
        """The task template under its key in the resource, decoded on first use."""
        template = self._templates.get(key)
        if template is None:
            template = parse_message(bytes(self._tasks[key]), tasks_pb2.TaskTemplate(), f"tasks[{key}]")
            self._templates[key] = template
        return template

    def of_task(self, key: str, make: Callable[[tasks_pb2.TaskTemplate], T]) -> T:
        """Return `make(template)` for the task template under that key, computed once."""
        found: T | None = self._of_tasks.get((key, make))
        if found is None:
            found = self._of_tasks[key, make] = make(self.task(key))
        return found

    def _tasks_of_type(self, name: str) -> list[tuple[str, tasks_pb2.TaskTemplate]]:
        """The tasks of a type that few have. The others are not decoded."""
        quoted = b'"%s"' % name.encode()
        keys = [key for key, task in self._tasks.items() if quoted in bytes(task)]
        return [(key, task) for key in keys if (task := self.task(key)).type == name]

    def _check_references(self, graph: Graph, where: str) -> None:
        for node in graph.nodes:
            at = f"{where}.nodes.{node.id}"
            check_node(node, at)
            inner = node.array.sub_node_spec if node.array is not None else node
            if inner.kind is NodeKind.TASK and inner.task not in self._tasks:
                raise Invalid(f"{at}.task is {inner.task!r}, which is not among the resource's tasks")
            if node.kind is NodeKind.ARRAY and node.array is None:
                raise Invalid(f"{at}.array is missing, though its kind is array")
            if inner.kind is NodeKind.GATE:
                check_gate(inner.gate, f"{at}.gate")
            if node.kind is NodeKind.BRANCH and node.branch is None:
                raise Invalid(f"{at}.branch is missing, though its kind is branch")
            if inner.kind is NodeKind.WORKFLOW:
                check_reference(inner, at)
            reference = node.workflow.sub_workflow_ref if node.workflow is not None else None
            if reference and reference not in self.sub_workflows:
                raise Invalid(f"{at}.workflow.subWorkflowRef is {reference!r}, which is not among subWorkflows")

    def _check_recursion(self) -> None:
        """Raise Invalid for a sub-workflow that runs itself: it would never end."""
        callers: dict[str, list[str]] = {}
        open_calls: dict[str, int] = {}
        for caller, graph in self.sub_workflows.items():
            called = {node.workflow.sub_workflow_ref for node in graph.nodes if node.workflow is not None}
            keys = [key for key in called if key]
            open_calls[caller] = len(keys)
            for key in keys:
                callers.setdefault(key, []).append(caller)
        todo = [key for key, count in open_calls.items() if not count]
        while todo:
            for caller in callers.get(todo.pop(), ()):
                open_calls[caller] -= 1
                if not open_calls[caller]:
                    todo.append(caller)
        for key, count in open_calls.items():
            if count:
                raise Invalid(f"subWorkflows[{key}] runs itself, or one that does: a workflow cannot contain itself")


def parse_plan(closure: bytes, digest: str) -> Plan:
    """Parse the static part of a FlyteWorkflow resource (JSON with `spec`, `tasks`, `subWorkflows`, `launchPlans`).

    Raises Invalid with the path of the first bad field.
    """
    return Plan(decode_document(_CLOSURE, closure, "the resource"), digest, len(closure))


def decode_bindings(raw: msgspec.Raw) -> tuple[literals_pb2.Binding, ...]:
    """flyteidl.core.Binding messages from their JSON list; raises Invalid with the field that is wrong."""
    if not raw or bytes(raw) == b"null":
        return ()
    found = read(list[msgspec.Raw], bytes(raw))
    if found.problems:
        raise Invalid(f"inputBindings: {found.message}")
    return tuple(
        parse_message(bytes(item), literals_pb2.Binding(), f"inputBindings[{at}]")
        for at, item in enumerate(found.value or ())
    )


def _compact(nodes: Sequence[NodeSpec]) -> Sequence[NodeSpec]:
    """Release the document that nodes were decoded from, and keep equal texts once. The nodes are new and not shared
    yet, so they are changed in place.
    """
    texts: dict[str, str] = {}
    layer = nodes
    while layer:
        for node, raw in zip(layer, _bindings_of(layer), strict=True):
            _set(node, "input_bindings", raw if node.input_bindings else NOTHING)
            _set(node, "task", texts.setdefault(node.task, node.task))
            _set(node, "name", texts.setdefault(node.name, node.name))
            if not node.resources:
                _set(node, "resources", None)
            for field in ("pod_template", "extended_resources"):
                if (raw := getattr(node, field)) is not EMPTY_OBJECT:
                    _set(node, field, EMPTY_OBJECT if bytes(raw) == b"null" else raw.copy())
            for case in node.branch.cases if node.branch is not None else ():
                _set(case, "condition", case.condition.copy())
            if node.gate is not None and node.gate.signal is not None:
                _set(node.gate.signal, "type", node.gate.signal.type.copy())
        layer = [node.array.sub_node_spec for node in layer if node.array is not None]
    return nodes


def _bindings_of(nodes: Sequence[NodeSpec]) -> Iterator[msgspec.Raw]:
    """Yield copies of the nodes' bindings. Those of a batch share a document, which costs less than one for each."""
    for first in range(0, len(nodes), _BINDINGS_AT_ONCE):
        batch = nodes[first : first + _BINDINGS_AT_ONCE]
        yield from _BINDINGS.decode(b"[%s]" % b",".join(bytes(node.input_bindings) or b"null" for node in batch))


def _policy(policy: FailurePolicy | int, where: str) -> FailurePolicy:
    if isinstance(policy, FailurePolicy):
        return policy
    policies = tuple(FailurePolicy)
    if not 0 <= policy < len(policies):
        raise Invalid(f"{where}.onFailurePolicy is {policy}, and can be 0 to {len(policies) - 1}, or a name")
    return policies[policy]


def _check_id(node_id: str, where: str) -> None:
    """Raise Invalid for an id that cannot be a directory's name: a node's inputs and outputs are stored under it."""
    if _NO_DIRECTORY.search(node_id) or node_id in _RESERVED_IDS:
        raise Invalid(
            f"{where}: {bounded(node_id, _MAX_ID)!r} cannot be a node's id: it is the name of a directory, so it may "
            f"not be {', '.join(sorted(map(repr, _RESERVED_IDS)))} and has no '/' and no NUL"
        )
    if (size := len(node_id.encode())) > MAX_ID_BYTES:
        raise Invalid(
            f"{where}: {bounded(node_id, _MAX_ID)!r} cannot be a node's id: it has {size} bytes, over {MAX_ID_BYTES}"
        )
