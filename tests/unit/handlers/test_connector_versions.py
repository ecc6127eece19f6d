"""Who runs a task with a container: a pod, unless connectors list its type, in whatever version."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from flyteidl.admin import agent_pb2

from propeller.clock import LoopClock
from propeller.connectors import Channel, ConnectorOptions, ConnectorService, Directory, Nobody
from propeller.errors import ErrorKind
from propeller.handlers import RemoteJobs
from propeller.handlers.executors._job_effects import launch_job
from propeller.handlers.plugins import ConnectorPlugin, Plugins
from propeller.testing import run_virtually
from propeller.workflow import EffectFailed, Launch
from tests.unit.handlers.build import World, graph, task, template


class Listing:
    """A service that lists versions of a type."""

    name = "warehouse"

    def __init__(self, versions: tuple[int, ...]) -> None:
        self.versions = versions

    async def list_agents(self) -> agent_pb2.ListAgentsResponse:
        categories = [agent_pb2.TaskCategory(name="trino", version=version) for version in self.versions]
        return agent_pb2.ListAgentsResponse(agents=[agent_pb2.Agent(name="a", supported_task_categories=categories)])

    async def close(self) -> None:
        """Nothing is open."""


def runs(*listed: int, version: int = 1, container: bool = True, **options: Any) -> tuple[Any, World]:
    """What runs a task of type `trino`."""
    shape: dict[str, Any] = {} if container else {"sql": {"statement": "select 1"}}
    world = World(graph(task("n0")), {"t": template(type="trino", taskTypeVersion=version, **shape)})

    async def unused(*_: Any) -> None:
        raise AssertionError

    async def run() -> Any:
        chosen = ConnectorOptions(services=(ConnectorService(name="warehouse", endpoint="w:1"),), **options)
        directory = Directory(chosen, lambda _, __: cast(Channel, Listing(listed)))
        jobs = RemoteJobs(
            Plugins(), directory, chosen, world.storage, LoopClock(), None, lambda *_: True, cast(Any, unused)
        )
        async with jobs.running():
            await asyncio.sleep(1.0)
            return jobs.of(world.node("n0"))

    return run_virtually(run()), world


def test_a_task_with_a_container_whose_type_nobody_lists_is_a_pod() -> None:
    assert runs()[0] is None


def test_a_task_whose_type_is_listed_in_its_version_is_the_connectors() -> None:
    assert isinstance(runs(1)[0], ConnectorPlugin)


@pytest.mark.parametrize("container", [True, False])
def test_a_task_whose_type_is_listed_in_other_versions_alone_fails_and_says_so(container: bool) -> None:
    found, world = runs(0, 2, container=container)
    assert isinstance(found, Nobody)
    unused: Any = None
    (event,) = asyncio.run(launch_job(world.node("n0"), Launch(0, 0), found, unused, unused))
    assert isinstance(event, EffectFailed)
    failure = event.failure
    assert (failure.code, failure.kind, failure.recoverable) == ("NoConnector", ErrorKind.USER, False)
    assert "version 1 of task type 'trino': warehouse runs versions 0, 2;" in failure.message
    assert "map tasks of flytekit have version 1" in failure.message


@pytest.mark.parametrize("options", [{"default": "warehouse"}, {"task_types": {"trino": "warehouse"}}])
def test_what_the_platform_names_runs_a_version_that_nobody_lists(options: dict[str, Any]) -> None:
    assert isinstance(runs(0, **options)[0], ConnectorPlugin)


def test_the_default_takes_no_task_with_a_container_whose_type_nobody_lists() -> None:
    assert runs(default="warehouse")[0] is None
