"""Open a registry, and find launch plans in it that a file refers to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import msgspec
from flyteidl.admin import launch_plan_pb2
from flyteidl.core import identifier_pb2

from propeller.cli._launch_plans import Plans, missing_plans, path_of
from propeller.cli._settings import load_settings
from propeller.cli.flytekit_bridge import Serialized
from propeller.registry import Entity, EntityKind, Registry, StoredRegistry
from propeller.storage import Storage
from propeller.workflow import read_launch_plan


@asynccontextmanager
async def opened(uri: str) -> AsyncIterator[Registry]:
    """Open the registry at a URI, with the storage of the settings."""
    options = msgspec.structs.replace(load_settings(None).storage, metadata_prefix=uri)
    async with Storage(options, trusting=True) as storage:
        yield StoredRegistry(storage, uri)


async def find_registered(registry: Registry, wanted: Iterable[identifier_pb2.Identifier]) -> Plans:
    """Return those launch plans that are registered. Raises Invalid for one that is malformed, StorageError."""
    found: dict[str, launch_plan_pb2.LaunchPlan] = {}
    for one in wanted:
        data = await registry.find(Entity(EntityKind.LAUNCH_PLAN, one.project, one.domain, one.name, one.version))
        if data is not None:
            found[path_of(one)] = read_launch_plan(data, f"launch plan {one.name} in {registry.address}").message
    return found


async def registered_for(serialized: Serialized, uri: str) -> Plans:
    """Return the launch plans that a file refers to and that are registered at a URI; none for ""."""
    wanted = missing_plans(serialized)
    if not uri or not wanted:
        return {}
    async with opened(uri) as registry:
        return await find_registered(registry, wanted)
