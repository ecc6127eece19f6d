"""Controllers as processes that start, die, stand still, and are started again."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Iterable
from dataclasses import dataclass

from propeller.clock import LoopClock
from propeller.controller import WorkflowController
from propeller.embedded.faults import NO_FAULTS, FaultProfile, FaultyLink, FaultyStore
from propeller.errors import NotFound, PropellerError
from propeller.storage import MemoryStore, Storage
from tests.simulation.loop import PROCESS
from tests.simulation.oracle import Workflow
from tests.simulation.reached import KILLED
from tests.simulation.roundtrip import Roundtrip
from tests.simulation.scene import Scene


class Clock(LoopClock):
    """A process's wall clock, which may be wrong."""

    error = 0.0

    def now(self) -> float:
        return super().now() + self.error


@dataclass
class Process:
    """One controller, and what it has of its own."""

    number: int
    link: FaultyLink
    store: FaultyStore
    clock: Clock
    task: asyncio.Task[None] | None = None
    frozen: bool = False
    dead: bool = False

    def halted(self) -> None:
        """It goes on after having stood still."""
        if hasattr(self.link, "halts"):
            self.link.halts += 1

    @property
    def name(self) -> str:
        return f"controller {self.number}"


class Processes:
    """All that were ever started."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.all: list[Process] = []
        self.storage_outages = 0
        """How many outages of the object store are under way."""

    def start(self) -> Process:
        number = len(self.all) + 1
        link = self._link(number)
        memory = MemoryStore(self._scene.blobs, is_local=self._scene.is_local)
        store = FaultyStore(memory, random.Random(f"store {self._scene.seed} {number}"), self._scene.profile)
        store.partitioned = self.storage_outages > 0
        process = Process(number, link, store, Clock())
        self.all.append(process)
        self._scene.event_log.record(f"{process.name} starts")
        context = contextvars.copy_context()
        context.run(PROCESS.set, number)
        process.task = self._scene.loop.create_task(self._control(process), context=context)
        return process

    def _link(self, number: int) -> FaultyLink:
        return FaultyLink(random.Random(f"link {self._scene.seed} {number}"), self._scene.profile)

    async def _control(self, process: Process) -> None:
        """A process that is started again where it cannot begin."""
        while not process.dead:
            started = False
            self._scene.tokens.starts(process.name)
            client = self._scene.client(process.name, process.link)
            roundtrip = Roundtrip(self._scene.event_log)
            try:
                async with Storage(self._scene.settings.storage, stores={"memory": process.store}) as storage:
                    with self._scene.tokens.used_by(process.name):
                        controller = WorkflowController(
                            client, storage, self._scene.settings, clock=process.clock, observer=roundtrip.check
                        )
                    self._scene.tokens.follow(process.name, controller)
                    async with controller.running():
                        started = True
                        await asyncio.Event().wait()
            except PropellerError as error:
                self._scene.event_log.record(f"{process.name} could not start: {error}")
                if isinstance(error, NotFound):
                    self._scene.retyped.could_not_start(process.name)
                if started and not process.dead:
                    self._scene.event_log.violation(f"{process.name} had started, and ended: {error}")
                await asyncio.sleep(2.0)
            except Exception as error:  # noqa: BLE001 - the world goes on, to tell of it
                self._scene.event_log.violation(f"{process.name} ended: {error!r}")
                await asyncio.sleep(2.0)

    def kill(self, process: Process) -> None:
        """It does nothing from here on, wherever it stood."""
        self._scene.event_log.record(f"{process.name} is killed")
        self._scene.reached.befalls(KILLED, self.controlled_by(process))
        process.dead = True
        self._scene.oracle.last_kill = self._scene.loop.time()
        self._scene.tokens.is_out(process.name)
        self._scene.loop.freeze(process.number)

    def controlled_by(self, process: Process) -> Iterable[Workflow] | None:
        """The executions that a process has to do with; None: all."""
        return None

    @property
    def alive(self) -> list[Process]:
        return [process for process in self.all if not process.dead]

    def set_profile(self, profile: FaultProfile) -> None:
        """Of all that reaches a server or the object store."""
        self._scene.event_log.record("requests have no faults" if profile is NO_FAULTS else "requests have faults")
        self._scene.profile = profile
        for process in self.all:
            process.link.profile = process.store.profile = profile

    def heal(self) -> None:
        """From here on nothing goes wrong, and there is one controller."""
        self.set_profile(NO_FAULTS)
        self._scene.server.start()
        healthy = [process for process in self.alive if not process.frozen and not process.link.partitioned]
        for process in self.alive:
            if process not in healthy[-1:]:
                self.kill(process)
        if not healthy:
            self.start()

    async def stop(self) -> None:
        """Let each come to its end, cut off from everything."""
        for process in self.all:
            process.dead = True
            process.link.partitioned = process.store.partitioned = True
            self._scene.loop.thaw(process.number)
            if process.task is not None:
                process.task.cancel()
        tasks = [process.task for process in self.all if process.task is not None]
        if tasks:
            await asyncio.wait(tasks)
