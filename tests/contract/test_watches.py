"""Watches: order, selection, bookmarks, old versions, ends, and many at once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest

from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import Rejected, ResourceExpired
from propeller.kube import CONFIG_MAPS, PODS, Raw, Request
from propeller.testing import HttpServerUnderTest, ServerUnderTest
from tests.contract.custom_resources import install_flyte_workflows
from tests.contract.objects import DEADLINE, config_map, name_of, pod, version, version_now, watching


async def test_a_watch_brings_what_happened_after_its_version_in_order(server: ServerUnderTest) -> None:
    await server.client.create(CONFIG_MAPS, config_map("before"), server.namespace)
    start = await version_now(server.client, CONFIG_MAPS, server.namespace)
    await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    async with watching(server.client, CONFIG_MAPS, server.namespace, start) as watched:
        await server.client.patch(CONFIG_MAPS, "a", server.namespace, body={"data": {"k": "v"}})
        await server.client.create(CONFIG_MAPS, config_map("b"), server.namespace)
        await server.client.delete(CONFIG_MAPS, "a", server.namespace)
        assert await watched.take(4) == [("ADDED", "a"), ("MODIFIED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    versions = [version(event.object) for event in watched.changes]
    assert versions == sorted(set(versions))
    assert versions[0] > int(start)


async def test_a_watch_resumes_after_the_last_version_seen(server: ServerUnderTest) -> None:
    start = await version_now(server.client, CONFIG_MAPS, server.namespace)
    for name in "abc":
        await server.client.create(CONFIG_MAPS, config_map(name), server.namespace)
    async with watching(server.client, CONFIG_MAPS, server.namespace, start) as watched:
        await watched.take(2)
    after = watched.changes[1].object["metadata"]["resourceVersion"]
    async with watching(server.client, CONFIG_MAPS, server.namespace, after) as resumed:
        assert await resumed.take(1) == [("ADDED", "c")]


async def test_a_watch_from_a_version_yet_to_come_brings_what_happens_after_it(server: ServerUnderTest) -> None:
    """As of a client that was there before the server was restored from an older copy."""
    to_come = int(await version_now(server.client, CONFIG_MAPS, server.namespace)) + 20
    made: list[Raw] = []
    async with watching(server.client, CONFIG_MAPS, server.namespace, str(to_come)) as watched:
        while not made or version(made[-1]) <= to_come:
            made.append(await server.client.create(CONFIG_MAPS, config_map(f"c{len(made)}"), server.namespace))
        assert await watched.take(1) == [("ADDED", name_of(made[-1]))]
    assert len(made) > 1


async def test_a_write_that_changes_nothing_is_no_event(server: ServerUnderTest) -> None:
    made = await server.client.create(CONFIG_MAPS, config_map("a", k="v"), server.namespace)
    async with watching(server.client, CONFIG_MAPS, server.namespace, made["metadata"]["resourceVersion"]) as watched:
        await server.client.patch(CONFIG_MAPS, "a", server.namespace, body={"data": {"k": "v"}})
        await server.client.create(CONFIG_MAPS, config_map("b"), server.namespace)
        assert await watched.take(1) == [("ADDED", "b")]


async def test_objects_move_into_and_out_of_a_label_selection(server: ServerUnderTest) -> None:
    start = await version_now(server.client, CONFIG_MAPS, server.namespace)

    async def label(value: str | None, **data: str) -> Raw:
        body = {"metadata": {"labels": {"in": value}}, "data": data}
        return await server.client.patch(CONFIG_MAPS, "a", server.namespace, body=body)

    async with watching(server.client, CONFIG_MAPS, server.namespace, start, label_selector="in=yes") as watched:
        await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
        await label("yes", k="1")
        await label("yes", k="2")
        left = await label("no", k="3")
        await label("no", k="4")
        await server.client.delete(CONFIG_MAPS, "a", server.namespace)
        await server.client.create(CONFIG_MAPS, config_map("b", labels={"in": "yes"}), server.namespace)
        expected = [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "b")]
        assert await watched.take(4) == expected
    deleted = watched.changes[2].object
    assert deleted["data"] == {"k": "2"}  # its last state in the selection
    assert version(deleted) == version(left)  # at the version of the write that took it out


async def test_objects_move_out_of_a_field_selection(server: ServerUnderTest) -> None:
    made = await server.client.create(PODS, pod("a", node="n"), server.namespace)
    start = made.metadata.resource_version
    selector = "status.phase!=Succeeded,spec.nodeName=n"
    async with watching(server.client, PODS, server.namespace, start, field_selector=selector) as watched:
        for phase in ("Running", "Succeeded"):
            body = {"status": {"phase": phase}}
            await server.client.patch(PODS, "a", server.namespace, body=body, subresource="status")
        assert await watched.take(2) == [("MODIFIED", "a"), ("DELETED", "a")]
    assert watched.changes[1].object.status.phase == "Running"


async def test_a_watch_of_one_object_sees_no_other(server: ServerUnderTest) -> None:
    start = await version_now(server.client, CONFIG_MAPS, server.namespace)
    async with watching(
        server.client, CONFIG_MAPS, server.namespace, start, field_selector="metadata.name=b"
    ) as watched:
        for name in "abc":
            await server.client.create(CONFIG_MAPS, config_map(name), server.namespace)
        await server.client.delete(CONFIG_MAPS, "b", server.namespace)
        assert await watched.take(2) == [("ADDED", "b"), ("DELETED", "b")]


async def test_a_watch_of_a_namespace_sees_no_other_and_the_clusters_sees_both(server: ServerUnderTest) -> None:
    other = await server.another_namespace()
    start = await version_now(server.client, CONFIG_MAPS)
    async with (
        watching(server.client, CONFIG_MAPS, server.namespace, start) as one,
        watching(server.client, CONFIG_MAPS, None, start) as all_,
    ):
        await server.client.create(CONFIG_MAPS, config_map("a"), other)
        await server.client.create(CONFIG_MAPS, config_map("b"), server.namespace)
        assert await one.take(1) == [("ADDED", "b")]
        assert await all_.take(2) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_watch_ends_when_its_time_is_over(server: ServerUnderTest) -> None:
    start = await version_now(server.client, CONFIG_MAPS, server.namespace)
    began = time.monotonic()
    async with watching(server.client, CONFIG_MAPS, server.namespace, start, timeout_seconds=1) as watched:
        await watched.end()
    assert watched.changes == []
    assert time.monotonic() - began >= 0.9


async def test_bookmarks_move_the_version_on_where_nothing_of_the_selection_happens(server: ServerUnderTest) -> None:
    """They come once a minute and shortly before the end: so this watch is short, and busy until they do."""
    await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    start = await version_now(server.client, CONFIG_MAPS, server.namespace)

    async def write() -> None:
        while True:
            body = {"data": {"at": str(time.monotonic())}}
            await server.client.patch(CONFIG_MAPS, "a", server.namespace, body=body)
            await asyncio.sleep(0.1)

    options: dict[str, Any] = {"label_selector": "in=yes", "timeout_seconds": 5}
    async with (
        watching(server.client, CONFIG_MAPS, server.namespace, start, **options) as marked,
        watching(server.client, CONFIG_MAPS, server.namespace, start, **options, bookmarks=False) as unmarked,
    ):
        writing = asyncio.create_task(write())
        try:
            await marked.until(lambda: any(version(event.object) > int(start) for event in marked.bookmarks))
        finally:
            writing.cancel()
            await asyncio.wait([writing])
    assert marked.changes == []
    assert unmarked.events == []


async def test_a_watch_with_initial_events_lists_marks_the_end_and_goes_on(server: ServerUnderTest) -> None:
    for name in "ab":
        await server.client.create(CONFIG_MAPS, config_map(name), server.namespace)
    async with watching(server.client, CONFIG_MAPS, server.namespace, "", initial_events=True) as watched:
        await watched.until(lambda: bool(watched.bookmarks))
        (mark,) = watched.bookmarks
        assert [name_of(event.object) for event in watched.changes] == ["a", "b"]
        assert {str(event.type) for event in watched.changes} == {"ADDED"}
        assert mark.object["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert version(mark.object) >= version(watched.changes[1].object)
        await server.client.delete(CONFIG_MAPS, "a", server.namespace)
        assert (await watched.take(3))[2] == ("DELETED", "a")


async def test_a_watch_from_a_version_that_is_forgotten_is_stale(server: ServerUnderTest) -> None:
    start = await version_now(server.client, CONFIG_MAPS, server.namespace)
    await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    await server.forget()
    with pytest.raises(ResourceExpired):
        async with watching(server.client, CONFIG_MAPS, server.namespace, start) as watched:
            await watched.end()


@pytest.mark.parametrize("selector", [{"label_selector": "a in ("}, {"field_selector": "data.x=1"}], ids=str)
async def test_a_watch_with_a_selector_that_does_not_parse_is_a_bad_request(
    server: ServerUnderTest, selector: dict[str, str]
) -> None:
    with pytest.raises(Rejected) as refused:
        async with watching(server.client, CONFIG_MAPS, server.namespace, "1", **selector) as watched:
            await watched.end()
    assert refused.value.status == 400


async def test_a_watch_of_custom_resources_brings_their_status(server: ServerUnderTest) -> None:
    await install_flyte_workflows(server.client)
    made = await server.client.create(FLYTE_WORKFLOWS, {"metadata": {"name": "w"}}, server.namespace)
    start = made["metadata"]["resourceVersion"]
    async with watching(server.client, FLYTE_WORKFLOWS, server.namespace, start) as watched:
        body = {"status": {"phase": 3}}
        await server.client.patch(FLYTE_WORKFLOWS, "w", server.namespace, body=body, subresource="status")
        assert await watched.take(1) == [("MODIFIED", "w")]
    assert watched.changes[0].object["status"] == {"phase": 3}


async def test_large_objects_and_text_of_any_script_come_through_a_watch_unchanged(server: ServerUnderTest) -> None:
    start = await version_now(server.client, CONFIG_MAPS, server.namespace)
    text = "漢字🚀\u2028\n" * 60_000
    async with watching(server.client, CONFIG_MAPS, server.namespace, start) as watched:
        for name in "ab":
            await server.client.create(CONFIG_MAPS, config_map(name, text=text), server.namespace)
        assert await watched.take(2) == [("ADDED", "a"), ("ADDED", "b")]
    assert all(event.object["data"]["text"] == text for event in watched.changes)


async def test_fifty_watches_see_the_same_events_in_the_same_order(server: ServerUnderTest) -> None:
    start = await version_now(server.client, CONFIG_MAPS, server.namespace)
    counts = 50, 30

    async def follow() -> list[tuple[str, str]]:
        async with watching(server.client, CONFIG_MAPS, server.namespace, start) as watched:
            return await watched.take(counts[1])

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow()) for _ in range(counts[0])]
        await asyncio.gather(
            *(
                server.client.create(CONFIG_MAPS, config_map(f"c{number}"), server.namespace)
                for number in range(counts[1])
            )
        )
    seen = [task.result() for task in tasks]
    assert len(set(seen[0])) == counts[1]
    assert all(events == seen[0] for events in seen)


async def test_a_watch_line_is_an_object_with_a_type_and_an_object(server: ServerUnderTest) -> None:
    """What reads streams relies on it: a JSON document a line, and nothing else."""
    start = await version_now(server.client, CONFIG_MAPS, server.namespace)
    await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    query = {"watch": "true", "resourceVersion": start, "timeoutSeconds": "1"}
    request = Request(method="GET", path=CONFIG_MAPS.path(server.namespace), query=query)
    async with server.client.transport.stream(request, deadline=20) as stream:
        body = b"".join([chunk async for chunk in stream])
    lines = body.split(b"\n")
    assert lines.pop() == b""
    assert [sorted(orjson.loads(line)) for line in lines] == [["object", "type"]]


async def test_a_watch_of_what_is_quiet_is_open_at_once(http_server: HttpServerUnderTest) -> None:
    """client-go's Watch() returns with the answer's head: if that waits for the first event, `kubectl wait` hangs."""
    since = await version_now(http_server.client, CONFIG_MAPS, http_server.namespace)
    path = f"/api/v1/namespaces/{http_server.namespace}/configmaps"
    request = Request(method="GET", path=path, query={"watch": "true", "resourceVersion": since})
    async with asyncio.timeout(DEADLINE), http_server.client.transport.stream(request, deadline=DEADLINE) as stream:
        assert stream.status == 200
        await http_server.client.create(CONFIG_MAPS, config_map("first"), http_server.namespace)
        assert b'"first"' in await anext(aiter(stream))
