"""What becomes of requests, watches and informers when the server or the way to it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from propeller.errors import Unavailable
from propeller.informers import Change, Informer, InformerOptions
from propeller.kube import CONFIG_MAPS, Client, ClientOptions, Raw
from propeller.testing import HttpServerUnderTest, TcpProxy
from tests.contract.objects import DEADLINE, config_map, name_of, version, version_now, watching

SOON = ClientOptions(deadline=2.0)
IMPATIENT = InformerOptions(backoff=0.05, backoff_cap=0.5, progress_deadline=2.0)


@asynccontextmanager
async def through_proxy(server: HttpServerUnderTest) -> AsyncIterator[tuple[TcpProxy, Client]]:
    async with TcpProxy(server.url) as proxy, server.connect(server=proxy.url, settings=SOON) as client:
        yield proxy, client


class Follower:
    """An informer, and what it told: that no object ever went back, and that the store was never empty once filled."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.informer: Informer[Raw] = Informer(client, CONFIG_MAPS, namespace=namespace, settings=IMPATIENT)
        self.versions: dict[str, int] = {}
        self.smallest = 0
        self.informer.subscribe(self._note)

    def _note(self, change: Change[Any]) -> None:
        self.smallest = min(self.smallest, len(self.informer.store)) if self.smallest else len(self.informer.store)
        if change.new is not None:
            assert version(change.new) > self.versions.get(change.key, 0)
            self.versions[change.key] = version(change.new)

    async def equals_a_fresh_list(self, server: HttpServerUnderTest) -> None:
        page = await server.client.list(CONFIG_MAPS, server.namespace)
        expected = {name_of(item): version(item) for item in page.items}
        async with asyncio.timeout(DEADLINE):
            while {name_of(obj): version(obj) for obj in self.informer.store} != expected:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def following(client: Client, server: HttpServerUnderTest) -> AsyncIterator[Follower]:
    """An informer of the namespace, with two objects to begin with."""
    for name in ("kept", "lost"):
        await server.client.create(CONFIG_MAPS, config_map(name), server.namespace)
    follower = Follower(client, server.namespace)
    async with follower.informer:
        await follower.informer.wait_for_sync(DEADLINE)
        yield follower


async def change_all(server: HttpServerUnderTest) -> None:
    """One object of each fate: created, changed, deleted."""
    await server.client.create(CONFIG_MAPS, config_map("new"), server.namespace)
    await server.client.patch(CONFIG_MAPS, "kept", server.namespace, body={"data": {"k": "v"}})
    await server.client.delete(CONFIG_MAPS, "lost", server.namespace)


async def test_a_watch_whose_connection_is_cut_raises(http_server: HttpServerUnderTest) -> None:
    async with through_proxy(http_server) as (proxy, client):
        start = await version_now(client, CONFIG_MAPS, http_server.namespace)
        async with watching(client, CONFIG_MAPS, http_server.namespace, start) as watched:
            await http_server.client.create(CONFIG_MAPS, config_map("a"), http_server.namespace)
            await watched.take(1)
            proxy.cut()
            with pytest.raises(Unavailable, match="was cut"):
                await watched.end()


async def test_a_request_to_a_server_that_is_not_there_names_it(http_server: HttpServerUnderTest) -> None:
    async with through_proxy(http_server) as (proxy, client):
        await proxy.refuse()
        with pytest.raises(Unavailable, match=f"{proxy.url} cannot be reached for POST"):
            await client.create(CONFIG_MAPS, config_map("a"), http_server.namespace)
        await proxy.listen()
        await client.create(CONFIG_MAPS, config_map("a"), http_server.namespace)


async def test_a_read_outlasts_a_short_outage(http_server: HttpServerUnderTest) -> None:
    async with through_proxy(http_server) as (proxy, client):
        await http_server.client.create(CONFIG_MAPS, config_map("a"), http_server.namespace)
        await proxy.refuse()
        reading = asyncio.create_task(client.get(CONFIG_MAPS, "a", http_server.namespace))
        await asyncio.sleep(0.2)
        await proxy.listen()
        assert name_of(await reading) == "a"


async def test_a_write_after_the_idle_connections_died_succeeds(http_server: HttpServerUnderTest) -> None:
    async with through_proxy(http_server) as (proxy, client):
        await client.list(CONFIG_MAPS, http_server.namespace)
        proxy.cut()
        await asyncio.sleep(0.05)
        await client.create(CONFIG_MAPS, config_map("a"), http_server.namespace)


async def test_an_informer_follows_through_a_cut(http_server: HttpServerUnderTest) -> None:
    async with through_proxy(http_server) as (proxy, client), following(client, http_server) as follower:
        proxy.cut()
        await change_all(http_server)
        await follower.equals_a_fresh_list(http_server)
        assert follower.smallest >= 1


async def test_an_informer_follows_through_an_outage(http_server: HttpServerUnderTest) -> None:
    async with through_proxy(http_server) as (proxy, client), following(client, http_server) as follower:
        await proxy.refuse()
        await change_all(http_server)
        await asyncio.sleep(0.3)
        await proxy.listen()
        await follower.equals_a_fresh_list(http_server)
        assert follower.informer.failures > 0


async def test_an_informer_notices_a_half_open_stream(http_server: HttpServerUnderTest) -> None:
    async with through_proxy(http_server) as (proxy, client), following(client, http_server) as follower:
        before = proxy.accepted
        proxy.freeze()
        await change_all(http_server)
        await follower.equals_a_fresh_list(http_server)
        assert proxy.accepted > before
        assert follower.smallest >= 1


async def test_an_informer_on_a_slow_way_loses_nothing(http_server: HttpServerUnderTest) -> None:
    async with through_proxy(http_server) as (proxy, client), following(client, http_server) as follower:
        proxy.throttle(400_000)
        for number in range(5):
            await http_server.client.create(
                CONFIG_MAPS, config_map(f"c{number}", text="x" * 50_000), http_server.namespace
            )
        await follower.equals_a_fresh_list(http_server)


async def test_an_informer_follows_through_a_restart_of_the_server(http_server: HttpServerUnderTest) -> None:
    async with following(http_server.client, http_server) as follower:
        await http_server.restart()
        await change_all(http_server)
        await follower.equals_a_fresh_list(http_server)
        assert follower.smallest >= 1


async def test_an_informer_whose_version_was_forgotten_meanwhile_lists_again_without_being_empty(
    http_server: HttpServerUnderTest,
) -> None:
    async with through_proxy(http_server) as (proxy, client), following(client, http_server) as follower:
        await proxy.refuse()
        await change_all(http_server)
        await http_server.forget()
        await proxy.listen()
        await follower.equals_a_fresh_list(http_server)
        assert follower.smallest >= 1
