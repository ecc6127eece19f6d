"""Bookmarks and the end of watches, by the clock."""

from __future__ import annotations

import asyncio
import random

from propeller.clock import LoopClock
from propeller.config import ApiServerOptions
from propeller.embedded.server import ApiServer
from propeller.kube import CONFIG_MAPS, PODS, Client, EventType
from propeller.testing import now
from tests.unit.server.asking import config_map, watching


async def test_a_quiet_watch_gets_a_bookmark_about_every_minute(server: ApiServer, client: Client) -> None:
    async with watching(client, PODS, "default", resource_version=str(server.resource_version)) as seen:
        await client.create(CONFIG_MAPS, config_map("a"), "default")
        await asyncio.sleep(600)
        assert 10 <= len(seen) <= 14
        assert {event.type for event in seen} == {EventType.BOOKMARK}
        assert seen[0].object.metadata.resource_version == str(server.resource_version)


async def test_a_watch_that_wants_no_bookmarks_gets_none(server: ApiServer, client: Client) -> None:
    version = str(server.resource_version)
    async with watching(client, PODS, "default", resource_version=version, bookmarks=False) as seen:
        await asyncio.sleep(600)
        assert seen == []


async def test_the_interval_is_a_setting() -> None:
    async with ApiServer(
        ApiServerOptions(bookmark_interval=5), clock=LoopClock(), randomness=random.Random(0)
    ) as server:
        client = Client(server.transport())
        async with watching(client, PODS, "default", resource_version=str(server.resource_version)) as seen:
            await asyncio.sleep(50)
            assert 10 <= len(seen) <= 14


async def test_the_last_bookmark_comes_shortly_before_the_watch_ends(server: ApiServer, client: Client) -> None:
    version = str(server.resource_version)
    begun = now()
    watch = client.watch(PODS, "default", resource_version=version, timeout_seconds=20)
    bookmark = await anext(watch)
    assert (bookmark.type, now() - begun) == (EventType.BOOKMARK, 18.0)
    assert [event async for event in watch] == []
    assert now() - begun == 20.0


async def test_a_watch_without_a_timeout_ends_within_an_hour(server: ApiServer, client: Client) -> None:
    begun = now()
    watch = client.watch(PODS, "default", resource_version=str(server.resource_version), bookmarks=False)
    assert [event async for event in watch] == []
    assert 1800 <= now() - begun <= 3600


async def test_the_end_of_the_initial_events_is_marked_before_anything_later(server: ApiServer, client: Client) -> None:
    for name in "abc":
        await client.create(CONFIG_MAPS, config_map(name), "default")
    watch = client.watch(CONFIG_MAPS, "default", resource_version="0", initial_events=True)
    first = await anext(watch)
    await client.create(CONFIG_MAPS, config_map("later"), "default")
    shown = [first] + [await anext(watch) for _ in range(4)]
    assert [event.type for event in shown] == [EventType.ADDED] * 3 + [EventType.BOOKMARK, EventType.ADDED]
    assert shown[3].object["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert shown[4].object["metadata"]["name"] == "later"
    await watch.aclose()
