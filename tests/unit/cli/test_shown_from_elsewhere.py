"""What shows executions is not told where the controller writes: statuses say where their executions' data is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from flyteidl.core import dynamic_job_pb2

from propeller.cli._executions import loader_of
from propeller.config import Settings
from propeller.controller._resource import WORKFLOWS
from propeller.errors import Invalid
from propeller.registry import Entity, EntityKind, RegistryOptions, StoredRegistry
from propeller.workflow import Execution, NodePhase
from tests.unit.controller import flytes
from tests.unit.controller.bench import Bench, bench
from tests.unit.controller.children import launch_plan
from tests.unit.controller.flytes import DATA, ended, left, node
from tests.unit.workflow.drive import task


async def shown(of: Bench, settings: Settings = Settings()) -> Execution:
    workflow = await of.user.get(WORKFLOWS, "w", "ns")
    return await loader_of(of.user, of.storage, settings).show(workflow, 0.0)


def phases(execution: Execution) -> dict[str, str]:
    return {execution.unique_id(node): NodePhase(execution.phases[node]).name for node in execution.user_nodes()}


async def test_one_that_flytepropeller_left_is_shown_by_whoever_does_not_know_where_it_wrote() -> None:
    """Regression: it was refused as if it was to be continued, with a setting that the reader has no use for."""
    async with bench() as of:
        assert not DATA.startswith(Settings().storage.metadata_prefix)
        await left(of, (task("a"), task("b")), {"a": ended(), "b": node(flytes.RUNNING, task=5)})
        execution = await shown(of)
        assert execution.info.directory == DATA
        assert phases(execution) == {"a": "SUCCEEDED", "b": "RUNNING"}


async def left_with_a_plan_inside(of: Bench, registry: str) -> None:
    """A dynamic task has made a node that starts a registered launch plan."""
    job = dynamic_job_pb2.DynamicJobSpec(min_successes=1)
    reference = job.nodes.add(id="d0").workflow_node.launchplan_ref
    reference.project, reference.domain, reference.name, reference.version = "p", "d", "plan", "v1"
    own: Any = {"dynamicNodeStatus": {"phase": 1}, "subNodeStatus": {}}
    await left(of, (task("a"),), {"a": node(flytes.DYNAMIC, task=6, **own)})
    await of.storage.write(f"{DATA}/a/data/0/futures.pb", job.SerializeToString())
    entity = Entity(EntityKind.LAUNCH_PLAN, "p", "d", "plan", "v1")
    await StoredRegistry(of.storage, registry).register(entity, msgspec.json.encode(launch_plan()))


@pytest.mark.parametrize("named", ["", "memory://elsewhere"])
async def test_plans_that_its_dynamic_tasks_start_are_found_beside_it_or_where_the_settings_say(named: str) -> None:
    """Regression: they were looked up below the reader's own prefix, whatever the settings said."""
    async with bench() as of:
        await left_with_a_plan_inside(of, named or "memory://m/registry")
        execution = await shown(of, Settings(registry=RegistryOptions(prefix=named)))
        assert "a-0-d0" in phases(execution)


async def test_a_plan_that_is_not_there_is_named_with_the_registry_that_was_asked() -> None:
    async with bench() as of:
        await left_with_a_plan_inside(of, "memory://elsewhere")
        with pytest.raises(Invalid, match=r"launch plan plan .* is not registered in memory://m/registry"):
            await shown(of)
