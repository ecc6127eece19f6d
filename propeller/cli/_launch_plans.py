"""Launch plans of a file: completed as FlyteAdmin would, and compiled to the documents that a resource carries. Pure.

A node that starts a launch plan starts an execution of its own. The resource of its parent carries what that needs, so
that it can be created anywhere; a launch plan that is not in the file has to be registered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from flyteidl.admin import launch_plan_pb2, workflow_pb2
from flyteidl.core import identifier_pb2
from flyteidl.core import workflow_pb2 as core_pb2

from propeller.cli.flytekit_bridge import Serialized
from propeller.compiler import (
    build_launch_plan,
    compile_task,
    compile_workflow,
    complete_launch_plan,
    find_requirements,
    identifier_text,
    launch_plans_of,
)
from propeller.errors import Invalid
from propeller.workflow import entity_path

Plans = Mapping[str, launch_plan_pb2.LaunchPlan]
"""Completed launch plans by `path_of` their ids."""

NONE: Plans = MappingProxyType({})


def plans_of(serialized: Serialized, registered: Plans = NONE) -> dict[str, launch_plan_pb2.LaunchPlan]:
    """Return the launch plans that nodes may start, completed: those of the file, else `registered` ones. Raises
    Invalid, naming node and plan, for one that is in neither.
    """
    specs = {identifier_text(spec.template.id): spec for spec in (serialized.workflow, *serialized.workflows)}
    found = dict(registered)
    for plan in serialized.launch_plans:
        spec = specs.get(identifier_text(plan.spec.workflow_id))
        if spec is not None:
            found[path_of(plan.id)] = complete_launch_plan(plan, spec.template.interface)
    for template in templates_of(serialized):
        for node in nodes_of(template):
            for wanted in launch_plans_of([node]):
                if path_of(wanted) not in found:
                    raise Invalid(
                        f"node {node.id} calls launch plan {named(wanted)}, which is not in the file: import the plan "
                        "from the file that defines it, or register that (propeller register) and name the registry "
                        "with --registry URI"
                    )
    return found


def missing_plans(serialized: Serialized) -> list[identifier_pb2.Identifier]:
    """Return the launch plans that nodes start and that are not in the file."""
    own = {path_of(plan.id) for plan in serialized.launch_plans}
    wanted = launch_plans_of(*(nodes_of(template) for template in templates_of(serialized)))
    return [one for one in wanted if path_of(one) not in own]


def documents_of(serialized: Serialized, plans: Plans) -> dict[str, dict[str, Any]]:
    """Compile the file's launch plans, but for the one that is run itself unless a node starts it. Raises
    CompileErrors.
    """
    specs = {identifier_text(spec.template.id): spec for spec in (serialized.workflow, *serialized.workflows)}
    started = {path_of(one) for one in launch_plans_of(*(nodes_of(one) for one in templates_of(serialized)))}
    root = identifier_text(serialized.workflow.template.id)
    documents = {}
    for plan in serialized.launch_plans:
        path, workflow = path_of(plan.id), identifier_text(plan.spec.workflow_id)
        if workflow in specs and (path in started or workflow != root):
            documents[path] = document_of(serialized, plans[path], specs[workflow], plans)
    return documents


def document_of(
    serialized: Serialized, plan: launch_plan_pb2.LaunchPlan, spec: workflow_pb2.WorkflowSpec, plans: Plans
) -> dict[str, Any]:
    """Compile a completed launch plan's workflow, with the tasks that it needs. Raises CompileErrors."""
    needed = {identifier_text(one) for one in find_requirements(spec.template, spec.sub_workflows).task_ids}
    tasks = [compile_task(one.template) for one in serialized.tasks if identifier_text(one.template.id) in needed]
    return build_launch_plan(plan, compile_workflow(spec.template, spec.sub_workflows, tasks, list(plans.values())))


def templates_of(serialized: Serialized) -> Iterator[core_pb2.WorkflowTemplate]:
    """The workflow that is run, its sub-workflows, and those of launch plans."""
    for spec in (serialized.workflow, *serialized.workflows):
        yield spec.template
        yield from spec.sub_workflows


def nodes_of(template: core_pb2.WorkflowTemplate) -> Iterator[core_pb2.Node]:
    """Its nodes, those of its branches too, at any depth."""
    todo = [*template.nodes, *([template.failure_node] if template.HasField("failure_node") else [])]
    while todo:
        node = todo.pop()
        yield node
        if node.WhichOneof("target") == "branch_node":
            blocks = node.branch_node.if_else
            todo.append(blocks.case.then_node)
            todo.extend(block.then_node for block in blocks.other)
            if blocks.HasField("else_node"):
                todo.append(blocks.else_node)


def named(identifier: identifier_pb2.Identifier) -> str:
    """Format an identifier for a message, with what tells entities of one name apart."""
    said = ((part, getattr(identifier, part)) for part in ("project", "domain", "version"))
    return f"{identifier.name} ({', '.join(f'{part} {value!r}' for part, value in said)})"


def path_of(identifier: identifier_pb2.Identifier) -> str:
    """The key of a launch plan in a resource, and its path in a registry."""
    return entity_path(identifier.project, identifier.domain, identifier.name, identifier.version)
