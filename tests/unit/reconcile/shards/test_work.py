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


class Failing(Server):
    """Fails at what it does first."""

    def __init__(self) -> None:
        super().__init__()
        self.takes = self.gives_up = 2

    async def take(self, shard: int) -> None:
        await super().take(shard)
        self.takes -= 1
        if self.takes >= 0:
            raise ZeroDivisionError

    async def give_up(self, shards: Collection[int]) -> None:
        self.gives_up -= 1
        if self.gives_up >= 0:
            raise ZeroDivisionError
        await super().give_up(shards)


async def test_a_shard_that_a_defect_keeps_from_being_begun_is_not_ready_and_is_begun_again() -> None:
    server = Failing()
    work = Work(server, lambda: None)
    work.follow(frozenset({1}), frozenset({1}))
    await asyncio.sleep(0.01)
    assert not work.ready
    await asyncio.sleep(3600)
    assert work.ready == server.shards == {1}


async def test_a_shard_that_a_defect_keeps_from_being_given_up_is_not_free_before_it_is() -> None:
    server = Failing()
    server.takes = 0
    work = Work(server, lambda: None)
    work.follow(frozenset({1}), frozenset({1}))
    await asyncio.sleep(0.01)
    work.follow(frozenset({1}), frozenset())
    await asyncio.sleep(0.01)
    work.follow(frozenset({1}), frozenset())
    assert server.shards == {1}
    assert not work.stopped
    await asyncio.sleep(3600)
    assert not server.shards
    assert work.stopped == {1}
