"""What goes wrong in a world: crashes, pauses, partitions, outages, wrong clocks, lost watches, faulty links."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from propeller.embedded.faults import NO_FAULTS
from tests.simulation.processes import Processes
from tests.simulation.reached import DIVIDED, STORE_DOWN, WATCHES_CUT
from tests.simulation.scene import Scene


class Faults:
    """Drawn one after the other, for as long as the seed says."""

    def __init__(self, scene: Scene, processes: Processes) -> None:
        self._scene = scene
        self._processes = processes

    async def run(self) -> None:
        ends = self._scene.loop.time() + self._scene.rng.choice((20.0, 60.0, 180.0))
        pace = self._scene.rng.choice((0.5, 5.0, 20.0))
        kinds: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self.crash,
            self.crash,
            self._pause,
            self._partition,
            self._outage,
            self._storage_outage,
            self._clock_jump,
            self._disturb_watches,
            self._change_fault_profile,
        ]
        kinds = self._scene.rng.sample(kinds, self._scene.rng.randint(1, len(kinds)))
        async with asyncio.TaskGroup() as group:
            if self._scene.planted.used:
                group.create_task(self._scene.planted.trouble(self._scene.event_log))
            if self._scene.restored.used:
                group.create_task(self._scene.restored.trouble())
            if self._scene.is_calm:
                await asyncio.sleep(ends - self._scene.loop.time())
            while self._scene.loop.time() < ends:
                await asyncio.sleep(self._scene.rng.expovariate(1 / pace))
                group.create_task(self._scene.rng.choice(kinds)())

    async def crash(self) -> None:
        """Kill a process. If none is left, another one starts a while later."""
        running = [process for process in self._processes.alive if not process.frozen]
        if not running:
            return
        self._processes.kill(self._scene.rng.choice(running))
        await asyncio.sleep(self._scene.rng.choice((0.0, 1.0, 20.0)))
        if not self._processes.alive:
            self._processes.start()

    async def _pause(self) -> None:
        """A process stands still for a while, and goes on with what it knew; another may have taken its place."""
        running = [process for process in self._processes.alive if not process.frozen]
        if not running or len(self._processes.alive) > 2:
            return
        process = self._scene.rng.choice(running)
        self._scene.event_log.record(f"{process.name} stands still")
        process.frozen = True
        self._scene.tokens.is_out(process.name)
        self._scene.loop.freeze(process.number)
        if self._scene.rng.random() < 0.7:
            self._overlap()
        await asyncio.sleep(self._scene.rng.choice((0.1, 3.0, 30.0)))
        if not process.dead:
            self._scene.event_log.record(f"{process.name} goes on")
            process.frozen = False
            process.halted()
            self._scene.loop.thaw(process.number)

    async def _partition(self) -> None:
        """A process cannot reach the API server for a while; another may have taken its place."""
        if not self._processes.alive or len(self._processes.alive) > 2:
            return
        process = self._scene.rng.choice(self._processes.alive)
        self._scene.event_log.record(f"{process.name} is cut off")
        self._scene.reached.befalls(WATCHES_CUT, self._processes.controlled_by(process))
        process.link.partitioned = True
        if self._scene.rng.random() < 0.5:
            self._overlap()
        await asyncio.sleep(self._scene.rng.choice((1.0, 10.0, 60.0)))
        self._scene.event_log.record(f"{process.name} is no longer cut off")
        process.link.partitioned = False

    def _overlap(self) -> None:
        if self._scene.overlaps:
            self._scene.oracle.overlap = True
            self._scene.reached.befalls(DIVIDED)
            self._processes.start()

    async def _outage(self) -> None:
        self._scene.event_log.record("the API server is down")
        self._scene.reached.befalls(WATCHES_CUT)
        self._scene.server.stop()
        await asyncio.sleep(self._scene.rng.choice((0.1, 2.0, 30.0)))
        self._scene.event_log.record("the API server is up")
        self._scene.server.start()

    async def _storage_outage(self) -> None:
        """The object store is away for all of them, for longer than an effect would pause."""
        self._scene.event_log.record("the object store is down")
        self._scene.reached.befalls(STORE_DOWN)
        self._processes.storage_outages += 1
        self._set_storage()
        await asyncio.sleep(self._scene.rng.choice((1.0, 30.0, 200.0)))
        self._processes.storage_outages -= 1
        self._set_storage()

    def _set_storage(self) -> None:
        for process in self._processes.all:
            process.store.partitioned = self._processes.storage_outages > 0
        if not self._processes.storage_outages:
            self._scene.event_log.record("the object store is up")

    async def _clock_jump(self) -> None:
        self._scene.oracle.clocks_are_right = False
        for process in self._processes.alive:
            process.clock.error += self._scene.rng.uniform(-30.0, 30.0)
            self._scene.event_log.record(f"the clock of {process.name} is wrong by {process.clock.error:.1f} s")

    async def _disturb_watches(self) -> None:
        self._scene.reached.befalls(WATCHES_CUT)
        if self._scene.rng.random() < 0.5:
            self._scene.event_log.record("history is compacted")
            self._scene.server.compact()
        if self._scene.rng.random() < 0.7:
            self._scene.event_log.record("all watches are cut")
            self._scene.server.drop_watches()

    async def _change_fault_profile(self) -> None:
        self._processes.set_profile(self._scene.rng.choice((NO_FAULTS, self._scene.faulty)))
