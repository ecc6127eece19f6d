"""Worlds of several clusters in which a new version of the controller is tried in one of them first.

The executions of cluster east are in a shard of their own, which processes of the new version get. They come, leave,
die and stand still as the others do; the rollout is promoted or rolled back at any time. Besides what holds in all
worlds:

- Until it is promoted the new version launches nothing but in east, wherever the table would have its attempts go.
- What is done for an execution, and each of its statuses, is done by the holder of the shard that its label names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import msgspec
import orjson

from propeller.errors import PropellerError
from propeller.kube import Client, Request, Response
from propeller.reconcile.rollouts import Rollout, RolloutOptions, abort, begin, promote
from propeller.reconcile.shards import GroupView, change_rollout
from propeller.workflow import SHARD_LABEL, key_of_cluster
from tests.simulation.clusters.kubelet import NAMESPACE
from tests.simulation.clusters.sharded import MAX_PROCESSES, ShardedWorld
from tests.simulation.clusters.truth import CONTROL, Truth
from tests.simulation.clusters.world import World
from tests.simulation.event_log import EventLog
from tests.simulation.loop import PROCESS, SimulatedLoop
from tests.simulation.sharded import GROUP, Actors

TRIED, OLD, NEW = "east", "1", "2"

_HELD: ContextVar[frozenset[int]] = ContextVar("held", default=frozenset())
"""The shards that a process had when a request left it."""


class ActorsOfClusters(Actors):
    """Follows the label by which workflows change their shard."""

    def sent(self, who: str, member: str, request: Request) -> None:
        """As of Actors, for resources of attempts. Statuses are looked at once they are written."""
        assert self._map is not None
        _HELD.set(self._map.held_by(member))
        if request.method in {"GET", "HEAD"} or "/pods" not in request.path:
            return
        if request.method == "POST":
            pod = str(orjson.loads(request.body)["metadata"]["name"])
        else:
            pod = request.path.rpartition("/")[2]
        shard = self._shard_of.get(pod.rsplit("-", 2)[0])
        if shard is not None and shard not in _HELD.get():
            self._event_log.violation(
                f"{who} ({member}) sends {request.method} {request.path} of shard {shard}, which "
                f"{self._map.holders.get(shard)} holds"
            )

    def applied(self, request: Request, response: Response) -> None:
        super().applied(request, response)
        if response.status >= 300 or request.method != "PATCH" or "/flyteworkflows/" not in request.path:
            return
        name = request.path.removesuffix("/status").rpartition("/")[2]
        if (shard := self._shard_of.get(name)) is not None and shard not in _HELD.get():
            self._event_log.violation(f"{name} of shard {shard} is written by who had shards {sorted(_HELD.get())}")
        labels = orjson.loads(request.body).get("metadata", {}).get("labels", {})
        if SHARD_LABEL in labels:
            self._shard_of[name] = self._keys.of(labels)
            self._event_log.record(f"{name} goes to shard {self._shard_of[name]}")


class TruthOfVersions(Truth):
    """Knows where each version may launch."""

    def __init__(self, event_log: EventLog, version_of: Callable[[int], str]) -> None:
        super().__init__(event_log)
        self.is_promoted = False
        self._version_of = version_of

    def _launched(self, cluster: str, answer: dict[str, Any]) -> None:
        super()._launched(cluster, answer)
        if cluster != TRIED and not self.is_promoted and self._version_of(PROCESS.get()) == NEW:
            self.event_log.violation(f"{answer['metadata']['name']} is launched in {cluster} by the new version")


class RolloutWorld(ShardedWorld):
    """See the module's text."""

    def __init__(self, seed: int, loop: SimulatedLoop, *, verbose: bool) -> None:
        super().__init__(seed, loop, verbose=verbose)
        shards = msgspec.structs.replace(self.settings.shards, clusters=(TRIED,))
        self.settings = msgspec.structs.replace(self.settings, shards=shards)
        self.new_ones: set[int] = set()
        """Processes of the new version."""
        self.has_begun = False
        self.versions = TruthOfVersions(self.event_log, self.version_of)
        self.truth = self.versions

    def watchers(self) -> Actors:
        return ActorsOfClusters(self.event_log, (key_of_cluster(TRIED),))

    def version_of(self, process: int) -> str:
        return NEW if process in self.new_ones else OLD

    def begin(self) -> None:
        super().begin()
        if self.rng.random() < 0.8:
            self.tasks.append(asyncio.create_task(self._begin_soon()))

    async def _begin_soon(self) -> None:
        await asyncio.sleep(self.rng.choice((2.0, 20.0)))
        await self._roll_out()

    def start(self) -> None:
        if self.has_begun and self.rng.random() < 0.5 and OLD in map(self.version_of, self.processes):
            self.new_ones.add(self.process + 1)
            self.event_log.record(f"controller {self.process + 1} is of the new version")
        super().start()

    def kinds(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        return [*super().kinds(), self._roll_out, self._reroute, self._end_rollout]

    async def _roll_out(self) -> None:
        """The new version is to be tried, before any process of it is there."""
        if not self.has_begun:
            await self._change(self._begun)
            self.event_log.record("the rollout has begun")
            self.has_begun = True
        if len(self.processes) < MAX_PROCESSES + 1:
            self.start()

    def _begun(self, view: GroupView) -> Rollout:
        options = RolloutOptions(bake=1000.0)
        first = tuple(view.map.named_shards.values())
        return view.map.rollout or begin(NEW, OLD, view.loads, view.map.count, options, self.clock.now(), first)

    async def _end_rollout(self) -> None:
        if not self.has_begun:
            return
        await asyncio.sleep(self.rng.choice((0.0, 100.0)))
        whole = self.rng.random() < 0.3

        def ended(view: GroupView) -> Rollout | None:
            rollout = view.map.rollout
            if rollout is None or rollout.state.is_over:
                return rollout
            if not whole:
                return abort(rollout, "it is bad", self.clock.now())
            self.versions.is_promoted = True
            return promote(rollout, self.clock.now(), whole=True)

        await self._change(ended)
        self.event_log.record("the rollout has ended")

    async def _change(self, change: Callable[[GroupView], Rollout | None]) -> None:
        client = Client(self.servers[CONTROL].transport(), clock=self.clock)
        while True:
            try:
                await change_rollout(client, NAMESPACE, GROUP, change)
                return
            except PropellerError:
                await asyncio.sleep(1.0)

    def heal(self) -> None:
        super().heal()
        if OLD not in map(self.version_of, self.processes):
            self.has_begun, begun = False, self.has_begun
            self.start()
            self.has_begun = begun


def rolled_out(seed: int, loop: SimulatedLoop, verbose: bool) -> World:
    return RolloutWorld(seed, loop, verbose=verbose)
