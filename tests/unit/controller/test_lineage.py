"""A controller's events of lineage: one run an attempt, below its execution's."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from propeller.config import LineageOptions
from propeller.controller import WorkflowController
from propeller.lineage import Emitter, Report, run_id
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.cached import compute, create, end, template, with_x


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[Report]:
    """What is submitted, in place of a receiver: its own tests have one, on a loop with real time."""
    found: list[Report] = []
    monkeypatch.setattr(Emitter, "submit", lambda self, report: found.append(report))
    return found


def with_lineage(of: Bench) -> Bench:
    settings = msgspec.structs.replace(of.settings, lineage=LineageOptions(url="http://receiver/"))
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
