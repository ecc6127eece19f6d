"""What a member works on: begins with the shards that it holds and is to keep, ends with the others.

Guarantees
    `give_up` of the server is called once for a shard that was begun, after its `take` has ended; while it runs the
    shard is neither begun anew nor written as free.
    What fails, also by a defect of the server, is tried again, after growing pauses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from propeller.pauses import Pauses
from propeller.telemetry import Causes

BACKOFF, BACKOFF_CAP = 0.2, 10.0
"""Seconds before a shard that could not be begun is tried again; doubles."""

log = logging.getLogger(__name__)


class ShardServer(Protocol):
    """Works on shards."""

    async def take(self, shard: int) -> None:
        """Begin to work on a shard. May be cancelled; `give_up` follows then. Raises what a retry may mend."""

    async def give_up(self, shards: Collection[int]) -> None:
        """End the work on shards: once it returns nothing is sent for them any more. Raises nothing."""

    def loads(self) -> Mapping[int, float]:
        """The load of each shard that it works on, in a unit that all members share."""


class Work:
    """`changed` is called when a shard has been begun or ended."""

    def __init__(self, server: ShardServer, changed: Callable[[], None]) -> None:
        self._server = server
        self._changed = changed
        self._begun: dict[int, asyncio.Task[None]] = {}
        self._ending: dict[int, asyncio.Task[None]] = {}
        self._causes = Causes(log)
        self.stopped: set[int] = set()
        """Shards whose work has ended, and which the map still has as this member's."""

    @property
    def ready(self) -> frozenset[int]:
        """Shards that are worked on, their caches filled."""
        return frozenset(shard for shard, task in self._begun.items() if task.done() and shard not in self._ending)

    def follow(self, held: frozenset[int], wanted: frozenset[int]) -> None:
        """Begin and end what the map says."""
        keep = held & wanted
        if ending := self._begun.keys() - keep - self._ending.keys():
            task = asyncio.create_task(self._end(sorted(ending)), name="give up shards")
            self._ending |= dict.fromkeys(ending, task)
        for shard in sorted(keep - self._begun.keys()):
            self._begun[shard] = asyncio.create_task(self._begin(shard), name=f"take shard {shard}")
        self.stopped = (self.stopped & held) - self._begun.keys()
        if unbegun := held - wanted - self._begun.keys() - self.stopped:  # another was to have it before this was known
            self.stopped |= unbegun
            self._changed()

    async def end_all(self) -> None:
        """End everything in order."""
        self.follow(frozenset(), frozenset())
        ended = self.stopped | self._ending.keys()
        while self._ending:
            await asyncio.wait(set(self._ending.values()))
        self.stopped = ended

    async def abandon(self) -> None:
        """End everything at once: the right to act is lost."""
        tasks = {*self._begun.values(), *self._ending.values()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._begun.clear()
        self._ending.clear()

    async def _begin(self, shard: int) -> None:
        loop = asyncio.get_running_loop()
        pauses = Pauses(BACKOFF, BACKOFF_CAP)
        while True:
            try:
                await self._server.take(shard)
            except Exception as error:  # noqa: BLE001 - also a defect: nobody else works on a shard that is held
                pause = pauses.failed(loop.time())
                self._causes.report(error, "shard %d cannot be begun, trying again in %.1f s", shard, pause)
                await self._give_up([shard])
                await asyncio.sleep(pause)
            else:
                self._changed()
                return

    async def _end(self, shards: Collection[int]) -> None:
        try:
            tasks = {self._begun[shard] for shard in shards}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._give_up(shards)
        finally:
            for shard in shards:
                self._begun.pop(shard, None)
                self._ending.pop(shard, None)
        self.stopped |= set(shards)
        self._changed()

    async def _give_up(self, shards: Collection[int]) -> None:
        """Have the server give up shards. Until it has, no other member may have them."""
        loop, pauses = asyncio.get_running_loop(), Pauses(BACKOFF, BACKOFF_CAP)
        while True:
            try:
                return await self._server.give_up(shards)
            except Exception as error:  # noqa: BLE001 - also a defect
                pause = pauses.failed(loop.time())
                self._causes.report(error, "shards %s cannot be given up, trying again in %.1f s", shards, pause)
                await asyncio.sleep(pause)
