"""Worlds of jobs whose controllers are halted for longer than their Lease, and go on where they stood.

What must hold besides: a process that was halted while others took its shards over begins no job and deletes none that
a status has had. Jobs that it had begun when it was halted may run on unseen: their ids are nowhere.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from propeller.handlers.plugins import JobState, RemoteTask
from propeller.workflow import Job
from tests.simulation.loop import PROCESS
from tests.simulation.reached import DIVIDED
from tests.simulation.remote_sharded import ShardedWorld
from tests.simulation.sharded import Link


class HaltingWorld(ShardedWorld):
    """See the module's text."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.halts = random.Random(f"halts {self.seed}")
        self.was_halted: set[int] = set()
        """Processes, by number."""

    async def create(self, task: RemoteTask) -> bytes:
        self.executions[task.uid] = task.node.execution.info.name
        if not self.holds(task.key):
            self.violation(f"{PROCESS.get()} begins a job of {task.key}, and holds its shard no more")
        return await super(ShardedWorld, self).create(task)

    async def get(self, job: Job) -> JobState:
        """A look changes nothing: who was halted may take one more."""
        return await super(ShardedWorld, self).get(job)

    async def delete(self, job: Job) -> None:
        held = self.holds(self.jobs[job.id].key)
        await self.read_statuses()
        if job.id in self.written and not held:
            self.violation(f"{PROCESS.get()} deletes {job.id!r}, and holds its shard no more")
        await super(ShardedWorld, self).delete(job)

    def holds(self, key: str) -> bool:
        shard = self.actors._shard_of[self.executions[key.partition("/")[0]]]
        holders = self.actors._map.holders if self.actors._map is not None else {}
        return holders.get(shard) == self.members[PROCESS.get()]

    async def mischief(self, names: list[str]) -> None:
        if self.halts.random() < 0.5 or not (able := self.able):
            await super().mischief(names)
            return
        number = self.halts.choice(able)
        self.was_halted.add(number)
        self.befalls(DIVIDED)
        if len(able) < 2:
            self.start()
            await asyncio.sleep(self.halts.choice((0.0, 2.0)))
        link = self.processes[number - 1][2]
        assert isinstance(link, Link)
        link.halts += 1
        self.loop.freeze(number)
        await asyncio.sleep(self.halts.choice((20.0, 60.0)))
        self.loop.thaw(number)

    def is_alive(self, number: int) -> bool:
        """A process that was halted may have lost what it knew of its jobs, and what it had sent comes late."""
        return super().is_alive(number) and not self.was_halted & {number, PROCESS.get()}

    @property
    def able(self) -> list[int]:
        return [
            number
            for number, *_ in self.processes
            if super(HaltingWorld, self).is_alive(number) and number not in self.leaving
        ]
