"""Worlds of several clusters whose controllers divide the workflows: they join, leave, die, stand still, are cut off.

Besides what holds in a world of one controller, every request to any cluster that changes something of an execution is
sent by the process that the shard map names, at the moment when it is sent.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from propeller.config import WorkflowShardOptions
from propeller.controller import WorkflowController
from propeller.embedded.faults import FaultyLink
from propeller.errors import PropellerError
from propeller.kube import Client
from propeller.reconcile import LeaseLost
from propeller.reconcile.shards import FencedTransport, Membership
from propeller.routing import Access
from propeller.storage import MemoryStore, Storage
from propeller.workflow import key_of_cluster
from tests.simulation.clusters.kubelet import NAMESPACE
from tests.simulation.clusters.truth import CONTROL
from tests.simulation.clusters.world import World
from tests.simulation.loop import PROCESS, SimulatedLoop
from tests.simulation.sharded import COUNT, GROUP, Actors, Check, Leaving, Link

MAX_PROCESSES = 3
"""Processes at once."""


class Process:
    """One controller, with its links to all clusters."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.member = ""
        self.links: list[Link] = []
        self.check = Check()
        self.is_halted = False
        self.task: asyncio.Task[None] | None = None

    def joins(self, member: str) -> None:
        self.member = member
        for link in self.links:
            link.member = member

    def goes_on(self) -> None:
        """After having stood still: what was under way does not wait for it."""
        self.is_halted = False
        for link in self.links:
            link.halts += 1


class ShardedWorld(World):
    """See the module's text."""

    def __init__(self, seed: int, loop: SimulatedLoop, *, verbose: bool) -> None:
        super().__init__(seed, loop, verbose=verbose)
        shards = WorkflowShardOptions(count=COUNT, level_interval=self.rng.choice((5.0, 60.0)))
        self.settings = msgspec.structs.replace(self.settings, shards=shards)
        self.actors = self.watchers()
        self.processes: dict[int, Process] = {}
        """Those that are alive."""
        self._seed = seed

    def watchers(self) -> Actors:
        """Who sees what processes send."""
        return Actors(self.event_log)

    def version_of(self, process: int) -> str:
        """The version of a process' code."""
        return ""

    def begin(self) -> None:
        for _ in range(self.rng.randint(1, MAX_PROCESSES)):
            self.start()

    def start(self) -> None:
        self.processes[self.process + 1] = Process(self.process + 1)
        super().start()
        self.processes[self.process].task = self.tasks[-1]

    def kill(self, process: int) -> None:
        del self.processes[process]
        super().kill(process)

    def link(self, rng: random.Random) -> FaultyLink:
        link = Link(self.actors, rng, self.profile)
        process = self.processes.get(PROCESS.get())
        if process is not None:  # else it is one that ends
            link.who, link.member = f"controller {process.number}", process.member
            process.links.append(link)
        return link

    def labels(self, name: str) -> dict[str, str]:
        resource: dict[str, Any] = {"metadata": {"name": name, "labels": {}}}
        self.actors.label(resource)
        labels: dict[str, str] = resource["metadata"]["labels"]
        return labels

    @asynccontextmanager
    async def open(self, access: Access) -> AsyncIterator[Client | None]:
        await self.connecting()
        yield self._fenced(access.context)

    def _fenced(self, cluster: str) -> Client:
        process = self.processes.get(PROCESS.get()) or Process(0)
        inner, link = self.client(cluster), self.links[-1]
        assert isinstance(link, Link)
        return Client(FencedTransport(Leaving(inner.transport, link), process.check), clock=self.clock)

    async def _control(self) -> None:
        process = self.processes[PROCESS.get()]
        named = tuple(map(key_of_cluster, self.settings.shards.clusters))
        while process.number in self.processes:
            process.check = Check()
            client = self._fenced(CONTROL)
            try:
                async with Storage(self.settings.storage, stores={"memory": MemoryStore(self.blobs)}) as storage:
                    clock = self.clock_here()
                    controller = WorkflowController(client, storage, self.settings, clock=clock, opener=self)
                    controller.route_by(self.table)
                    assert controller.shards is not None
                    membership = Membership(
                        *(client, NAMESPACE, GROUP, COUNT + 1 + len(named), controller.shards, self.settings.shards),
                        version=self.version_of(process.number),
                        note=controller.shards.note,
                        met=controller.shards.met,
                        named=named,
                        confine=controller.shards.confine,
                        clock=clock,
                        rng=random.Random(f"member {self._seed} {process.number} {self.loop.time()}"),
                    )
                    process.joins(membership.name)
                    async with controller.running(), membership.joined() as process.check.leadership:
                        self.controllers[process.number] = controller
                        controller.route_by(self.table)  # it may have changed meanwhile
                        await asyncio.Event().wait()
            except LeaseLost as error:
                self.event_log.record(f"controller {process.number} lost its Lease: {error}")
            except PropellerError as error:
                self.event_log.record(f"controller {process.number} could not start: {error}")
            finally:
                self.controllers.pop(process.number, None)
            await asyncio.sleep(2.0)

    # faults

    def kinds(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        return [*super().kinds(), self._come, self._come, self._leave, self._halt]

    async def _crash(self) -> None:
        if self.processes:
            self.kill(self.rng.choice(sorted(self.processes)))
            await asyncio.sleep(self.rng.choice((0.0, 5.0, 100.0)))
        await self._come()

    async def _come(self) -> None:
        if len(self.processes) < MAX_PROCESSES:
            self.start()

    async def _leave(self) -> None:
        """A process is asked to end, and ends in order."""
        able = [process for process in self.processes.values() if not process.is_halted]
        if len(able) < 2:
            return
        process = self.rng.choice(able)
        self.event_log.record(f"controller {process.number} is to end")
        del self.processes[process.number]
        assert process.task is not None
        process.task.cancel()

    async def _halt(self) -> None:
        """A process stands still, for longer or shorter than its Lease is valid."""
        able = [process for process in self.processes.values() if not process.is_halted]
        if not able:
            return
        process = self.rng.choice(able)
        self.event_log.record(f"controller {process.number} stands still")
        process.is_halted = True
        self.loop.freeze(process.number)
        await asyncio.sleep(self.rng.choice((3.0, 20.0, 60.0)))
        self._go_on(process)

    def _go_on(self, process: Process) -> None:
        if process.is_halted and process.number in self.processes:
            self.event_log.record(f"controller {process.number} goes on")
            process.goes_on()
            self.loop.thaw(process.number)

    def heal(self) -> None:
        for process in tuple(self.processes.values()):
            self._go_on(process)
        super().heal()
        if not self.processes:
            self.start()


def sharded(seed: int, loop: SimulatedLoop, verbose: bool) -> World:
    return ShardedWorld(seed, loop, verbose=verbose)
