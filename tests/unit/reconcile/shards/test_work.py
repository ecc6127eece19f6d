"""What a member works on follows the map, whatever of it became known when."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from propeller.reconcile.shards._work import Work


class Server:
    """Notes which shards it works on."""

    def __init__(self) -> None:
        self.shards: set[int] = set()

    async def take(self, shard: int) -> None:
        self.shards.add(shard)

    async def give_up(self, shards: Collection[int]) -> None:
        self.shards -= set(shards)

    def loads(self) -> Mapping[int, float]:
        return {}


async def test_a_shard_that_another_is_to_have_is_written_as_free_once_its_work_has_ended() -> None:
    server = Server()
    work = Work(server, lambda: None)
    work.follow(frozenset({1, 2}), frozenset({1, 2}))
    await asyncio.sleep(0)
    assert server.shards == {1, 2}
    work.follow(frozenset({1, 2}), frozenset({1}))
    assert not work.stopped
    await asyncio.sleep(0.01)
    assert server.shards == {1}
    assert work.stopped == {2}


async def test_a_shard_that_another_is_to_have_before_its_work_begins_is_written_as_free() -> None:
    """The write that took it had no answer, and by then it was to be another's: held for ever, nobody worked on it."""
    server, calls = Server(), []
    work = Work(server, lambda: calls.append("changed"))
    work.follow(frozenset({1, 2}), frozenset({1}))
    assert work.stopped == {2}
    assert calls == ["changed"]
    await asyncio.sleep(0)
    assert server.shards == {1}
    work.follow(frozenset({1}), frozenset({1}))
    assert not work.stopped
