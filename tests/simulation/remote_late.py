"""Worlds of jobs that are answered late, and deleted unwillingly: executions end, and controllers die, meanwhile.

What must hold besides: a job that is answered after its execution has ended is in the status of its workflow before it
is deleted, so that whoever has the workflow next deletes it. Only what the API server does not take is not there.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from propeller.embedded.faults import NO_FAULTS
from propeller.errors import NotFound, Unavailable
from propeller.handlers.plugins import RemoteTask
from propeller.workflow import Job
from tests.simulation.reached import ABORTED
from tests.simulation.remote import NAMESPACE, WORKFLOWS, World


class LateWorld(World):
    """See the module's text."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.late = random.Random(f"late {self.seed}")
        if self.late.random() < 0.5:
            self.profile = NO_FAULTS
        self.unwilling = self.late.choice((0.0, 0.5, 0.9))
        """How often a delete is not answered, while there is trouble."""

    async def create(self, task: RemoteTask) -> bytes:
        identity = await super().create(task)
        self.jobs[identity].answered = False
        await asyncio.sleep(self.late.choice((0.0, 10.0, 60.0)) * self.late.random())
        self.jobs[identity].answered = True
        return identity

    async def delete(self, job: Job) -> None:
        await self.require_recorded(job)
        if self.late.random() < self.unwilling:
            await asyncio.sleep(self.late.uniform(0.0, 5.0))
            raise Unavailable("no answer to a delete")
        await super().delete(job)

    async def require_recorded(self, job: Job) -> None:
        if self.profile is not NO_FAULTS or job.id in self.written | self.answered_late:
            return
        await self.read_statuses()
        standing = {one["metadata"]["name"] for one in (await self.clean.list(WORKFLOWS, NAMESPACE)).items}
        if job.id not in self.written | self.answered_late and self.jobs[job.id].execution in standing:
            self.violation(f"job {job.id!r} is deleted by who has begun it, and no status has had its id")

    async def mischief(self, names: list[str]) -> None:
        if self.late.random() < 0.5:
            await super().mischief(names)
            return
        name = self.late.choice(names)
        try:
            await self.clean.delete(WORKFLOWS, name, NAMESPACE)
        except NotFound:
            return
        self.befalls(ABORTED, name)
        if self.late.random() < 0.5:
            await self.kill_while_one_is_left()
        else:
            await asyncio.sleep(self.late.choice((1.0, 10.0)))

    async def kill_while_one_is_left(self) -> None:
        """Kill the controller once a job was answered too late, if one is."""
        before = set(self.answered_late)
        for _ in range(60):
            await asyncio.sleep(1.0)
            await self.read_statuses()
            if self.answered_late - before:
                self.kill()
                self.start()
                return

    async def end(self, names: list[str]) -> None:
        self.unwilling = 0.0
        await super().end(names)
