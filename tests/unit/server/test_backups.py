"""A server whose storage is restored from a copy: what is back, what is gone, and what goes on from there."""

from __future__ import annotations

import asyncio

import pytest

from propeller.controller import FLYTE_WORKFLOWS, workflow_crd
from propeller.embedded.server import ApiServer, Backup
from propeller.errors import NotFound, ResourceExpired, Unavailable
from propeller.kube import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Client, Raw
from tests.unit.server.asking import config_map, names, send, watching

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)


def go_back(server: ApiServer, backup: Backup, *, bump: int = 0) -> None:
    server.restore(backup, bump=bump)
    server.start()


async def test_a_restore_undoes_creations_deletions_and_changes(server: ApiServer, client: Client) -> None:
    deleted = await client.create(CONFIG_MAPS, config_map("deleted"), "default")
    changed = await client.create(CONFIG_MAPS, config_map("changed"), "default")
    backup = server.back_up()
    await client.delete(CONFIG_MAPS, "deleted", "default")
    await client.patch(CONFIG_MAPS, "changed", "default", body={"data": {"k": "v"}})
    await client.create(CONFIG_MAPS, config_map("created"), "default")
    go_back(server, backup)
    assert await client.get(CONFIG_MAPS, "deleted", "default") == deleted
    assert await client.get(CONFIG_MAPS, "changed", "default") == changed
    assert "created" not in await names(client, CONFIG_MAPS)


async def test_versions_go_back_and_are_given_again(server: ApiServer, client: Client) -> None:
    backup = server.back_up()
    first = await client.create(CONFIG_MAPS, config_map("a"), "default")
    go_back(server, backup)
    assert server.resource_version == backup.version
    second = await client.create(CONFIG_MAPS, config_map("b"), "default")
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert second["metadata"]["uid"] != first["metadata"]["uid"]


async def test_with_a_bump_versions_continue_above_those_seen_and_older_watches_expire(
    server: ApiServer, client: Client
) -> None:
    kept = await client.create(CONFIG_MAPS, config_map("kept"), "default")
    backup = server.back_up()
    seen = await client.create(CONFIG_MAPS, config_map("a"), "default")
    go_back(server, backup, bump=1000)
    assert server.resource_version == backup.version + 1000
    assert await client.get(CONFIG_MAPS, "kept", "default") == kept
    with pytest.raises(ResourceExpired):
        await anext(client.watch(CONFIG_MAPS, "default", resource_version=seen["metadata"]["resourceVersion"]))


async def test_the_server_is_down_until_it_is_started_and_its_watches_are_cut(
    server: ApiServer, client: Client
) -> None:
    watch = client.watch(CONFIG_MAPS, "default", resource_version="0")
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    await anext(watch)
    server.restore(server.back_up())
    with pytest.raises(Unavailable):
        await anext(watch)
    with pytest.raises(Unavailable):
        await names(client, CONFIG_MAPS)
    server.start()
    assert "a" in await names(client, CONFIG_MAPS)


async def test_a_watch_from_a_future_version_gets_events_after_it(server: ApiServer, client: Client) -> None:
    """As kube-apiserver's cache: it is silent until that version has passed, and so cannot know what it missed."""
    backup = server.back_up()
    future = [await client.create(CONFIG_MAPS, config_map(f"before-{n}"), "default") for n in range(3)]
    go_back(server, backup)
    held = future[1]["metadata"]["resourceVersion"]
    async with watching(client, CONFIG_MAPS, "default", resource_version=held) as seen:
        for number in range(4):
            await client.create(CONFIG_MAPS, config_map(f"after-{number}"), "default")
        await asyncio.sleep(0.01)
        assert [event.object["metadata"]["name"] for event in seen] == ["after-2", "after-3"]
    refused = await send(server, "GET", "/api/v1/configmaps", resourceVersion="99999")
    assert refused.status == 504


async def test_a_copy_is_independent_of_later_changes_and_can_be_restored_twice(
    server: ApiServer, client: Client
) -> None:
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    backup = server.back_up()
    for _ in range(2):
        await client.patch(CONFIG_MAPS, "a", "default", body={"data": {"k": "v"}})
        await client.create(CONFIG_MAPS, config_map("b"), "default")
        go_back(server, backup)
        assert await names(client, CONFIG_MAPS) == ["a"]
        assert "data" not in await client.get(CONFIG_MAPS, "a", "default")


async def test_a_resource_type_that_was_deleted_since_is_back_with_its_objects(
    server: ApiServer, client: Client
) -> None:
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
    await client.create(WORKFLOWS, {"metadata": {"name": "w"}}, "default")
    backup = server.back_up()
    await client.delete(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd()["metadata"]["name"])
    await asyncio.sleep(0.01)
    with pytest.raises(NotFound):
        await client.list(WORKFLOWS, "default")
    go_back(server, backup)
    assert await names(client, WORKFLOWS) == ["w"]
    assert (await client.create(WORKFLOWS, {"metadata": {"name": "v"}}, "default"))["metadata"]["name"] == "v"


async def test_a_resource_type_that_was_made_since_is_served_no_more(server: ApiServer, client: Client) -> None:
    backup = server.back_up()
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
    go_back(server, backup)
    with pytest.raises(NotFound):
        await client.list(WORKFLOWS, "default")


async def test_deletions_that_had_begun_are_finished(server: ApiServer, client: Client) -> None:
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
    await client.create(NAMESPACES, {"metadata": {"name": "ending"}})
    held = {"metadata": {"name": "w", "finalizers": ["a.b/c"]}}
    await client.create(WORKFLOWS, held, "ending")
    await client.delete(NAMESPACES, "ending")
    await client.delete(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd()["metadata"]["name"])
    await asyncio.sleep(0.01)
    go_back(server, server.back_up())
    await asyncio.sleep(0.01)
    assert await names(client, WORKFLOWS, "ending") == ["w"]
    await client.patch(WORKFLOWS, "w", "ending", body={"metadata": {"finalizers": None}})
    await asyncio.sleep(0.01)
    with pytest.raises(NotFound):
        await client.get(NAMESPACES, "ending")
    with pytest.raises(NotFound):
        await client.list(WORKFLOWS)


async def test_owners_and_their_dependents_are_still_one(server: ApiServer, client: Client) -> None:
    owner = await client.create(CONFIG_MAPS, config_map("owner"), "default")
    await client.create(CONFIG_MAPS, config_map("owned", owner=owner), "default")
    go_back(server, server.back_up())
    await client.delete(CONFIG_MAPS, "owner", "default", propagation="Background")
    await asyncio.sleep(0.01)
    assert await names(client, CONFIG_MAPS) == []
