"""The history of changes: its window, compaction, a restart."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from propeller.clock import LoopClock
from propeller.config import ApiServerOptions
from propeller.embedded.server import ApiServer
from propeller.errors import ResourceExpired, Unavailable
from propeller.kube import CONFIG_MAPS, PODS, Client
from tests.unit.server.asking import DEFAULT, ask, config_map, names, send, watching


async def make(client: Client, *given: str) -> str:
    """Config maps of these names; the version of the last."""
    version = ""
    for name in given:
        version = (await client.create(CONFIG_MAPS, config_map(name), "default"))["metadata"]["resourceVersion"]
    return version


def small(**settings: int) -> ApiServer:
    return ApiServer(ApiServerOptions(**settings), clock=LoopClock(), randomness=random.Random(0))


async def test_a_watch_from_before_the_window_gets_410_in_the_stream() -> None:
    async with small(history_changes=10) as server:
        client = Client(server.transport())
        first = await make(client, "a")
        await make(client, *(f"b{number}" for number in range(12)))
        answer = await send(server, "GET", f"{DEFAULT}/configmaps", watch="true", resourceVersion=first)
        event = json.loads(answer.body)
        assert answer.status == 200
        assert event["type"] == "ERROR"
        assert event["object"]["code"] == 410
        assert event["object"]["message"].startswith(f"too old resource version: {first} (")


async def test_the_window_is_bounded_in_bytes_too() -> None:
    async with small(history_bytes=10_000) as server:
        client = Client(server.transport())
        first = await make(client, "a")
        for number in range(10):
            await client.create(CONFIG_MAPS, {**config_map(f"b{number}"), "data": {"k": "x" * 2000}}, "default")
        with pytest.raises(ResourceExpired):
            await anext(client.watch(CONFIG_MAPS, "default", resource_version=first))


async def test_an_object_larger_than_the_window_still_reaches_watchers() -> None:
    async with small(history_bytes=1000) as server:
        client = Client(server.transport())
        async with watching(client, CONFIG_MAPS, "default", resource_version="0") as seen:
            await client.create(CONFIG_MAPS, {**config_map("large"), "data": {"k": "x" * 5000}}, "default")
            await asyncio.sleep(0.01)
            assert [event.object["metadata"]["name"] for event in seen] == ["large"]


async def test_changes_of_one_kind_do_not_push_anothers_out_of_its_window() -> None:
    async with small(history_changes=10) as server:
        client = Client(server.transport())
        first = str(server.resource_version)
        await make(client, *(f"b{number}" for number in range(50)))
        watch = client.watch(PODS, "default", resource_version=first, timeout_seconds=1, bookmarks=False)
        assert [event async for event in watch] == []


async def test_a_page_from_before_the_window_is_refused_with_a_token_for_the_rest() -> None:
    async with small(history_changes=10) as server:
        client = Client(server.transport())
        await make(client, *"abcd")
        page = await client.list(CONFIG_MAPS, "default", limit=2)
        await make(client, *(f"e{number}" for number in range(12)))
        refused = await ask(server, "GET", f"{DEFAULT}/configmaps", limit="2", **{"continue": page.continue_token})
        assert (refused["code"], refused["reason"]) == (410, "Expired")
        rest = await client.list(CONFIG_MAPS, "default", continue_token=refused["metadata"]["continue"])
        assert [one["metadata"]["name"] for one in rest.items][:2] == ["c", "d"]


async def test_after_a_compaction_nothing_older_than_now_can_be_resumed_from(server: ApiServer, client: Client) -> None:
    before = await make(client, "a")
    now = await make(client, "b")
    server.compact()
    with pytest.raises(ResourceExpired):
        await anext(client.watch(CONFIG_MAPS, "default", resource_version=before))
    stale = await send(server, "GET", f"{DEFAULT}/configmaps", resourceVersion=before, resourceVersionMatch="Exact")
    assert stale.status == 410
    async with watching(client, CONFIG_MAPS, "default", resource_version=now) as seen:
        await make(client, "c")
        await asyncio.sleep(0.01)
        assert [event.object["metadata"]["name"] for event in seen] == ["c"]


async def test_an_open_watch_goes_on_over_a_compaction(server: ApiServer, client: Client) -> None:
    async with watching(client, CONFIG_MAPS, "default", resource_version=await make(client, "a")) as seen:
        await make(client, "b")
        await asyncio.sleep(0.01)
        server.compact()
        await make(client, "c")
        await asyncio.sleep(0.01)
        assert [event.object["metadata"]["name"] for event in seen] == ["b", "c"]


async def test_a_reader_that_falls_behind_the_window_is_cut_off() -> None:
    async with small(history_changes=10) as server:
        client = Client(server.transport())
        version = await make(client, "a")
        watch = client.watch(CONFIG_MAPS, "default", resource_version=version, bookmarks=False)
        await make(client, "b")
        assert (await anext(watch)).object["metadata"]["name"] == "b"
        await make(client, *(f"c{number}" for number in range(20)))
        assert [event async for event in watch] == []


async def test_dropped_watches_break_and_can_be_resumed(server: ApiServer, client: Client) -> None:
    version = await make(client, "a")
    watch = client.watch(CONFIG_MAPS, "default", resource_version=version)
    await make(client, "b")
    seen = await anext(watch)
    server.drop_watches()
    with pytest.raises(Unavailable, match="the connection was reset"):
        await anext(watch)
    await make(client, "c")
    resumed = client.watch(CONFIG_MAPS, "default", resource_version=seen.object["metadata"]["resourceVersion"])
    assert (await anext(resumed)).object["metadata"]["name"] == "c"
    await resumed.aclose()


async def test_a_stopped_server_answers_no_request_and_keeps_its_objects(server: ApiServer, client: Client) -> None:
    version = await make(client, "a")
    watch = client.watch(CONFIG_MAPS, "default", resource_version="0")
    await anext(watch)
    server.stop()
    with pytest.raises(Unavailable, match="went away"):
        await anext(watch)
    with pytest.raises(Unavailable, match="connection refused"):
        await make(client, "b")
    server.start()
    assert "a" in await names(client, CONFIG_MAPS)
    with pytest.raises(ResourceExpired):
        await anext(client.watch(CONFIG_MAPS, "default", resource_version=str(int(version) - 1)))


async def test_pages_go_on_over_a_restart(server: ApiServer, client: Client) -> None:
    await make(client, *"abcd")
    page = await client.list(CONFIG_MAPS, "default", limit=2)
    await client.delete(CONFIG_MAPS, "c", "default")
    server.stop()
    server.start()
    rest = await client.list(CONFIG_MAPS, "default", continue_token=page.continue_token)
    assert "c" in [one["metadata"]["name"] for one in rest.items]


async def test_a_server_that_is_left_ends_its_watches_and_its_tasks() -> None:
    async with small() as server:
        client = Client(server.transport())
        watch = client.watch(CONFIG_MAPS, "default", resource_version="0")
        await make(client, "a")
        await anext(watch)
    with pytest.raises(Unavailable):
        await anext(watch)
    assert [task.get_name() for task in asyncio.all_tasks()] == [asyncio.current_task().get_name()]  # type: ignore[union-attr]
