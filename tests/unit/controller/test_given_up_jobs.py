"""Jobs whose attempts are given up while their service begins them: they are deleted, whatever fails meanwhile."""

from __future__ import annotations

import asyncio

from propeller.errors import NotFound, Unavailable
from propeller.workflow import Job
from tests.unit.controller.bench import WORKFLOWS, bench
from tests.unit.controller.cached import with_x
from tests.unit.controller.test_remote_jobs import SUCCEEDED, Service, controlling, create, ended, status


class Away(Service):
    """Its deletes are not answered while it is `away`."""

    def __init__(self) -> None:
        super().__init__()
        self.away = True
        self.asked = 0

    async def delete(self, job: Job) -> None:
        self.asked += 1
        if self.away:
            raise Unavailable("no answer")
        await super().delete(job)


async def begun(service: Service, count: int = 1) -> None:
    async with asyncio.timeout(60.0):
        while len(service.keys) < count:
            await asyncio.sleep(0.1)


async def test_a_job_that_is_answered_after_its_attempts_time_is_deleted_also_by_another_controller() -> None:
    async with bench() as of:
        service = Away()
        service.takes = 30.0
        async with controlling(of, service):
            late = with_x("n0", 1) | {"executionDeadline": "10s", "retry": {"minAttempts": 2}}
            await create(of, "w", late)
            async with asyncio.timeout(200.0):
                while not service.asked:
                    await asyncio.sleep(1.0)
            assert [job["attempt"] for job in (await status(of))["jobs"]] == [0]
            assert service.keys == ["w-n0-0"]  # the next attempt waits until the job is gone
        service.away, service.default, service.takes = False, SUCCEEDED, 0.1
        async with controlling(of, service):
            assert (await ended(of))["state"] == "Succeeded"
        assert service.deleted == [0]
        assert service.keys == ["w-n0-0", "w-n0-1"]


async def test_a_workflow_is_held_until_a_job_that_began_beside_its_abort_is_deleted() -> None:
    async with bench() as of:
        service = Away()
        service.takes = 30.0
        async with controlling(of, service):
            await create(of, "w", with_x("n0", 1))
            await begun(service)
            await of.user.delete(WORKFLOWS, "w", "ns")
            await asyncio.sleep(200.0)
            assert service.asked > 3
            assert (await of.user.get(WORKFLOWS, "w", "ns"))["metadata"]["finalizers"]
            service.away = False
            async with asyncio.timeout(200.0):
                while True:
                    try:
                        await of.user.get(WORKFLOWS, "w", "ns")
                    except NotFound:
                        break
                    await asyncio.sleep(1.0)
            assert service.deleted == [0]
