"""Find what a file refers to in a registry: tasks, workflows and launch plans, and what those need themselves.

Guarantees
    A linked file has the templates of all tasks and workflows that its nodes run, as if it had defined them.
    An interface that the file declares and that the registered one does not fit is refused, with both.
Errors
    Invalid, naming the entity and the registry; CorruptBlob, StorageError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from flyteidl.admin import launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, interface_pb2
from google.protobuf.message import DecodeError

from propeller.cli._launch_plans import NONE, Plans, missing_plans, named, path_of
from propeller.cli.flytekit_bridge import Reference, Serialized
from propeller.compiler import find_interface_fault, find_requirements, identifier_text, sub_workflows_of
from propeller.errors import Invalid
from propeller.registry import Entity, EntityKind, Registry, StoredRegistry
from propeller.storage import Storage, StorageOptions
from propeller.text import one_line
from propeller.workflow import read_launch_plan

MAX_VERSIONS = 5
"""Registered versions that a message names."""

_KINDS = {
    identifier_pb2.ResourceType.TASK: EntityKind.TASK,
    identifier_pb2.ResourceType.WORKFLOW: EntityKind.WORKFLOW,
    identifier_pb2.ResourceType.LAUNCH_PLAN: EntityKind.LAUNCH_PLAN,
}


class Linked(msgspec.Struct, frozen=True):
    """A file with the registered tasks and workflows that it runs, and the registered launch plans that it starts."""

    serialized: Serialized
    plans: Plans = NONE


@asynccontextmanager
async def opened(uri: str, options: StorageOptions) -> AsyncIterator[Registry]:
    """Open the registry at a URI, whose object store is reached as the options say."""
    async with Storage(msgspec.structs.replace(options, metadata_prefix=uri), trusting=True) as storage:
        yield StoredRegistry(storage, uri)


async def linked_with(serialized: Serialized, uri: str, options: StorageOptions) -> Linked:
    """Link a file with the registry at a URI. With "" for none, a file that refers to a task or workflow is refused."""
    if uri:
        async with opened(uri, options) as registry:
            return await link(serialized, registry)
    known = {identifier_text(spec.template.id) for spec in serialized.tasks}
    for spec in (serialized.workflow, *serialized.workflows):
        for kind, missing in (
            (EntityKind.WORKFLOW, _missing_workflows(spec)),
            (EntityKind.TASK, _missing(spec, known)),
        ):
            for identifier in missing:
                raise Invalid(
                    f"{kind.words} {named(identifier)} is not in the file: import it from the file that defines it, or "
                    "register that (propeller register) and name the registry with --registry URI"
                )
    return Linked(serialized)


async def link(serialized: Serialized, registry: Registry) -> Linked:
    """Find everything that a file refers to, and compare declared interfaces with the registered ones."""
    for reference in serialized.references:
        await _require_fitting(reference, registry)
    first, *others = [await _with_workflows(spec, registry) for spec in (serialized.workflow, *serialized.workflows)]
    tasks = {identifier_text(spec.template.id): spec for spec in serialized.tasks}
    for workflow in (first, *others):
        for identifier in _missing(workflow, tasks):
            tasks[identifier_text(identifier)] = await _task(identifier, registry)
    found = msgspec.structs.replace(serialized, workflow=first, workflows=tuple(others), tasks=tuple(tasks.values()))
    plans = {path_of(one): await _plan(one, registry) for one in missing_plans(found)}
    return Linked(found, plans)


async def _require_fitting(reference: Reference, registry: Registry) -> None:
    """Raise Invalid unless the interface that the file declares fits the registered one."""
    identifier, optional = reference.id, set[str]()
    match identifier.resource_type:
        case identifier_pb2.ResourceType.TASK:
            interface = (await _task(identifier, registry)).template.interface
        case identifier_pb2.ResourceType.WORKFLOW:
            interface = (await _workflow(identifier, registry)).template.interface
        case _:
            plan = await _plan(identifier, registry)
            interface, optional = _interface_of(plan), _optional_of(plan)
    if fault := find_interface_fault(reference.interface, interface, optional):
        kind = _KINDS[identifier.resource_type].words
        text = f"{kind} {named(identifier)} is registered in {registry.address} with another interface: {fault}"
        raise Invalid(one_line(text))


def _interface_of(plan: launch_plan_pb2.LaunchPlan) -> interface_pb2.TypedInterface:
    interface = interface_pb2.TypedInterface(outputs=plan.closure.expected_outputs)
    for name, parameter in plan.closure.expected_inputs.parameters.items():
        interface.inputs.variables[name].CopyFrom(parameter.var)
    return interface


def _optional_of(plan: launch_plan_pb2.LaunchPlan) -> set[str]:
    """Return the inputs that have a value without a caller's."""
    parameters = plan.closure.expected_inputs.parameters
    return {name for name, one in parameters.items() if not one.required} | set(plan.spec.fixed_inputs.literals)


async def _with_workflows(spec: workflow_pb2.WorkflowSpec, registry: Registry) -> workflow_pb2.WorkflowSpec:
    """Return a workflow with the registered sub-workflows that it calls, and theirs."""
    while missing := _missing_workflows(spec):
        found = workflow_pb2.WorkflowSpec()
        found.CopyFrom(spec)
        known = {identifier_text(one.id) for one in spec.sub_workflows}
        for identifier in missing:
            registered = await _workflow(identifier, registry)
            for template in (registered.template, *registered.sub_workflows):
                if (key := identifier_text(template.id)) not in known:
                    known.add(key)
                    found.sub_workflows.append(template)
        spec = found
    return spec


def _missing_workflows(spec: workflow_pb2.WorkflowSpec) -> list[identifier_pb2.Identifier]:
    known = {identifier_text(one.id) for one in (spec.template, *spec.sub_workflows)}
    called = sub_workflows_of((spec.template, *spec.sub_workflows))
    return [identifier for key, identifier in sorted(called.items()) if key not in known]


def _missing(spec: workflow_pb2.WorkflowSpec, known: Container[str]) -> list[identifier_pb2.Identifier]:
    """Return the tasks of a workflow that are not among `known`, a container of their ids' texts."""
    return [
        one
        for one in find_requirements(spec.template, spec.sub_workflows).task_ids
        if identifier_text(one) not in known
    ]


async def _task(identifier: identifier_pb2.Identifier, registry: Registry) -> task_pb2.TaskSpec:
    found: task_pb2.TaskSpec = await _message(identifier, EntityKind.TASK, task_pb2.TaskSpec, registry)
    return found


async def _workflow(identifier: identifier_pb2.Identifier, registry: Registry) -> workflow_pb2.WorkflowSpec:
    found: workflow_pb2.WorkflowSpec = await _message(
        identifier, EntityKind.WORKFLOW, workflow_pb2.WorkflowSpec, registry
    )
    return found


async def _plan(identifier: identifier_pb2.Identifier, registry: Registry) -> launch_plan_pb2.LaunchPlan:
    data = await _content(identifier, EntityKind.LAUNCH_PLAN, registry)
    return read_launch_plan(data, f"launch plan {identifier.name} in {registry.address}").message


async def _message(identifier: identifier_pb2.Identifier, kind: EntityKind, type_: Any, registry: Registry) -> Any:
    data = await _content(identifier, kind, registry)
    try:
        found = type_.FromString(data)
    except DecodeError as error:
        raise Invalid(f"{kind.words} {named(identifier)} in {registry.address} is no {type_.__name__}") from error
    if identifier_text(found.template.id) != identifier_text(identifier):
        raise Invalid(
            f"{kind.words} {named(identifier)} in {registry.address} is another one: its id is "
            f"{one_line(identifier_text(found.template.id))}"
        )
    return found


async def _content(identifier: identifier_pb2.Identifier, kind: EntityKind, registry: Registry) -> bytes:
    """Return what is registered. Raises Invalid, with the versions that there are, if it is not."""
    entity = Entity(kind, identifier.project, identifier.domain, identifier.name, identifier.version)
    data = await registry.find(entity) if entity.version else None
    if data is not None:
        return data
    listed = await registry.entities(kind, entity.project, entity.domain)
    versions = [one.version for one in listed if one.name == entity.name]
    some = ", ".join(versions[-MAX_VERSIONS:]) + (" and others" if len(versions) > MAX_VERSIONS else "")
    there = f"versions of it there: {some}" if versions else "no version of it is there"
    if not entity.version:
        text = f"{kind.words} {entity.name} is referred to without a version, and a reference needs one"
    else:
        text = f"{kind.words} {named(identifier)} is not registered in {registry.address}"
    register = f"propeller register FILE --registry {registry.address}"
    raise Invalid(one_line(f"{text}; {there}. Write one of these, or register it with {register}"))
