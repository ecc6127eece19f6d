"""Defects planted in the protocol, each of which the witness of the members' work finds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from unittest import mock

import pytest

from propeller.kube import Client
from propeller.reconcile import ElectionOptions
from propeller.reconcile.shards import _membership, _shard_map
from propeller.reconcile.shards._members import Members
from propeller.reconcile.shards._shard_map import ShardMap, Step
from tests.unit.reconcile.shards.group import group

DURATION = ElectionOptions().duration


def _members_are_silent_after_a_second() -> AbstractContextManager[object]:
    silent = Members.silent
    return mock.patch.object(Members, "silent", lambda self, now: silent(self, now + DURATION - 1))


@contextmanager
def _whoever_is_silent_is_gone_whatever_its_lease_says() -> Iterator[None]:
    async def gone(*_: object) -> bool:
        return True

    with _members_are_silent_after_a_second(), mock.patch.object(_membership.Membership, "_is_gone", gone):
        yield


def _a_shard_is_taken_before_it_is_given_up() -> AbstractContextManager[object]:
    advance = _shard_map.advance

    def greedy(before: ShardMap, step: Step) -> ShardMap:
        after = advance(before, step)
        mine = dict.fromkeys(after.wanted_of(step.member), step.member)
        return ShardMap(after.count, after.members, {**after.holders, **mine}, after.wanted)

    return mock.patch.object(_membership, "advance", greedy)


@contextmanager
def _leases_are_deleted_in_any_version() -> Iterator[None]:
    delete = Client.delete

    async def blind(self: Client, *arguments: object, **options: object) -> None:
        options.pop("resource_version", None)
        await delete(self, *arguments, **options)  # type: ignore[arg-type]

    with _members_are_silent_after_a_second(), mock.patch.object(Client, "delete", blind):
        yield


async def _a_member_joins() -> list[str]:
    async with group() as g, g.member(slow=1.0):
        await asyncio.sleep(3)
        async with g.member(slow=1.0):
            await asyncio.sleep(10)
        return g.witness.wrong


async def _a_lost_member_goes_on() -> list[str]:
    async with group() as g, g.member(), g.member(ignores_loss=True) as (second, link):
        await asyncio.sleep(3)
        link.partitioned = True
        second.shards, kept = set(second.shards), set(second.shards)
        await asyncio.sleep(DURATION - 5)
        for _ in range(100):
            second.shards |= kept  # as if its body had not been cancelled
            await asyncio.sleep(0.2)
        return g.witness.wrong


@pytest.mark.parametrize(
    "plant",
    [
        _a_shard_is_taken_before_it_is_given_up,
        _whoever_is_silent_is_gone_whatever_its_lease_says,
        _leases_are_deleted_in_any_version,
    ],
)
async def test_a_planted_defect_is_found(plant: Callable[[], AbstractContextManager[object]]) -> None:
    assert not await _a_member_joins()
    with plant():
        assert await _a_member_joins()


async def test_a_member_that_works_on_after_its_lease_is_lost_is_found() -> None:
    assert await _a_lost_member_goes_on()
