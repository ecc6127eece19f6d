"""An execution that recovers from an earlier one runs what that one has not got done."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from flyteidl.core import literals_pb2

from propeller.controller._loading import Loader
from propeller.controller._resource import WORKFLOWS as TYPED
from propeller.kube import Raw
from propeller.workflow import WorkflowPhase
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import TASK, graph, task

TASKS = {
    "t": TASK,
    "gives": TASK | {"id": {"name": "gives"}, "interface": {"outputs": {"variables": {"o0": {"type": {}}}}}},
}
CHAIN: dict[str, Any] = {"edges": [("n0", "n1"), ("n1", "n2")]}
OUTPUTS = literals_pb2.LiteralMap(
    literals={"o0": literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=7)))}
).SerializeToString()


async def create(of: Bench, name: str, *nodes: dict[str, Any], recovers: str = "", **fields: Any) -> Raw:
    config = {"RecoveryExecution": {"project": "p", "domain": "d", "name": recovers}} if recovers else {}
    return await of.user.create(
        WORKFLOWS,
        {
            "metadata": {"name": name},
            "spec": graph(*nodes, **fields),
            "tasks": TASKS,
            "executionConfig": config,
        },
        "ns",
    )


def nodes() -> tuple[dict[str, Any], ...]:
    return task("n0", task="gives"), task("n1"), task("n2")


async def status(of: Bench, name: str) -> Raw:
    found: Raw = (await of.user.get(WORKFLOWS, name, "ns"))["status"]
    return found


async def end(of: Bench, pod: str, phase: str = "Succeeded") -> None:
    await asyncio.sleep(1.0)
    terminated = {"exitCode": 0 if phase == "Succeeded" else 1, "reason": "Error"}
    container = {"name": pod, "state": {"terminated": terminated}}
    await of.report(pod, phase=phase, containerStatuses=[container])
    await asyncio.sleep(1.0)


async def fail_in_the_middle(of: Bench) -> None:
    """Execution `w`: n0 succeeds with an output, n1 fails."""
    await create(of, "w", *nodes(), **CHAIN)
    directory = f"memory://m/w-{(await of.user.get(WORKFLOWS, 'w', 'ns'))['metadata']['uid'][:8]}"
    await of.storage.write(f"{directory}/n0/data/0/outputs.pb", OUTPUTS)
    await end(of, "w-n0-0")
    await end(of, "w-n1-0", "Failed")
    assert (await status(of, "w"))["state"] == "Failed"


async def test_tasks_that_had_succeeded_do_not_run_again_and_their_outputs_are_there() -> None:
    async with bench() as of, of.controller():
        await fail_in_the_middle(of)
        await create(of, "again", *nodes(), recovers="w", **CHAIN)
        await asyncio.sleep(1.0)
        assert not await of.has_pod("again-n0-0")
        await end(of, "again-n1-0")
        await end(of, "again-n2-0")
        ended = await status(of, "again")
        assert ended["state"] == "Succeeded"
        assert await of.storage.read(f"{ended['dataDir']}/n0/data/0/outputs.pb") == OUTPUTS


async def test_outputs_that_are_gone_are_made_again() -> None:
    async with bench() as of, of.controller():
        await fail_in_the_middle(of)
        await of.storage.delete(f"{(await status(of, 'w'))['dataDir']}/n0/data/0/outputs.pb")
        await create(of, "again", *nodes(), recovers="w", **CHAIN)
        await asyncio.sleep(1.0)
        assert await of.has_pod("again-n0-0")


async def test_an_execution_of_another_workflow_cannot_be_recovered() -> None:
    async with bench() as of, of.controller():
        await fail_in_the_middle(of)
        await create(of, "again", task("n0"), recovers="w")
        await asyncio.sleep(1.0)
        ended = await status(of, "again")
        assert ended["state"] == "Failed"
        assert "another workflow or version" in ended["error"]["message"]


async def test_where_the_earlier_execution_is_gone_everything_runs() -> None:
    async with bench() as of, of.controller():
        await create(of, "again", *nodes(), recovers="never-was", **CHAIN)
        await asyncio.sleep(1.0)
        assert await of.has_pod("again-n0-0")


@pytest.mark.parametrize("lag", [0.0, 100.0])
async def test_a_restart_in_the_middle_of_a_recovery_changes_nothing(lag: float) -> None:
    async with bench(max_lag=lag) as of:
        async with of.controller():
            await fail_in_the_middle(of)
            await create(of, "again", *nodes(), recovers="w", **CHAIN)
            await asyncio.sleep(1.0)
        async with of.controller():
            await end(of, "again-n1-0")
            await end(of, "again-n2-0")
            assert (await status(of, "again"))["state"] == "Succeeded"
            assert not [name for name in await of.pods() if name.startswith("again-n0")]


async def test_a_recovery_is_shown_by_whoever_does_not_know_where_the_controller_writes() -> None:
    """Regression: the directory of the earlier execution was refused."""
    async with bench() as of, of.controller():
        await fail_in_the_middle(of)
        await create(of, "again", *nodes(), recovers="w", **CHAIN)
        await asyncio.sleep(5.0)
        whole = await of.user.get(TYPED, "again", "ns")
        shown = await Loader(of.user, of.storage, "memory://elsewhere", anywhere=True).show(whole, 0.0)
        assert shown.phase is WorkflowPhase.RUNNING


async def test_a_namesake_that_was_made_after_the_recovery_began_is_not_taken_for_what_it_recovers() -> None:
    async with bench() as of:
        async with of.controller():
            await fail_in_the_middle(of)
            await create(of, "again", *nodes(), recovers="w", **CHAIN)
            await asyncio.sleep(2.0)
            await of.user.delete(WORKFLOWS, "w", "ns")
            await asyncio.sleep(2.0)
            await create(of, "w", *nodes(), **CHAIN)  # maybe with other inputs
            directory = f"memory://m/w-{(await of.user.get(WORKFLOWS, 'w', 'ns'))['metadata']['uid'][:8]}"
            await of.storage.write(f"{directory}/n0/data/0/outputs.pb", OUTPUTS)
            for pod in ("w-n0-0", "w-n1-0", "w-n2-0"):
                await end(of, pod)
            assert (await status(of, "w"))["state"] == "Succeeded"
        async with of.controller():  # it is loaded again
            await end(of, "again-n1-0")
            assert await of.has_pod("again-n2-0")
            assert not await of.has_pod("again-n0-0")
