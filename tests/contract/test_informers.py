"""Informers against a server: at every quiet point the store is the list."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from propeller.errors import NotFound
from propeller.informers import Change, Informer, InformerOptions, UidShard, key_of
from propeller.kube import CONFIG_MAPS, PODS, Event, EventType, KubeObject, Raw, Request
from propeller.testing import HttpServerUnderTest, ServerUnderTest
from tests.contract.custom_resources import PLAIN, install_plains
from tests.contract.objects import DEADLINE, config_map, name_of, pod, version, version_now, watching

MANY = 10_000


def versions(objects: Any) -> dict[str, int]:
    return {key_of(obj): version(obj) for obj in objects}


async def listed(server: ServerUnderTest, **selectors: str) -> tuple[dict[str, int], str]:
    found: dict[str, int] = {}
    version_listed = ""
    async for page in server.client.pages(CONFIG_MAPS, server.namespace, **selectors):
        found |= versions(page.items)
        version_listed = page.resource_version
    return found, version_listed


async def write_randomly(server: ServerUnderTest, rng: random.Random, count: int) -> str:
    """Create, change, relabel and delete; returns the last version written."""
    last = ""
    for number in range(count):
        name = f"c{rng.randrange(12)}"
        labels = {"in": rng.choice(["yes", "no"])}
        body = {"metadata": {"labels": labels}, "data": {"n": str(number)}}
        try:
            if rng.random() < 0.3:
                await server.client.delete(CONFIG_MAPS, name, server.namespace)
                continue
            last = (await server.client.patch(CONFIG_MAPS, name, server.namespace, body=body))["metadata"][
                "resourceVersion"
            ]
        except NotFound:
            made = await server.client.create(CONFIG_MAPS, config_map(name, labels=labels), server.namespace)
            last = made["metadata"]["resourceVersion"]
    return last


@pytest.fixture(params=[False, True], ids=["pages", "streams"])
def lists(request: pytest.FixtureRequest) -> InformerOptions:
    """Whichever way an informer lists."""
    return InformerOptions(stream_lists=request.param)


async def test_the_store_is_the_list_whatever_is_written(server: ServerUnderTest, lists: InformerOptions) -> None:
    rng = random.Random(7)
    informers = {
        selector: Informer(
            server.client, CONFIG_MAPS, namespace=server.namespace, label_selector=selector, settings=lists
        )
        for selector in ("", "in=yes", "in!=yes")
    }
    async with informers[""], informers["in=yes"], informers["in!=yes"]:
        for informer in informers.values():
            await informer.wait_for_sync(DEADLINE)
        for _ in range(3):
            await write_randomly(server, rng, 60)
            mark = await server.client.create(CONFIG_MAPS, {"metadata": {"generateName": "mark-"}}, server.namespace)
            for selector, informer in informers.items():
                expected, _ = await listed(server, label_selector=selector)
                if selector != "in=yes":
                    await informer.wait_for_version(mark["metadata"]["resourceVersion"], DEADLINE)
                async with asyncio.timeout(DEADLINE):
                    while versions(informer.store) != expected:
                        await asyncio.sleep(0.01)


async def test_changes_tell_the_store_step_by_step(server: ServerUnderTest, lists: InformerOptions) -> None:
    mirror: dict[str, int] = {}

    def follow(change: Change[Raw]) -> None:
        assert (change.old is None) == (change.key not in mirror)
        if change.new is None:
            del mirror[change.key]
        else:
            assert version(change.new) > mirror.get(change.key, 0)
            mirror[change.key] = version(change.new)

    async with Informer(server.client, CONFIG_MAPS, namespace=server.namespace, settings=lists) as informer:
        informer.subscribe(follow)
        await informer.wait_for_sync(DEADLINE)
        last = await write_randomly(server, random.Random(11), 80)
        await informer.wait_for_version(last, DEADLINE)
        assert mirror == versions(informer.store)


async def test_an_own_write_is_in_the_store_once_its_version_is_reached(server: ServerUnderTest) -> None:
    async with Informer(server.client, PODS, namespace=server.namespace) as informer:
        await informer.wait_for_sync(DEADLINE)
        for number in range(20):
            made = await server.client.create(PODS, pod(f"p{number}"), server.namespace)
            await informer.wait_for_version(made.metadata.resource_version, DEADLINE)
            assert informer.store.get(f"{server.namespace}/p{number}") == made


async def watch_all(server: ServerUnderTest, since: str) -> list[Event[Any]]:
    """The changes of `MANY` objects. A server ends the watch of a client that falls behind, which resumes it."""
    changes: list[Event[Any]] = []
    while len(changes) < MANY:
        at = str(version(changes[-1].object)) if changes else since
        async with aclosing(server.client.watch(CONFIG_MAPS, server.namespace, resource_version=at)) as events:
            async for event in events:
                if event.type is not EventType.BOOKMARK:
                    changes.append(event)
                if len(changes) == MANY:
                    break
    return changes


async def test_ten_thousand_objects_are_watched_listed_in_pages_and_streamed(server: ServerUnderTest) -> None:
    start = await version_now(server.client, CONFIG_MAPS, server.namespace)
    at_once = asyncio.Semaphore(64)

    async def create(number: int) -> None:
        async with at_once:
            await server.client.create(CONFIG_MAPS, config_map(f"c{number}"), server.namespace)

    async with asyncio.TaskGroup() as group:
        watching_all = group.create_task(watch_all(server, start))
        await asyncio.gather(*(create(number) for number in range(MANY)))
        async with asyncio.timeout(DEADLINE):
            changes = await watching_all
    seen = [version(event.object) for event in changes]
    assert seen == sorted(set(seen))
    expected, _ = await listed(server)
    assert len(expected) == MANY
    assert versions(event.object for event in changes) == expected
    async with watching(server.client, CONFIG_MAPS, server.namespace, "", initial_events=True) as streamed:
        await streamed.until(lambda: bool(streamed.bookmarks))
    assert versions(event.object for event in streamed.changes) == expected
    for streams in (False, True):
        lists = InformerOptions(stream_lists=streams)
        async with Informer(server.client, CONFIG_MAPS, namespace=server.namespace, settings=lists) as informer:
            await informer.wait_for_sync(DEADLINE)
            assert versions(informer.store) == expected


async def test_of_objects_whose_metadata_alone_is_asked_for_nothing_else_is_sent(
    server: ServerUnderTest, lists: InformerOptions
) -> None:
    asked = CONFIG_MAPS.metadata_only()
    raw = msgspec.structs.replace(CONFIG_MAPS, partial=True)
    other = await server.client.create(raw, config_map("b"), server.namespace)
    changed = await server.client.patch(raw, "b", server.namespace, body={"data": {"n": "1"}})
    for answer in (other, changed):
        assert answer.keys() == {"kind", "apiVersion", "metadata"}
    assert changed["metadata"]["resourceVersion"] > other["metadata"]["resourceVersion"]
    assert (await server.client.get(CONFIG_MAPS, "b", server.namespace))["data"]["n"] == "1"
    await server.client.delete(CONFIG_MAPS, "b", server.namespace)
    made = await server.client.create(CONFIG_MAPS, config_map("a", labels={"in": "yes"}), server.namespace)
    alone = await server.client.get(raw, "a", server.namespace)
    assert alone.keys() == {"kind", "apiVersion", "metadata"}
    assert alone["metadata"] == made["metadata"]
    async with Informer(server.client, asked, namespace=server.namespace, settings=lists) as informer:
        await informer.wait_for_sync(DEADLINE)
        found = informer.store.get(f"{server.namespace}/a")
        assert found is not None
        assert found.metadata.labels == {"in": "yes"}
        await server.client.patch(CONFIG_MAPS, "a", server.namespace, body={"data": {"n": "1"}})
        labels = {"metadata": {"labels": {"in": "no"}}}
        last = await server.client.patch(CONFIG_MAPS, "a", server.namespace, body=labels)
        await informer.wait_for_version(last["metadata"]["resourceVersion"], DEADLINE)
        found = informer.store.get(f"{server.namespace}/a")
        assert found is not None
        assert found.metadata.labels == {"in": "no"}


class Typed(KubeObject, frozen=True, rename="camel"):
    """A custom resource as a controller reads it. Its definition says nothing of types: anybody may write anything."""

    status: dict[str, Any] = msgspec.field(default_factory=dict)


async def test_an_object_that_is_not_of_its_type_hides_no_other(server: ServerUnderTest) -> None:
    await install_plains(server.client)
    typed = PLAIN.typed(Typed)
    for name, status in (("bad", "text"), ("good", {"phase": 1})):
        await server.client.create(PLAIN, {"metadata": {"name": name}, "status": status}, server.namespace)
    async with Informer(server.client, typed, namespace=server.namespace) as informer:
        await informer.wait_for_sync(DEADLINE)
        assert [obj.metadata.name for obj in informer.store] == ["good"]
        await server.client.patch(PLAIN, "good", server.namespace, body={"status": ["text"]})
        mended = await server.client.patch(PLAIN, "bad", server.namespace, body={"status": {"phase": 2}})
        await informer.wait_for_version(mended["metadata"]["resourceVersion"], DEADLINE)
        assert sorted(obj.status["phase"] for obj in informer.store) == [1, 2]
        (undecodable,) = informer.undecodable.values()
        assert undecodable.key == f"{server.namespace}/good"
        assert undecodable.error == "status: expected an object, found a list"
        assert informer.failures == 0


async def test_an_object_that_is_nested_too_deep_hides_no_other(real_server: HttpServerUnderTest) -> None:
    """Go's decoders go ten times as deep as ours; the embedded server refuses such an object."""
    server = real_server
    await install_plains(server.client)
    deep = b"[" * 5000 + b"]" * 5000
    body = (
        b'{"apiVersion":"contract.example.org/v1alpha1","kind":"Plain","metadata":{"name":"deep"},"spec":{"x":%s}}'
        % deep
    )
    headers = {"content-type": "application/json"}
    request = Request(method="POST", path=PLAIN.path(server.namespace), headers=headers, body=body)
    await server.client.create(PLAIN, {"metadata": {"name": "good"}}, server.namespace)
    async with Informer(server.client, PLAIN, namespace=server.namespace) as informer:
        await informer.wait_for_sync(DEADLINE)
        assert (await server.client.transport.send(request, deadline=20)).status == 201
        later = await server.client.create(PLAIN, {"metadata": {"name": "later"}}, server.namespace)
        await informer.wait_for_version(later["metadata"]["resourceVersion"], DEADLINE)
        assert sorted(name_of(obj) for obj in informer.store) == ["good", "later"]
    page = await server.client.list(PLAIN, server.namespace)
    assert [name_of(item) for item in page.items] == ["good", "later"]
    assert [found.metadata.name for found in page.undecodable] == ["deep"]


async def test_shards_part_a_kind_among_informers_whether_the_server_knows_them_or_not(
    server: ServerUnderTest, lists: InformerOptions
) -> None:
    informers = [
        Informer(server.client, CONFIG_MAPS, namespace=server.namespace, shard=UidShard(number, 3), settings=lists)
        for number in range(3)
    ]
    await write_randomly(server, random.Random(5), 40)
    async with informers[0], informers[1], informers[2]:
        for informer in informers:
            await informer.wait_for_sync(DEADLINE)
        await write_randomly(server, random.Random(6), 60)
        expected, _ = await listed(server)
        async with asyncio.timeout(DEADLINE):
            while sum(len(informer.store) for informer in informers) != len(expected) or any(
                versions(informer.store).items() - expected.items() for informer in informers
            ):
                await asyncio.sleep(0.01)
        for number, informer in enumerate(informers):
            assert all(UidShard(number, 3).holds(obj["metadata"]["uid"]) for obj in informer.store)


async def test_a_server_with_sharded_lists_sends_the_shard_alone(real_server: HttpServerUnderTest) -> None:
    client, namespace = real_server.client, real_server.namespace
    for number in range(20):
        await client.create(CONFIG_MAPS, config_map(f"c{number}"), namespace)
    parts = [
        await client.list(CONFIG_MAPS, namespace, shard_selector=UidShard(number, 2).selector) for number in range(2)
    ]
    assert [part.shard_selector for part in parts] == [UidShard(number, 2).selector for number in range(2)]
    assert sum(len(part.items) for part in parts) == len((await client.list(CONFIG_MAPS, namespace)).items)
    assert all(UidShard(0, 2).holds(obj["metadata"]["uid"]) for obj in parts[0].items)
