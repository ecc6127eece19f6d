"""An informer of some shards: opened, closed, and seen as one."""

from __future__ import annotations

import functools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from propeller.clock import LoopClock
from propeller.embedded.faults import FaultyLink
from propeller.embedded.server import ApiServer
from propeller.errors import Unavailable
from propeller.informers import Change, Informer, Selection, ShardedInformer
from propeller.kube import CONFIG_MAPS, NAMESPACES, Client, Raw
from propeller.testing import eventually

SOON = 5.0


def selection(shard: int) -> Selection:
    return Selection(label_selector=f"key={shard}" if shard else "!key")


class Scene:
    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.user = Client(server.transport())
        self.link = FaultyLink(random.Random(0))
        client = Client(server.transport(interceptor=self.link), clock=LoopClock())
        self.informer: ShardedInformer[Raw] = ShardedInformer(
            CONFIG_MAPS,
            lambda chosen: Informer(client, CONFIG_MAPS, namespace="ns", label_selector=chosen.label_selector),
            selection,
            indexes={"key": lambda obj: [obj["metadata"].get("labels", {}).get("key", "none")]},
        )
        self.changes: list[str] = []
        self.informer.subscribe(self._note)

    def _note(self, change: Change[Raw]) -> None:
        sign = "+" if change.old is None else "-" if change.new is None else "~"
        self.changes.append(f"{sign}{change.key.removeprefix('ns/')}")

    async def create(self, name: str, key: int = 0) -> None:
        labels = {"key": str(key)} if key else {}
        await self.user.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}}, "ns")

    def names(self) -> set[str]:
        return {key.removeprefix("ns/") for key in self.informer.store.keys()}  # noqa: SIM118 - a store iterates over objects


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with ApiServer(clock=LoopClock()) as server:
        made = Scene(server)
        await made.user.create(NAMESPACES, {"metadata": {"name": "ns"}})
        for number, name in enumerate("abcdef"):
            await made.create(name, number % 3)
        async with made.informer:
            yield made


async def test_only_the_objects_of_open_shards_are_cached_also_those_without_a_label() -> None:
    async with scene() as s:
        assert s.names() == set()
        await s.informer.open(0, SOON)
        assert s.names() == {"a", "d"}
        await s.informer.open(2, SOON)
        assert s.names() == {"a", "d", "c", "f"}
        assert {obj["metadata"]["name"] for obj in s.informer.store.by_index("key", "2")} == {"c", "f"}
        assert sorted(s.informer.keys_of(2)) == ["ns/c", "ns/f"]
        await s.create("g", 2)
        await s.create("h", 1)
        await eventually(lambda: "g" in s.names())
        assert s.changes == ["+a", "+d", "+c", "+f", "+g"]


async def test_a_shard_that_is_closed_leaves_without_a_change_and_can_be_opened_again() -> None:
    async with scene() as s:
        await s.informer.open(1, SOON)
        await s.informer.open(2, SOON)
        s.changes.clear()
        await s.informer.close(1)
        await s.informer.close(1)
        assert s.names() == {"c", "f"}
        assert s.changes == []
        await s.user.delete(CONFIG_MAPS, "b", "ns")
        await s.informer.open(1, SOON)
        assert s.names() == {"c", "f", "e"}
        assert s.changes == ["+e"]
        assert s.informer.lists == 3


async def test_an_object_that_moves_between_open_shards_is_never_lost() -> None:
    async with scene() as s:
        for shard in range(3):
            await s.informer.open(shard, SOON)

        def is_in(shard: int) -> bool:
            return s.informer.shard_of("ns/a") == shard

        for turn in range(20):
            label = str(turn % 2 + 1)
            await s.user.patch(CONFIG_MAPS, "a", "ns", body={"metadata": {"labels": {"key": label}}})
            await eventually(functools.partial(is_in, int(label)))
        assert len(s.names()) == 6


async def test_an_object_that_is_forgotten_leaves_without_a_change_and_comes_back_with_its_next_event() -> None:
    async with scene() as of:
        informer = of.informer
        await informer.open(1, SOON)
        assert of.names() == {"b", "e"}
        of.changes.clear()
        informer.forget("ns/b")
        informer.forget("ns/none")
        assert (of.names(), informer.keys_of(1), of.changes) == ({"e"}, ["ns/e"], [])
        await of.user.patch(CONFIG_MAPS, "b", "ns", body={"data": {"a": "b"}})
        await eventually(lambda: of.names() == {"b", "e"})
        assert of.changes == ["+b"]
        informer.forget("ns/b")
        await of.user.delete(CONFIG_MAPS, "b", "ns")
        await of.user.delete(CONFIG_MAPS, "e", "ns")
        await eventually(lambda: not of.names())
        assert of.changes == ["+b", "-e"]


async def test_a_shard_that_cannot_be_listed_is_closed_again() -> None:
    async with scene() as s:
        await s.informer.open(0, SOON)
        s.link.partitioned = True
        with pytest.raises(Unavailable):
            await s.informer.open(1, SOON)
        assert s.informer.shards == {0}


async def test_listing_again_waits_for_every_open_shard_and_for_none_that_is_closed_meanwhile() -> None:
    async with scene() as s:
        done: list[str] = []
        s.informer.relist(lambda: done.append("none open"))
        await eventually(lambda: done == ["none open"])
        await s.informer.open(0, SOON)
        await s.informer.open(1, SOON)
        s.link.partitioned = True
        s.informer.relist(lambda: done.append("listed"))
        await s.informer.close(0)
        assert done == ["none open"]
        await s.informer.close(1)
        assert done == ["none open", "listed"]


async def test_after_a_restore_of_the_server_subscribers_hear_of_it() -> None:
    async with scene() as s:
        await s.informer.open(0, SOON)
        heard: list[int] = []
        s.informer.subscribe_restores(lambda: heard.append(1))
        copy = s.server.back_up()
        await s.create("later")
        await eventually(lambda: "later" in s.names())
        s.server.restore(copy)
        s.server.start()
        await eventually(lambda: heard == [1], deadline=200)
        assert "later" not in s.names()
        assert s.informer.restores
