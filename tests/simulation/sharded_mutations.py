"""Defects of controllers that divide the workflows, planted one at a time in worlds of `--sharded`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from propeller.controller._handed_tokens import HandedTokens
from propeller.controller._lanes import Lanes
from propeller.informers import Selection
from propeller.kube import Request, Response
from propeller.reconcile import Election, Leadership
from propeller.reconcile.shards import FencedTransport, LabelShards, ShardMap, _membership, _shard_map
from propeller.reconcile.shards._shard_map import Step


def _a_lost_lease_is_acted_on() -> AbstractContextManager[Any]:
    """For a minute and more: then the world can end."""
    attempt = Election._attempt

    async def late(self: Election, leadership: Leadership) -> bool:
        held = leadership.valid_until > 0
        result = await attempt(self, leadership)
        late = getattr(leadership, "late", 0)
        if held and not result and late < 40:
            leadership.late = late + 1  # type: ignore[attr-defined]
            leadership.valid_until = self._clock.monotonic() + 10
        return result

    return mock.patch.object(Election, "_attempt", late)


def _a_halted_process_sends_what_it_was_about_to() -> AbstractContextManager[Any]:
    async def unchecked(self: Any, request: Request, *, deadline: float) -> Response:
        response: Response = await self._transport.send(request, deadline=deadline)
        return response

    return mock.patch.object(FencedTransport, "send", unchecked)


def _a_lease_that_has_lapsed_is_acquired_again() -> AbstractContextManager[Any]:
    async def keep(self: Election, leadership: Leadership, fuse: asyncio.Timeout) -> None:
        while not fuse.expired():
            await self._pause()
            await self._attempt(leadership)
            if not fuse.expired():
                fuse.reschedule(asyncio.get_running_loop().time() + leadership.remaining())

    return mock.patch.object(Election, "_keep", keep)


def _a_shard_is_taken_before_it_is_given_up() -> AbstractContextManager[Any]:
    advance = _shard_map.advance

    def greedy(before: ShardMap, step: Step) -> ShardMap:
        after = advance(before, step)
        mine = {} if step.leaves else dict.fromkeys(after.wanted_of(step.member), step.member)
        return ShardMap(after.count, after.members, {**after.holders, **mine}, after.wanted)

    return mock.patch.object(_membership, "advance", greedy)


def _workflows_without_a_label_are_dropped() -> AbstractContextManager[Any]:
    selection = LabelShards.selection

    def labelled(self: LabelShards, shard: int) -> Selection:
        return Selection(label_selector="shard-key=none") if shard == self.rest else selection(self, shard)

    return mock.patch.object(LabelShards, "selection", labelled)


def _what_is_under_way_goes_on_after_a_handover() -> AbstractContextManager[Any]:
    async def kept(self: Lanes, keys: Collection[str]) -> None:
        return

    return mock.patch.object(Lanes, "drop", kept)


def _tokens_of_what_is_handed_over_come_back_at_once() -> AbstractContextManager[Any]:
    def at_once(self: HandedTokens, shard: int, uids: Collection[str]) -> None:
        if self._tokens is not None:
            self._tokens.give_back(self._tokens.hand_over(uids))

    return mock.patch.object(HandedTokens, "hand_over", at_once)


SHARDED_MUTATIONS: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (
        _a_lost_lease_is_acted_on,
        _a_halted_process_sends_what_it_was_about_to,
        _a_lease_that_has_lapsed_is_acquired_again,
        _a_shard_is_taken_before_it_is_given_up,
        _workflows_without_a_label_are_dropped,
        _what_is_under_way_goes_on_after_a_handover,
        _tokens_of_what_is_handed_over_come_back_at_once,
    )
}
