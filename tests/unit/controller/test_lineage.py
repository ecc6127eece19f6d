"""A controller's events of lineage: one run an attempt, below its execution's."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from propeller.config import LineageOptions
from propeller.controller import WorkflowController
from propeller.kube import Raw
from propeller.lineage import Emitter, Report, State, run_id
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.cached import compute, create, end, integer, template, with_x
from tests.unit.workflow.drive import TASK, graph, task


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[Report]:
    """What is submitted, in place of a receiver: its own tests have one, on a loop with real time."""
    found: list[Report] = []
    monkeypatch.setattr(Emitter, "submit", lambda self, report: found.append(report))
    return found


def with_lineage(of: Bench, **options: Any) -> Bench:
    settings = msgspec.structs.replace(of.settings, lineage=LineageOptions(url="http://receiver/", **options))
    return Bench(of.user, of.clock, of.server, of.storage, settings)


def said(reports: list[Report]) -> list[tuple[str, str]]:
    return [(str(report.state), report.job.name.rpartition(".")[2]) for report in reports]


async def test_an_execution_and_its_tasks_start_and_complete(reports: list[Report]) -> None:
    async with bench() as plain, (of := with_lineage(plain)).controller():
        directory = await create(of, "a", with_x("n0", 3))
        await compute(of, directory, "a-n0-0", "n0", 9)
        await asyncio.sleep(5.0)
        uid = (await of.user.get(WORKFLOWS, "a", "ns"))["metadata"]["uid"]
    states = [(str(report.state), report.job.kind) for report in reports]
    assert states == [("START", "WORKFLOW"), ("START", "TASK"), ("COMPLETE", "TASK"), ("COMPLETE", "WORKFLOW")]
    assert [report.job.run for report in reports] == [run_id(uid), run_id(uid, "n0"), run_id(uid, "n0"), run_id(uid)]
    task = reports[2]
    assert task.parent == reports[0].job
    assert task.outputs == f"{directory}/n0/data/0/outputs.pb"
    assert dict(task.tags) | {"execution": "ns/a", "node": "n0", "attempt": "1", "task": "t"} == dict(task.tags)


async def test_a_cached_task_has_a_start_too_and_says_that_it_is(reports: list[Report]) -> None:
    async with bench() as plain, (of := with_lineage(plain)).controller():
        await compute(of, await create(of, "a", with_x("n0", 3)), "a-n0-0", "n0", 9)
        await asyncio.sleep(5.0)
        reports.clear()
        await create(of, "b", with_x("n0", 3))
        await asyncio.sleep(5.0)
    tasks = [report for report in reports if report.job.kind == "TASK"]
    assert [str(report.state) for report in tasks] == ["START", "COMPLETE"]
    assert tasks[1].tags["cached"] == "true"


async def test_each_attempt_fails_by_itself_with_its_error(reports: list[Report]) -> None:
    async with bench() as plain, (of := with_lineage(plain)).controller():
        tasks = {"t": template(retries={"retries": 1})}  # and the exit code is the user's
        await create(of, "a", with_x("n0", 3, retry={"minAttempts": 2}), tasks=tasks)
        for attempt in range(2):
            await end(of, f"a-n0-{attempt}", exit_code=1)
            await asyncio.sleep(30.0)
        await asyncio.sleep(5.0)
        uid = (await of.user.get(WORKFLOWS, "a", "ns"))["metadata"]["uid"]
    failed = [report for report in reports if str(report.state) == "FAIL"]
    assert [report.job.run for report in failed] == [run_id(uid, "n0", 0), run_id(uid, "n0", 1), run_id(uid)]
    assert all(report.error for report in failed)
    started = [report.job.run for report in reports if str(report.state) == "START"]
    assert sorted(started) == sorted(report.job.run for report in failed)


async def test_what_is_aborted_says_so(reports: list[Report]) -> None:
    async with bench() as plain, (of := with_lineage(plain)).controller():
        await create(of, "a", with_x("n0", 3))
        await of.user.delete(WORKFLOWS, "a", "ns")
        await asyncio.sleep(60.0)
    ends = [(str(report.state), report.job.kind) for report in reports if str(report.state) != "START"]
    assert ends == [("ABORT", "TASK"), ("ABORT", "WORKFLOW")]


async def test_without_a_receiver_there_is_no_emitter() -> None:
    async with bench() as of, of.controller() as controller:
        assert isinstance(controller, WorkflowController)
        assert controller._milestones._lineage is None


async def run(of: Bench, node: Raw, failing: str = "", **top: Raw) -> str:
    """A workflow of one node, whose pods end well, but for one; returns its uid."""
    body = {"metadata": {"name": "a"}, "spec": graph(node), "tasks": {"t": TASK}, **top}
    uid: str = (await of.user.create(WORKFLOWS, body, "ns"))["metadata"]["uid"]
    await asyncio.sleep(5.0)
    for name in sorted(await of.pods()):
        await end(of, name, exit_code=int(name == failing))
    await asyncio.sleep(5.0)
    return uid


async def test_what_runs_in_a_sub_workflow_is_below_its_run_and_that_below_the_executions(
    reports: list[Report],
) -> None:
    node = {"id": "s", "kind": "workflow", "workflow": {"subWorkflowRef": "sub"}}
    async with bench() as plain, (of := with_lineage(plain)).controller():
        uid = await run(of, node, subWorkflows={"sub": graph(task("n0"))})
    sub = [report for report in reports if report.job.name.endswith(".s")]
    inside = [report for report in reports if report.job.kind == "TASK"]
    assert [str(report.state) for report in sub] == [str(report.state) for report in inside] == ["START", "COMPLETE"]
    assert {report.job.kind for report in sub} == {"WORKFLOW"}
    assert all(report.parent is not None and report.parent.run == run_id(uid) for report in sub)
    assert all(report.parent == sub[0].job for report in inside)
    assert all(report.root is not None and report.root.run == run_id(uid) for report in inside)


MAP: Raw = {"id": "m", "kind": "array", "array": {"SubNodeSpec": task("item")}, "inputBindings": []}
MAP["inputBindings"] = [
    {"var": "x", "binding": {"collection": {"bindings": [{"scalar": integer(n)["scalar"]} for n in range(3)]}}}
]


async def test_items_of_a_map_node_are_runs_of_one_job_below_its_run(reports: list[Report]) -> None:
    async with bench() as plain, (of := with_lineage(plain)).controller():
        await run(of, MAP, failing="a-m-0-n2-0")
    of_items = [report for report in reports if report.job.name == "w.m.item"]
    assert len({report.job.run for report in of_items}) == 3
    (whole,) = {report.job for report in reports if report.job.name == "w.m"}
    assert {report.parent for report in of_items} == {whole}
    assert {report.tags["item"]: str(report.state) for report in of_items if report.state is not State.START} == {
        "0": "COMPLETE",
        "1": "COMPLETE",
        "2": "FAIL",
    }
    assert len([report for report in of_items if report.state is State.START]) == 3


async def test_items_of_a_larger_map_node_have_no_events_and_the_node_has(reports: list[Report]) -> None:
    async with bench() as plain, (of := with_lineage(plain, items=2)).controller():
        await run(of, MAP)
    assert [(str(report.state), report.job.name) for report in reports] == [
        ("START", "w"),
        ("START", "w.m"),
        ("COMPLETE", "w.m"),
        ("COMPLETE", "w"),
    ]
