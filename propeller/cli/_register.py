"""`propeller register`: what flytekit files define, into a registry, where executions find launch plans by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import orjson
from flyteidl.core import identifier_pb2

from propeller.cli._compile import versioned_of
from propeller.cli._event_loop import run
from propeller.cli._launch_plans import document_of, path_of, plans_of
from propeller.cli._output import say, say_json
from propeller.cli._registered import Linked, link, opened
from propeller.cli._settings import load_settings
from propeller.cli._workflow import closure_of
from propeller.cli.flytekit_bridge import Serialized, Versioned, interpreter, list_entities, serialize
from propeller.compiler import identifier_text
from propeller.errors import Invalid
from propeller.registry import Entity, EntityKind, Registry
from propeller.storage import StorageOptions
from propeller.text import one_line

OF_SINGLE_TASKS = ".flytegen."
"""Begins the name of the workflow that flytekit makes of a task that is run by itself: nobody registers those."""

Contents = dict[Entity, bytes]


def register_files(
    *,
    files: tuple[str, ...],
    registry: str,
    project: str,
    domain: str,
    version: str,
    image: tuple[str, ...],
    output: str,
    python: str,
    timeout: int,
    config: str | None,
) -> None:
    """Register tasks, workflows and launch plans of flytekit FILEs, compiled."""
    versioned = msgspec.structs.replace(versioned_of(image, project, domain, version), needs_images=True)
    paths = [Path(file) for file in files]
    storage = load_settings(config).storage
    made = run(_register(paths, registry, storage, versioned, interpreter(python), timeout))
    if output == "json":
        say_json({"registry": registry, "registered": [_described(one, is_new=is_new) for one, is_new in made]})
        return
    for entity, is_new in made:
        say(one_line(f"{'registered' if is_new else 'unchanged '}  {entity}"))


def _described(entity: Entity, *, is_new: bool) -> dict[str, object]:
    return {**msgspec.to_builtins(entity), "new": is_new}


async def _register(
    paths: list[Path], uri: str, storage: StorageOptions, versioned: Versioned, python: str, limit: int
) -> list[tuple[Entity, bool]]:
    async with opened(uri, storage) as registry:
        contents: Contents = {}
        for path in paths:  # all compile before anything is registered
            contents |= await _contents(path, versioned, python, registry, limit)
        if not contents:
            raise Invalid(f"{', '.join(map(str, paths))}: there is no task, workflow or launch plan to register")
        for entity, content in sorted(contents.items()):  # nothing of a version is registered if a part of it conflicts
            await registry.require_registrable(entity, content)
        return [(entity, await registry.register(entity, content)) for entity, content in sorted(contents.items())]


async def _contents(path: Path, versioned: Versioned, python: str, registry: Registry, limit: int) -> Contents:
    """Serialize and compile everything in a file. Raises Invalid, CompileErrors."""
    contents: Contents = {}
    for entity in await list_entities(python, path, limit=limit):
        found = await serialize(python, path, entity.name, (), versioned, "/dev/null", limit=limit)
        linked = await link(found, registry)
        closure_of(linked.serialized, linked.plans)
        contents |= dict(_entities_of(found, linked))
    return contents


def _entities_of(serialized: Serialized, linked: Linked) -> Iterator[tuple[Entity, bytes]]:
    """What the file itself defines. Documents of launch plans have the registered tasks and workflows too."""
    for task in serialized.tasks:
        yield _entity(EntityKind.TASK, task.template.id), task.SerializeToString(deterministic=True)
    specs = {identifier_text(spec.template.id): spec for spec in (serialized.workflow, *serialized.workflows)}
    for spec in specs.values():
        if not spec.template.id.name.startswith(OF_SINGLE_TASKS):
            yield _entity(EntityKind.WORKFLOW, spec.template.id), spec.SerializeToString(deterministic=True)
    whole, plans = linked.serialized, plans_of(linked.serialized, linked.plans)
    specs = {identifier_text(spec.template.id): spec for spec in (whole.workflow, *whole.workflows)}
    for plan in serialized.launch_plans:
        spec = specs[identifier_text(plan.spec.workflow_id)]
        if not spec.template.id.name.startswith(OF_SINGLE_TASKS):
            document = document_of(whole, plans[path_of(plan.id)], spec, plans)
            yield _entity(EntityKind.LAUNCH_PLAN, plan.id), orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _entity(kind: EntityKind, identifier: identifier_pb2.Identifier) -> Entity:
    return Entity(kind, identifier.project, identifier.domain, identifier.name, identifier.version)
