"""Defects that are planted, one at a time: each has to be found by a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from propeller.clock import LoopClock
from propeller.controller._bounds import Bounds
from propeller.controller._janitor import Janitor
from propeller.controller._remote_shards import RemoteShards
from propeller.controller._resync import Resync
from propeller.errors import PropellerError
from propeller.handlers.plugins import Marks
from propeller.kube import Request, Response
from propeller.reconcile.rollouts import Rollout, State, divisions
from propeller.reconcile.shards import FencedTransport, ShardMap, _shard_map
from propeller.workflow import Placements
from tests.simulation.processes import Clock

Mutation = Callable[[], AbstractContextManager[Any]]


def _placements_are_not_written() -> AbstractContextManager[Any]:
    return mock.patch.object(Placements, "unwritten", False)


def _an_attempt_of_a_lost_cluster_is_launched_again_elsewhere() -> AbstractContextManager[Any]:
    """Under its number, so that it may publish twice."""
    return mock.patch.object(Placements, "is_placed", return_value=False)


def _workflows_that_cannot_be_asked_for_are_gone() -> AbstractContextManager[Any]:
    is_gone = Janitor._is_gone

    async def rash(self: Janitor, suspect: Any) -> bool:
        try:
            return await is_gone(self, suspect)
        except PropellerError:
            return True

    return mock.patch.multiple(Janitor, _is_gone=rash, _exists=lambda self, key, uid: False)


def _a_halted_process_sends_to_other_clusters_what_it_was_about_to() -> AbstractContextManager[Any]:
    send = FencedTransport.send

    async def unchecked(self: Any, request: Request, *, deadline: float) -> Response:
        if request.path.startswith("/api/v1/namespaces/ns/pods"):
            response: Response = await self._transport.send(request, deadline=deadline)
            return response
        return await send(self, request, deadline=deadline)

    return mock.patch.object(FencedTransport, "send", unchecked)


def _a_shard_that_is_taken_is_not_followed_in_other_clusters() -> AbstractContextManager[Any]:
    async def blind(self: RemoteShards, shard: int) -> None:
        return

    return mock.patch.object(RemoteShards, "take", blind)


def _pods_of_other_clusters_are_not_held() -> AbstractContextManager[Any]:
    """Their end is lost if they are deleted before it was read."""
    return mock.patch.object(Marks, "holds", False)


def _executions_do_not_wait_for_their_cluster() -> AbstractContextManager[Any]:
    """They are loaded by what their status says, before their attempts there are known."""
    return mock.patch.object(Resync, "must_wait", return_value=False)


def _what_a_cluster_that_is_away_may_run_is_begun_again_under_its_number() -> AbstractContextManager[Any]:
    return mock.patch.object(Placements, "give_up", return_value=None)


def _the_wall_clock_tells_how_long_something_took() -> AbstractContextManager[Any]:
    return mock.patch.object(Clock, "monotonic", lambda self: LoopClock.monotonic(self) + self.error)


MUTATIONS: Mapping[str, Mutation] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (
        _the_wall_clock_tells_how_long_something_took,
        _placements_are_not_written,
        _an_attempt_of_a_lost_cluster_is_launched_again_elsewhere,
        _workflows_that_cannot_be_asked_for_are_gone,
        _pods_of_other_clusters_are_not_held,
        _executions_do_not_wait_for_their_cluster,
        _what_a_cluster_that_is_away_may_run_is_begun_again_under_its_number,
    )
}


SHARDED_MUTATIONS: Mapping[str, Mutation] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (
        _a_halted_process_sends_to_other_clusters_what_it_was_about_to,
        _a_shard_that_is_taken_is_not_followed_in_other_clusters,
    )
}
"""In worlds whose controllers divide the workflows (`--sharded`)."""


def _a_new_version_launches_wherever_the_table_says() -> AbstractContextManager[Any]:
    return mock.patch.object(Bounds, "obstacle", return_value="")


def _a_new_version_is_not_told_where_it_is_tried() -> AbstractContextManager[Any]:
    return mock.patch.object(ShardMap, "confined", return_value=None)


def _a_new_version_gets_the_shards_of_its_next_stage_as_well() -> AbstractContextManager[Any]:
    return mock.patch.object(Rollout, "shards", property(lambda self: frozenset(self.order)))


def _a_version_that_was_rolled_back_gets_shards_again() -> AbstractContextManager[Any]:
    def forgiving(rollout: Rollout | None, *given: Any) -> Any:
        return divisions(None if rollout is not None and rollout.state is State.ABORTED else rollout, *given)

    return mock.patch.object(_shard_map, "divisions", forgiving)


ROLLOUT_MUTATIONS: Mapping[str, Mutation] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (
        _a_version_that_was_rolled_back_gets_shards_again,
        _a_new_version_launches_wherever_the_table_says,
        _a_new_version_is_not_told_where_it_is_tried,
        _a_new_version_gets_the_shards_of_its_next_stage_as_well,
    )
}
"""In worlds that try a new version in one cluster (`--rollout`)."""
