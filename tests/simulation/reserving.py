"""Worlds in which tasks that compute the same run for longer than a reservation lasts unrenewed, and nothing disturbs
reservations but that controllers die and hand shards over, and users delete workflows.

So of the tasks that would compute the same one runs at a time, whoever has its execution: who takes that over renews
what it had reserved. Put on top of `--cached`.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import msgspec

from propeller.catalog import Owner, Reservations
from propeller.embedded.faults import FaultProfile
from propeller.handlers.transitions import _task
from propeller.resourcemgr import ResourceOptions
from propeller.workflow import NodeView, StartAttempt
from tests.simulation import users, world
from tests.simulation.cached import CachedFlow
from tests.simulation.faults import Faults
from tests.simulation.flows import Flow
from tests.simulation.kubelet import Kubelet
from tests.simulation.oracle import Oracle
from tests.simulation.scene import Scene
from tests.simulation.users import Users

LONG = 150.0
"""Virtual seconds that some pods run on average: more than twice a reservation's time to live."""

TAKEN_OVER = 150.0
"""Virtual seconds after a kill among shards until all that the process had reserved is renewed, or void: a Lease is
waited for, shards are taken, and whoever takes them may be killed as well.
"""


class LongRunningKubelet(Kubelet):
    """Has pods that take long."""

    async def _rest(self, mean: float) -> None:
        await super()._rest(LONG if mean == 10.0 else mean)


class ReservingUsers(Users):
    """They delete workflows while those compute, and controllers die meanwhile, in two thirds of the worlds."""

    deletes = 0.0

    async def run(self) -> None:
        rng = random.Random(f"reserving {self._scene.seed}")
        kills = rng.random() < 2 / 3
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run())
            for _ in range(rng.choice((1, 2, 4, 8))):
                await asyncio.sleep(rng.choice((5.0, 60.0)) * rng.random())
                if kills and rng.random() < 0.7:
                    await Faults(self._scene, self._processes).crash()
                else:
                    await self._abort(rng)

    async def _abort(self, rng: random.Random) -> None:
        standing = [one for one in self._scene.oracle.workflows.values() if not (one.deleted or one.ended)]
        if standing:
            await self._delete(rng.choice(standing))


@contextmanager
def reservations() -> Iterator[None]:
    """See the module's text."""

    def put_on(scene: Scene) -> None:
        rng = random.Random(f"reservations {scene.seed}")
        scene.calm(FaultProfile(latency=rng.choice((0.0, 0.05)), blob_latency=rng.choice((0.0, 0.02, 0.1))))
        scene.overlaps = scene.retyped.used = scene.tokens.used = scene.tokens.live = False
        scene.tokens.shared = None
        scene.pace = 30.0
        scene.settings = msgspec.structs.replace(scene.settings, resources=ResourceOptions(fair_queues=False))
        if scene.settings.shards.count:
            scene.oracle.void_after = TAKEN_OVER

    with (
        mock.patch.object(Scene, "put_on", put_on),
        mock.patch.object(world, "Users", ReservingUsers),
        mock.patch.object(world, "Kubelet", LongRunningKubelet),
        mock.patch.object(users, "draw_flow", functools.partial(_draw, users.draw_flow)),
        mock.patch.object(Oracle, "reserves", True),
    ):
        yield


def _draw(draw: Callable[[random.Random], Flow], rng: random.Random) -> Flow:
    flow = draw(rng)
    return replace(flow, serialize=True) if isinstance(flow, CachedFlow) else flow


def _what_was_reserved_before_a_restart_is_not_kept() -> AbstractContextManager[Any]:
    async def nothing(self: Reservations, path: str, owner: Owner) -> None:
        return

    return mock.patch.object(Reservations, "keep", nothing)


def _what_only_pods_show_is_not_reserved() -> AbstractContextManager[Any]:
    """It was so: a pod that no status had was found by the next process, and its reservation was not kept."""

    def without(node: NodeView, begun: StartAttempt, *, lookup: bool = False) -> StartAttempt:
        return begun

    return mock.patch.object(_task, "with_reservation", without)


def _reservations_are_given_back_with_their_shard() -> AbstractContextManager[Any]:
    forget = Reservations.forget

    def over(self: Reservations, uid: str, *, is_over: bool) -> None:
        forget(self, uid, is_over=True)

    return mock.patch.object(Reservations, "forget", over)


def _reservations_of_what_is_deleted_are_kept() -> AbstractContextManager[Any]:
    return mock.patch.object(Reservations, "forget", return_value=None)


def _reservations_are_not_renewed() -> AbstractContextManager[Any]:
    return mock.patch.object(Reservations, "_renew", new=mock.AsyncMock())


def _a_reservation_that_was_renewed_is_void_all_the_same() -> AbstractContextManager[Any]:
    judge = Reservations._judge

    def from_the_first(self: Reservations, path: str, owner: Owner, data: bytes, version: str) -> str | None:
        first = self._seen.get(path)
        return judge(self, path, owner, data, version if first is None else first[0])

    return mock.patch.object(Reservations, "_judge", from_the_first)


RESERVATION_MUTATIONS: Mapping[str, Any] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (
        _what_only_pods_show_is_not_reserved,
        _what_was_reserved_before_a_restart_is_not_kept,
        _reservations_are_given_back_with_their_shard,
        _reservations_of_what_is_deleted_are_kept,
        _reservations_are_not_renewed,
        _a_reservation_that_was_renewed_is_void_all_the_same,
    )
}
