"""Workflows of any size and shape, built as messages."""

from __future__ import annotations

from collections.abc import Iterable

from flyteidl.core import compiler_pb2, identifier_pb2, tasks_pb2, types_pb2, workflow_pb2

from propeller.compiler import compile_task

INTEGER = types_pb2.LiteralType(simple=types_pb2.SimpleType.INTEGER)
STRING = types_pb2.LiteralType(simple=types_pb2.SimpleType.STRING)


def task_id(name: str) -> identifier_pb2.Identifier:
    return identifier_pb2.Identifier(
        resource_type=identifier_pb2.ResourceType.TASK, project="p", domain="d", name=name, version="v"
    )


def workflow_id(name: str) -> identifier_pb2.Identifier:
    return identifier_pb2.Identifier(
        resource_type=identifier_pb2.ResourceType.WORKFLOW, project="p", domain="d", name=name, version="v"
    )


def template(name: str = "add") -> tasks_pb2.TaskTemplate:
    """A task (a: int, b: int) -> o0: int."""
    task = tasks_pb2.TaskTemplate(id=task_id(name), type="python-task")
    task.container.image = "image"
    task.container.args.append("run")
    for variable in ("a", "b"):
        task.interface.inputs.variables[variable].type.CopyFrom(INTEGER)
    task.interface.outputs.variables["o0"].type.CopyFrom(INTEGER)
    return task


def add_task() -> compiler_pb2.CompiledTask:
    return compile_task(template())


def workflow(name: str = "w") -> workflow_pb2.WorkflowTemplate:
    """A workflow (x: int) with nothing in it yet."""
    made = workflow_pb2.WorkflowTemplate(id=workflow_id(name))
    made.interface.inputs.variables["x"].type.CopyFrom(INTEGER)
    made.interface.outputs.SetInParent()
    return made


def bind(node: workflow_pb2.Node, name: str, provider: str, output: str = "o0") -> None:
    binding = node.inputs.add(var=name)
    binding.binding.promise.node_id = provider
    binding.binding.promise.var = output


def add_node(made: workflow_pb2.WorkflowTemplate, node_id: str, a: str = "", b: str = "") -> workflow_pb2.Node:
    """A node that runs `add` on outputs of two others, or on the workflow's input."""
    node = made.nodes.add(id=node_id)
    node.metadata.name = "add"
    node.task_node.reference_id.CopyFrom(task_id("add"))
    for name, provider in (("a", a), ("b", b)):
        bind(node, name, provider, "o0" if provider else "x")
    return node


def chain(length: int) -> workflow_pb2.WorkflowTemplate:
    """Each node adds the outputs of the two before it."""
    made = workflow()
    for number in range(length):
        before = [f"n{number - back}" if number >= back else "" for back in (1, 2)]
        add_node(made, f"n{number}", *before)
    return made


def layers(depth: int, width: int) -> workflow_pb2.WorkflowTemplate:
    """Each node of a layer waits for all of the layer before: paths are width to the power of depth."""
    made = workflow()
    for layer in range(depth):
        for number in range(width):
            node = add_node(made, f"n{layer}-{number}")
            if layer:
                node.upstream_node_ids.extend(f"n{layer - 1}-{other}" for other in range(width))
    return made


def call(made: workflow_pb2.WorkflowTemplate, node_id: str, called: str) -> workflow_pb2.Node:
    node = made.nodes.add(id=node_id)
    node.workflow_node.sub_workflow_ref.CopyFrom(workflow_id(called))
    bind(node, "x", "", "x")
    return node


def calling(names: Iterable[str], name: str = "w") -> workflow_pb2.WorkflowTemplate:
    """A workflow that calls others, each with its own input."""
    made = workflow(name)
    for number, called in enumerate(names):
        call(made, f"n{number}", called)
    return made
