"""Events go after a while."""

from __future__ import annotations

import asyncio
import random

from propeller.clock import LoopClock
from propeller.config import ApiServerOptions
from propeller.embedded.server import ApiServer
from propeller.kube import CONFIG_MAPS, EVENTS, Client
from tests.unit.server.asking import config_map, names

ABOUT = {"involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "Started", "type": "Normal"}


async def test_an_event_goes_an_hour_after_it_was_made(client: Client) -> None:
    await client.create(EVENTS, {"metadata": {"name": "e"}, **ABOUT}, "default")
    await asyncio.sleep(3590)
    assert await names(client, EVENTS) == ["e"]
    await asyncio.sleep(100)
    assert await names(client, EVENTS) == []


async def test_an_event_that_happens_again_stays_for_another_hour(client: Client) -> None:
    await client.create(EVENTS, {"metadata": {"name": "e"}, **ABOUT}, "default")
    await asyncio.sleep(3000)
    again = {"count": 2, "lastTimestamp": "2023-11-14T23:03:20Z"}  # 3000 s after the clock's start
    await client.patch(EVENTS, "e", "default", body=again)
    await asyncio.sleep(3500)
    assert await names(client, EVENTS) == ["e"]
    await asyncio.sleep(200)
    assert await names(client, EVENTS) == []


async def test_nothing_else_expires(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    await asyncio.sleep(100_000)
    assert await names(client, CONFIG_MAPS) == ["a"]


async def test_the_lifetime_is_a_setting() -> None:
    async with ApiServer(ApiServerOptions(event_ttl=60), clock=LoopClock(), randomness=random.Random(0)) as server:
        client = Client(server.transport())
        await client.create(EVENTS, {"metadata": {"name": "e"}, **ABOUT}, "default")
        await asyncio.sleep(62)
        assert await names(client, EVENTS) == []
