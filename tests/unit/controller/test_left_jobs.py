"""Jobs that are answered after the end of their execution was written: who deletes them when their process ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest

from propeller.config import ConnectorOptions
from propeller.controller import FLYTE_WORKFLOWS, workflow_crd
from propeller.errors import NotFound, Unavailable
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS
from propeller.status import LEFT_JOBS, left_jobs_of
from propeller.workflow import Job
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.cached import with_x
from tests.unit.controller.test_remote_jobs import SUCCEEDED, Service, controlling, create, status

SUBRESOURCE = [True, False]


class Undeletable(Service):
    """A service that takes no deletes until `deletes`."""

    deletes = False

    async def delete(self, job: Job) -> None:
        if not self.deletes:
            raise Unavailable("no answer")
        await super().delete(job)


@asynccontextmanager
async def answered_late(of: Bench, service: Undeletable) -> AsyncIterator[None]:
    """A user deletes a workflow while its job is created; the job is answered after its end is written."""
    service.takes = 60.0
    async with controlling(of, service):
        await create(of, "w", with_x("n0", 1))
        while not service.keys:
            await asyncio.sleep(1.0)
        await of.user.delete(WORKFLOWS, "w", "ns")
        while not (await status(of)).get(LEFT_JOBS):
            await asyncio.sleep(1.0)
        yield


@asynccontextmanager
async def served(*, subresource: bool, delete_limit: float = 3600.0) -> AsyncIterator[Bench]:
    async with bench() as plain:
        if not subresource:  # as Flyte's own type
            crd = workflow_crd()
            versions = [dict(version, subresources=None) for version in crd["spec"]["versions"]]
            body = {"spec": {"versions": versions}}
            await plain.user.patch(CUSTOM_RESOURCE_DEFINITIONS, crd["metadata"]["name"], body=body)
        assert await plain.user.has_subresource(FLYTE_WORKFLOWS, "status") == subresource
        connectors = ConnectorOptions(max_failures=50, delete_limit=delete_limit)
        yield replace(plain, settings=msgspec.structs.replace(plain.settings, connectors=connectors))


async def is_gone(of: Bench) -> bool:
    try:
        await of.user.get(WORKFLOWS, "w", "ns")
    except NotFound:
        return True
    return False


@pytest.mark.parametrize("subresource", SUBRESOURCE)
async def test_the_next_process_deletes_a_job_that_was_answered_after_the_end_of_its_execution(
    subresource: bool,
) -> None:
    """Regression: only the process that had begun it knew its id; once that ended, the job went on."""
    service = Undeletable()
    async with served(subresource=subresource) as of:
        async with answered_late(of, service):
            (job,) = left_jobs_of(await status(of))
            assert (job.node, job.attempt, job.task_type, job.id) == (job.node, 0, "remote", b"0")
        assert not service.deleted
        async with controlling(of, service):
            await asyncio.sleep(60.0)
            assert not await is_gone(of)
            service.deletes = True
            await asyncio.sleep(120.0)
            assert await is_gone(of)
    assert service.keys == ["w-n0-0"]
    assert service.deleted == [0]


@pytest.mark.parametrize("subresource", SUBRESOURCE)
async def test_its_own_process_deletes_it_and_lets_the_workflow_go(subresource: bool) -> None:
    service = Undeletable()
    async with served(subresource=subresource) as of, answered_late(of, service):
        await asyncio.sleep(60.0)
        assert not await is_gone(of)
        service.deletes = True
        await asyncio.sleep(120.0)
        assert await is_gone(of)
    assert service.deleted == [0]


async def test_a_workflow_is_not_kept_for_ever_for_a_job_that_cannot_be_deleted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Undeletable()
    async with served(subresource=True, delete_limit=300.0) as of:
        async with answered_late(of, service):
            pass
        async with controlling(of, service):
            await asyncio.sleep(1000.0)
            assert await is_gone(of)
    assert "jobs that it has left may go on: no answer" in caplog.text


async def test_an_entry_that_is_no_job_keeps_no_workflow(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever may write a status may write anything there."""
    service = Undeletable()
    async with served(subresource=True) as of:
        async with answered_late(of, service):
            pass
        left = {LEFT_JOBS: {"0-0-x": "bm8gam9i", **dict.fromkeys((await status(of))[LEFT_JOBS])}}
        await of.user.patch(WORKFLOWS, "w", "ns", body={"status": left}, subresource="status")
        async with controlling(of, service):
            await asyncio.sleep(120.0)
            assert await is_gone(of)
    assert "its status does not say which jobs it has left: status.leftJobs['0-0-x'] is no job" in caplog.text
    assert not service.deleted


async def test_what_a_checkpoint_writes_leaves_the_record_as_it_is() -> None:
    """The execution goes on: another process has it, and this one deletes a job that was answered too late."""
    service = Service()
    async with served(subresource=True) as of, controlling(of, service):
        await create(of, "w", with_x("n0", 1))
        while not (await status(of)).get("jobs"):
            await asyncio.sleep(1.0)
        left = {LEFT_JOBS: {"0-0-x": "AAAA"}}
        await of.user.patch(WORKFLOWS, "w", "ns", body={"status": left}, subresource="status")
        service.states[0] = SUCCEEDED
        while (await status(of)).get("phase") != 3:
            await asyncio.sleep(1.0)
        assert (await status(of))[LEFT_JOBS] == left[LEFT_JOBS]
    assert service.keys == ["w-n0-0"]
