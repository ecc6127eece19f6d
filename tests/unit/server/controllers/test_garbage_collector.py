"""Garbage collection: the ways to delete an owner, and a server without controllers."""

from __future__ import annotations

import asyncio
import random

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer
from propeller.kube import CONFIG_MAPS, PODS, Client
from tests.unit.server.asking import config_map, names, pod, reference


async def test_a_chain_of_owners_goes_from_the_top(client: Client) -> None:
    owner = None
    for name in "abc":
        owner = await client.create(CONFIG_MAPS, config_map(name, owner=owner), "default")
    await client.delete(CONFIG_MAPS, "a", "default")
    await asyncio.sleep(0.01)
    assert await names(client, CONFIG_MAPS) == []


async def test_foreground_deletion_waits_for_blocking_dependents(client: Client) -> None:
    owner = await client.create(CONFIG_MAPS, config_map("owner"), "default")
    held = config_map("held", owner=owner, block=True, finalizers=["example.com/hold"])
    await client.create(CONFIG_MAPS, held, "default")
    await client.delete(CONFIG_MAPS, "owner", "default", propagation="Foreground")
    await asyncio.sleep(0.01)
    waiting = await client.get(CONFIG_MAPS, "owner", "default")
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    await client.patch(CONFIG_MAPS, "held", "default", body={"metadata": {"finalizers": None}})
    await asyncio.sleep(0.01)
    assert await names(client, CONFIG_MAPS) == []


async def test_foreground_deletion_does_not_wait_for_other_dependents(client: Client) -> None:
    owner = await client.create(CONFIG_MAPS, config_map("owner"), "default")
    await client.create(CONFIG_MAPS, config_map("held", owner=owner, finalizers=["example.com/hold"]), "default")
    await client.delete(CONFIG_MAPS, "owner", "default", propagation="Foreground")
    await asyncio.sleep(0.01)
    assert await names(client, CONFIG_MAPS) == ["held"]


async def test_a_dependent_with_another_owner_loses_the_reference_to_the_deleted_one(client: Client) -> None:
    one, other = [await client.create(CONFIG_MAPS, config_map(name), "default") for name in ("one", "other")]
    shared = config_map("shared", ownerReferences=[reference(one), reference(other)])
    await client.create(CONFIG_MAPS, shared, "default")
    await client.delete(CONFIG_MAPS, "one", "default")
    await asyncio.sleep(0.01)
    left = (await client.get(CONFIG_MAPS, "shared", "default"))["metadata"]["ownerReferences"]
    assert [one["name"] for one in left] == ["other"]


async def test_orphans_lose_the_reference_before_their_owner_goes(client: Client) -> None:
    owner = await client.create(CONFIG_MAPS, config_map("owner"), "default")
    await client.create(CONFIG_MAPS, config_map("child", owner=owner), "default")
    await client.delete(CONFIG_MAPS, "owner", "default", propagation="Orphan")
    await asyncio.sleep(0.01)
    assert await names(client, CONFIG_MAPS) == ["child"]
    assert "ownerReferences" not in (await client.get(CONFIG_MAPS, "child", "default"))["metadata"]


async def test_thousands_of_dependents_are_collected_while_requests_are_served(client: Client) -> None:
    owner = await client.create(CONFIG_MAPS, config_map("owner"), "default")
    for number in range(2000):
        await client.create(PODS, pod(f"p{number}", ownerReferences=[reference(owner)]), "default")
    await client.delete(CONFIG_MAPS, "owner", "default")
    left = [len((await client.list(PODS, "default", limit=5000)).items) for _ in range(10)]
    assert 0 < left[0] <= 2000
    assert left == sorted(left, reverse=True)
    await asyncio.sleep(0.01)
    assert (await client.list(PODS, "default")).items == ()


async def test_without_controllers_nothing_is_collected() -> None:
    async with ApiServer(clock=LoopClock(), randomness=random.Random(0), controllers=False) as server:
        client = Client(server.transport())
        owner = await client.create(CONFIG_MAPS, config_map("owner"), "default")
        await client.create(CONFIG_MAPS, config_map("child", owner=owner), "default")
        await client.delete(CONFIG_MAPS, "owner", "default")
        await asyncio.sleep(60)
        assert await names(client, CONFIG_MAPS) == ["child"]
