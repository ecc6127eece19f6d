"""State of a compilation: tasks, launch plans, workflows, and each workflow's nodes and edges.

The messages of the closure under construction are changed in place, as Flyte does: ids of a branch's cases are prefixed
with the branch's id, promises without a node get the start node's, upstream ids are sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flyteidl.core import compiler_pb2, interface_pb2, tasks_pb2, workflow_pb2

from propeller.compiler._errors import ErrorCode, Errors
from propeller.compiler._ids import START_NODE, identifier_text
from propeller.compiler._limits import Limits
from propeller.compiler._trampoline import Trampoline
from propeller.compiler._types import Type, Types


class Interface:
    """Input and output variables by name. `problems` lists what is wrong with them."""

    __slots__ = ("inputs", "outputs", "problems")

    def __init__(self, inputs: dict[str, Type], outputs: dict[str, Type], problems: tuple[str, ...] = ()) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.problems = problems


def read_interface(types: Types, message: interface_pb2.TypedInterface) -> Interface:
    """Read an interface, and make its halves present in the message."""
    problems: list[str] = []
    for half in (message.inputs, message.outputs):
        half.SetInParent()
    inputs = read_variables(types, message.inputs, problems)
    return Interface(inputs, read_variables(types, message.outputs, problems), tuple(problems))


def read_variables(types: Types, message: interface_pb2.VariableMap, problems: list[str]) -> dict[str, Type]:
    variables = message.variables
    found: dict[str, Type] = {}
    for name in variables:
        variable = variables[name]
        if not name:
            problems.append("a variable has no name")
        if variable.HasField("type"):
            found[name] = types.of(variable.type)
        else:
            problems.append(f"variable {name!r} has no type")
            found[name] = types.missing
    return found


class Node:
    """A node that is being compiled: `interface` is set once it is known to be valid."""

    __slots__ = ("core", "depth", "faults", "id", "inner", "interface", "name", "outputs", "target")

    def __init__(self, core: workflow_pb2.Node, depth: int = 0) -> None:
        self.core = core
        self.id: str = core.id
        self.depth = depth
        self.target: str = core.WhichOneof("target") or ""
        self.name: str = core.metadata.name
        self.interface: Interface | None = None
        self.inner: dict[str, Node] = {}
        """Inner nodes: an array's node, a branch's cases, by their position in the message."""
        self.outputs: dict[str, Type] | None = None
        """Outputs under their aliases; None until they are first needed."""
        self.faults: tuple[tuple[ErrorCode, str], ...] = ()
        """Errors of the aliases."""

    def rename(self, node_id: str) -> None:
        self.core.id = self.id = node_id


class Unit:
    """One workflow of the closure."""

    __slots__ = ("core", "has_branches", "key", "passes", "valid")

    def __init__(self, core: compiler_pb2.CompiledWorkflow) -> None:
        self.core = core
        self.key = identifier_text(core.template.id if core.template.HasField("id") else None)
        self.passes = 0
        self.valid = False
        self.has_branches = False
        """Whether it, or a workflow that it calls, has branches."""


class Compilation:
    """One call of `compile_workflow`. `validate` compiles a unit and returns whether it is valid."""

    def __init__(
        self,
        closure: compiler_pb2.CompiledWorkflowClosure,
        launch_plans: Mapping[str, Any],
        validate: Callable[[Compilation, Unit], Trampoline[bool]],
        limits: Limits,
    ) -> None:
        self.closure = closure
        self.launch_plans = launch_plans
        self.limits = limits
        self.types = Types()
        self.errors = Errors()
        self.warnings: list[str] = []
        self.tasks: dict[str, tasks_pb2.TaskTemplate] = {
            identifier_text(task.template.id): task.template for task in closure.tasks
        }
        self.primary = Unit(closure.primary)
        self.units: dict[str, Unit] = {}
        self._validate = validate
        self._task_interfaces: dict[str, Interface] = {}
        self._unit_interfaces: dict[str, Interface] = {}
        self._primary_interface: Interface | None = None
        self._launch_plan_outputs: dict[str, tuple[dict[str, Type], list[str]]] = {}

    def validate(self, unit: Unit) -> Trampoline[bool]:
        return self._validate(self, unit)

    def task_interface(self, key: str) -> Interface:
        """Return the interface of an existing task; without one of its own it has no inputs and no outputs."""
        found = self._task_interfaces.get(key)
        if found is None:
            task = self.tasks[key]
            has_one = task.HasField("interface")
            found = read_interface(self.types, task.interface) if has_one else Interface({}, {})
            self._task_interfaces[key] = found
        return found

    def unit_interface(self, unit: Unit) -> Interface:
        """Return the interface of a workflow; an empty one is created if its template has none."""
        found = self._unit_interfaces.get(unit.key) if unit is not self.primary else self._primary_interface
        if found is None:
            found = read_interface(self.types, unit.core.template.interface)
            if unit is self.primary:
                self._primary_interface = found
            else:
                self._unit_interfaces[unit.key] = found
        return found

    def launch_plan_outputs(self, key: str, problems: list[str]) -> dict[str, Type]:
        """Return the outputs of an existing launch plan; their errors are added to `problems`."""
        found = self._launch_plan_outputs.get(key)
        if found is None:
            wrong: list[str] = []
            outputs = read_variables(self.types, self.launch_plans[key].closure.expected_outputs, wrong)
            found = self._launch_plan_outputs[key] = (outputs, wrong)
        problems.extend(found[1])
        return found[0]


class Workflow:
    """One pass over one unit: its nodes by id, and the edges between them."""

    __slots__ = ("compilation", "compiled", "downstream", "nodes", "unit", "upstream")

    def __init__(self, compilation: Compilation, unit: Unit) -> None:
        self.compilation = compilation
        self.unit = unit
        self.nodes: dict[str, Node] = {}
        self.upstream: dict[str, set[str]] = {}
        self.downstream: dict[str, set[str]] = {}
        self.compiled: set[str] = set()
        """Keys of sub-workflows that this pass has found valid."""

    def add_upstream(self, provider: str, node_id: str) -> None:
        found = self.upstream.get(node_id)
        if found is None:
            found = self.upstream[node_id] = set()
        found.add(provider or START_NODE)

    def add_downstream(self, provider: str, node_id: str) -> None:
        found = self.downstream.get(provider or START_NODE)
        if found is None:
            found = self.downstream[provider or START_NODE] = set()
        found.add(node_id)

    def add_edge(self, provider: str, node_id: str) -> None:
        self.add_upstream(provider, node_id)
        self.add_downstream(provider, node_id)
