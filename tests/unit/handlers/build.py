"""Executions whose nodes stand wherever a test wants them, with literals in a store in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flyteidl.core import literals_pb2
from google.protobuf import json_format

from propeller.handlers import Inputs, LaunchPlans
from propeller.registry import StoredRegistry
from propeller.storage import MemoryStore, Storage, write_literals
from propeller.wire import ByName
from propeller.workflow import (
    Execution,
    ExecutionInfo,
    ExecutionSpec,
    Failure,
    ItemsGraph,
    NodePhase,
    NodeView,
    Plan,
    parse_plan,
)
from tests.unit.storage.values import bound, literal, python
from tests.unit.workflow.drive import graph, task

__all__ = ["World", "array", "binding", "bindings", "graph", "literals", "outputs", "task", "template"]

INTEGER = {"type": {"simple": "INTEGER"}}


def literals(**values: Any) -> literals_pb2.LiteralMap:
    return literals_pb2.LiteralMap(literals={name: literal(value) for name, value in values.items()})


def binding(variable: str, value: Any) -> dict[str, Any]:
    """One of a node's `inputBindings`; `value` is a constant, or a promise within constants."""
    return {"var": variable, "binding": json_format.MessageToDict(bound(value))}


def bindings(**values: Any) -> list[dict[str, Any]]:
    return [binding(variable, value) for variable, value in values.items()]


def template(*, outputs: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """A task template as the resource has it; a python-task in a container where nothing else is said."""
    return {
        "id": {"resourceType": "TASK", "project": "p", "domain": "d", "name": "mod.Task", "version": "v1"},
        "type": "python-task",
        "interface": {"outputs": {"variables": {name: dict(INTEGER) for name in outputs}}},
        **({} if {"container", "k8sPod", "sql"} & set(fields) else {"container": {"image": "image:1"}}),
        **fields,
    }


def array(node_id: str, of: Mapping[str, Any] | None = None, *, bound: tuple[str, ...] = (), **fields: Any) -> Any:
    """A map task node over task `t`."""
    spec = {"SubNodeSpec": of or task("sub"), "BoundInputs": list(bound)}
    spec |= {key: fields.pop(key) for key in ("dataMode", "Parallelism") if key in fields}
    return {"id": node_id, "kind": "array", "array": spec, **fields}


class World:
    """One execution of a workflow, with its root opened, and the storage that its nodes read and write."""

    def __init__(
        self,
        root: dict[str, Any],
        tasks: Mapping[str, Any] | None = None,
        *,
        inputs: literals_pb2.LiteralMap | None = None,
        spec: ExecutionSpec = ExecutionSpec(),  # noqa: B008 - frozen
        name: str = "e",
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        **sub_workflows: dict[str, Any],
    ) -> None:
        closure = {"spec": root, "tasks": {"t": template(), **(tasks or {})}, "subWorkflows": sub_workflows}
        self.plan: Plan = parse_plan(json.dumps(closure).encode(), "digest")
        info = ExecutionInfo(
            name=name,
            namespace="ns",
            uid="uid",
            directory="memory://m/e",
            inputs=inputs or literals_pb2.LiteralMap(),
            labels=labels or {},
            annotations=annotations or {},
            spec=spec,
        )
        self.execution = Execution(info, self.plan, now=1000.0)
        self.execution.open_frame(self.plan.root)
        self.blobs: dict[str, bytes] = {}
        self.storage = Storage(stores={"memory": MemoryStore(self.blobs)})
        self.inputs = Inputs(self.storage)
        self.launch_plans = LaunchPlans(StoredRegistry(self.storage, "memory://registry"))

    def node(self, unique_id: str) -> NodeView:
        for number in range(len(self.execution.phases)):
            if self.execution.unique_id(number) == unique_id:
                return self.execution.view(number)
        raise LookupError(unique_id)

    def open_sub_workflow(self, unique_id: str, name: str) -> None:
        """What a workflow node does when its inputs are stored."""
        node = self.node(unique_id)
        self.execution.phases[node.number] = NodePhase.RUNNING
        self.execution.open_frame(self.plan.sub_workflows[name], parent=node.number)

    def open_items(self, unique_id: str, count: int) -> list[NodeView]:
        """What a map task does when its lists are counted; returns its items."""
        node = self.node(unique_id)
        frame = self.execution.open_frame(ItemsGraph(self.plan, node.spec, count), parent=node.number, items=True)
        return [self.execution.view(frame.base + number) for number in range(count)]

    async def succeeded(self, node: NodeView | str, *, attempt: int = 0, **values: Any) -> None:
        """The node has ended well, with these outputs."""
        view = self.node(node) if isinstance(node, str) else node
        self.execution.phases[view.number] = NodePhase.SUCCEEDED
        self.execution.attempts[view.number] = attempt
        uri = f"{self.execution.output_directory(view.number)}/outputs.pb"
        await write_literals(self.storage, uri, literals(**values))

    def fail(self, message: str, node: str) -> None:
        """The root has failed."""
        self.execution.frames[0].failure = Failure("USER", message, node=node)

    def stored(self, uri: str) -> dict[str, Any]:
        """The literals stored at a URI, as Python."""
        found = literals_pb2.LiteralMap.FromString(self.blobs[uri])
        return {name: python(value) for name, value in found.literals.items()}


def outputs(of: ByName) -> dict[str, Any]:
    return {name: python(value) for name, value in of.literals.items()}
