"""Resources that are not of their type end with the wrong field named; running executions go on."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from propeller.controller import WorkflowController
from propeller.kube import Client
from propeller.telemetry import Metrics
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import TASK, graph, task

SUCCEEDED, FAILED = 3, 5


def resource(**fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "w"},
        "spec": graph(task("a"), task("b"), edges=[("a", "b")]),
        "tasks": {"t": TASK},
    } | fields


async def ended(world: Bench, seconds: float = 60.0) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        while (status := await world.status()).get("phase") not in (SUCCEEDED, FAILED):
            await asyncio.sleep(0.5)
    return status


async def succeed(world: Bench) -> None:
    """Let every pod succeed, as a kubelet would."""
    while True:
        for name, pod in (await world.pods()).items():
            if pod.get("status", {}).get("phase") != "Succeeded":
                await world.report(name, phase="Succeeded")
        await asyncio.sleep(0.5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"serviceAccountName": 5}, "serviceAccountName: expected text, found a number"),
        ({"executionId": "x"}, "executionId: expected an object, found text"),
        ({"node-defaults": []}, "node-defaults: expected an object, found a list"),
        (
            {"executionConfig": {"EnvironmentVariables": {"a": 1}}},
            "executionConfig.EnvironmentVariables.a: expected text, found a number",
        ),
        ({"spec": None}, "spec: expected an object, found null"),
        ({"spec": "text"}, "spec: expected an object, found text"),
        ({"tasks": []}, "tasks: expected an object, found a list"),
        ({"inputs": 5}, "inputs: expected an object, found a number"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_resource_that_is_not_of_its_type_fails_with_the_field_named(
    fields: dict[str, Any], message: str
) -> None:
    """Regression: it stayed without a status for ever."""
    async with bench() as world, world.controller():
        await world.user.create(WORKFLOWS, resource(**fields), "ns")
        status = await ended(world)
        assert status["phase"] == FAILED
        assert message in status["error"]["message"]
        assert "msgspec" not in status["error"]["message"]
        assert "Expected `" not in status["error"]["message"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("spec", "nodes", "a", "task"), 5, "spec.nodes.a.task: expected text, found a number"),
        (("spec", "nodes", "a", "kind"), "tusk", "spec.nodes.a.kind: expected one of start, end, task"),
        (("spec", "nodes", "b"), None, "spec.nodes.b: expected an object, found null"),
        (("tasks", "t", "container"), 5, "tasks[t].container: expected an object, found a number"),
        (("tasks", "t", "container"), {"image": 5}, "tasks[t].container.image: expected text, found a number"),
        (("tasks", "t", "container"), {"args": ["a", 5]}, "tasks[t].container.args[1]: expected text, found a number"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_field_of_a_node_or_task_that_is_not_of_its_type_is_named(
    path: tuple[str, ...], value: Any, message: str
) -> None:
    body = copy.deepcopy(resource())
    parent: Any = body
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = value
    async with bench() as world, world.controller():
        await world.user.create(WORKFLOWS, body, "ns")
        succeeding = asyncio.create_task(succeed(world))
        status = await ended(world)
        succeeding.cancel()
        assert status["phase"] == FAILED
        assert message in status["error"]["message"]


NULLABLE = (
    "executionConfig",
    "securityContext",
    "rawOutputDataConfig",
    "serviceAccountName",
    "executionId",
    "node-defaults",
    "inputs",
    "offloadedInputs",
    "workflowClosureReference",
    "activeDeadlineSeconds",
    "consoleUrl",
    "status",
    "subWorkflows",
)


async def test_nulls_of_a_resource_are_absent_values() -> None:
    body = copy.deepcopy(resource(**dict.fromkeys(NULLABLE)))
    for node in body["spec"]["nodes"].values():
        node |= dict.fromkeys(("name", "retry", "gate", "podTemplate", "executionDeadline", "outputAlias"))
    async with bench() as world, world.controller():
        await world.user.create(WORKFLOWS, body, "ns")
        succeeding = asyncio.create_task(succeed(world))
        assert (await ended(world))["phase"] == SUCCEEDED
        succeeding.cancel()


async def test_an_execution_whose_resource_becomes_undecodable_goes_on_with_what_it_had() -> None:
    """Regression: it froze, for its object was taken as deleted."""
    metrics = Metrics()
    async with bench() as world:
        client = Client(world.server.transport(), clock=world.clock)
        controller = WorkflowController(client, world.storage, world.settings, clock=world.clock, metrics=metrics)
        async with controller.running():
            await world.user.create(WORKFLOWS, resource(), "ns")
            async with asyncio.timeout(60):
                while not await world.pods():
                    await asyncio.sleep(0.5)
            await world.user.patch(WORKFLOWS, "w", "ns", body={"serviceAccountName": 5, "spec": "text"})
            succeeding = asyncio.create_task(succeed(world))
            assert (await ended(world))["phase"] == SUCCEEDED
            succeeding.cancel()
            counted = [line for line in metrics.text().decode().splitlines() if "undecodable_objects_total{" in line]
            assert counted
            assert all('kind="FlyteWorkflow"' in line or line.endswith(" 0.0") for line in counted)
            assert any(not line.endswith(" 0.0") for line in counted)


async def test_an_undecodable_resource_that_ran_before_a_restart_fails_and_leaves_no_pod_running() -> None:
    async with bench() as world:
        async with world.controller():
            await world.user.create(WORKFLOWS, resource(), "ns")
            async with asyncio.timeout(60):
                while not await world.pods():
                    await asyncio.sleep(0.5)
            await asyncio.sleep(5)
        await world.user.patch(WORKFLOWS, "w", "ns", body={"serviceAccountName": 5})
        async with world.controller():
            status = await ended(world)
            assert "serviceAccountName: expected text, found a number" in status["error"]["message"]
            await asyncio.sleep(5)
            assert not await world.pods()
