"""Worlds of jobs whose controllers divide the executions: shards move while jobs are created, looked at and deleted.

Processes join, leave in order and are killed. What must hold besides: a service is asked for a job, and asked how it
is, by the process that holds the shard of its execution, as the shard map has it; whoever holds it next looks at the
same job. A second job of an attempt is created only if a killed process, or a lost answer, took the first one's id.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from typing import Any

import msgspec

from propeller.clock import LoopClock
from propeller.config import WorkflowShardOptions
from propeller.controller import WorkflowController
from propeller.embedded.faults import FaultProfile, FaultyLink, FaultyStore
from propeller.errors import PropellerError
from propeller.handlers.plugins import JobState, Plugins, RemoteTask
from propeller.kube import Client, Raw
from propeller.reconcile import LeaseLost
from propeller.reconcile.shards import FencedTransport
from propeller.storage import MemoryStore, Storage
from propeller.workflow import Job
from tests.simulation.event_log import EventLog
from tests.simulation.loop import PROCESS
from tests.simulation.reached import DIVIDED, KILLED
from tests.simulation.remote import Service, World
from tests.simulation.remote_recovered import RecoveringWorld
from tests.simulation.sharded import COUNT, Actors, Check, Leaving, Link, membership_of


class ShardedWorld(World):
    """See the module's text."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.profile = FaultProfile(latency=self.rng.choice((0.0, 0.05)), blob_latency=self.rng.choice((0.0, 0.05)))
        self.settings = msgspec.structs.replace(
            self.settings, shards=WorkflowShardOptions(count=COUNT, level_interval=5.0)
        )
        self.event_log = EventLog(self.loop.time, verbose=False)
        self.actors = Actors(self.event_log)
        self.members: dict[int, str] = {}
        """By number, the name of a process among those that divide the shards."""
        self.leaving: set[int] = set()
        """Processes that were asked to end."""
        self.executions: dict[str, str] = {}
        """By uid, the name of an execution."""

    def labelled(self, resource: Raw) -> Raw:
        self.actors.label(resource)
        return super().labelled(resource)

    # the service

    async def create(self, task: RemoteTask) -> bytes:
        self.executions[task.uid] = task.node.execution.info.name
        self.require_holder(task.key, "create")
        await self.read_statuses()
        if any(self.jobs[identity].key == task.key for identity in self.written if identity in self.jobs):
            self.violation(f"{task.key} is created again by {PROCESS.get()}, and a status has had a job of it")
        return await super().create(task)

    async def get(self, job: Job) -> JobState:
        self.require_holder(self.jobs[job.id].key, "look at")
        return await super().get(job)

    async def delete(self, job: Job) -> None:
        await self.read_statuses()
        if job.id in self.written:
            self.require_holder(self.jobs[job.id].key, "delete")
        await super().delete(job)

    def require_holder(self, key: str, what: str) -> None:
        shard = self.actors._shard_of[self.executions[key.partition("/")[0]]]
        holders = self.actors._map.holders if self.actors._map is not None else {}
        if holders.get(shard) != self.members[PROCESS.get()]:
            self.violation(f"{PROCESS.get()} wants to {what} {key} of shard {shard}, which {holders.get(shard)} holds")

    # the controllers

    def start(self) -> None:
        number = len(self.processes) + 1
        link = Link(self.actors, random.Random(f"link {self.seed} {number}"), self.profile)
        link.who = f"controller {number}"
        memory = MemoryStore(self.blobs, is_local=self.rng.random() < 0.5)
        store = FaultyStore(memory, random.Random(f"store {self.seed} {number}"), self.profile)
        context = contextvars.copy_context()
        context.run(PROCESS.set, number)
        self.processes.append((number, self.loop.create_task(self._control(link, store), context=context), link, store))

    async def _control(self, link: FaultyLink, store: FaultyStore) -> None:
        number = PROCESS.get()
        while number not in self.leaving:
            try:
                await self._serve(number, link, store)
            except (PropellerError, LeaseLost):
                await asyncio.sleep(1.0)
            except Exception as error:  # noqa: BLE001 - the world goes on, to tell of it
                self.violation(f"a controller ended: {error!r}")
                await asyncio.sleep(1.0)

    async def _serve(self, number: int, link: FaultyLink, store: FaultyStore) -> None:
        assert isinstance(link, Link)
        check = Check()
        transport = FencedTransport(Leaving(self.server.transport(interceptor=link), link), check)
        client = Client(transport, clock=LoopClock())
        async with Storage(self.settings.storage, stores={"memory": store}) as storage:
            plugins = Plugins(remote=[Service(self)])
            controller = WorkflowController(
                client, storage, self.settings, clock=LoopClock(), plugins=plugins, may_act=check
            )
            drawn = f"member {self.seed} {number} {self.loop.time()}"
            membership = membership_of(client, controller, self.settings, clock=LoopClock(), drawn=drawn)
            link.member = self.members[number] = membership.name
            async with controller.running(), membership.joined() as check.leadership:
                await asyncio.Event().wait()

    @property
    def able(self) -> list[int]:
        """Processes that neither were killed nor are to end."""
        return [number for number, *_ in self.processes if self.is_alive(number) and number not in self.leaving]

    async def mischief(self, names: list[str]) -> None:
        match self.rng.choice(("move", "move", "move", "kill", "other")):
            case "move":
                await self.move()
            case "kill":
                self.kill()
                await asyncio.sleep(self.rng.choice((0.0, 30.0)))
                self.start()
            case "other":
                await super().mischief(names)

    async def move(self) -> None:
        """One joins, or leaves in order."""
        self.befalls(DIVIDED)
        if len(self.able) < 2 or self.rng.random() < 0.5:
            self.start()
            return
        number = self.rng.choice(self.able)
        self.leaving.add(number)
        self.processes[number - 1][1].cancel()

    def kill(self) -> None:
        self.befalls(KILLED)
        self.loop.freeze(self.rng.choice(self.able))

    async def end(self, names: list[str]) -> None:
        await super().end(names)
        for identity, job in self.jobs.items():
            runs = not job.deleted and not job.forgotten and self.loop.time() < job.ends
            if runs and job.answered and self.is_alive(job.creator):
                self.violation(f"job {identity!r} of {job.key} is left running, and {job.creator} has known it")
        self.violations += self.event_log.failures


class RecoveringShardedWorld(ShardedWorld, RecoveringWorld):
    """Both: a recovery goes on while shards move."""
