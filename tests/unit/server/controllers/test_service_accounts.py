"""Every namespace has the service account `default`."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer
from propeller.kube import NAMESPACES, Client, Raw, Resource
from tests.unit.server.asking import names

SERVICE_ACCOUNTS: Resource[Raw] = Resource(kind="ServiceAccount", plural="serviceaccounts", type=dict[str, Any])


async def test_a_namespace_gets_its_service_account(client: Client) -> None:
    await client.create(NAMESPACES, {"metadata": {"name": "ns"}})
    await asyncio.sleep(0.1)
    found = await client.list(SERVICE_ACCOUNTS)
    assert [one["metadata"]["namespace"] for one in found.items if one["metadata"]["name"] == "default"] == [
        "default",
        "kube-node-lease",
        "kube-public",
        "kube-system",
        "ns",
    ]


async def test_a_deleted_service_account_is_created_again_with_a_new_uid(client: Client) -> None:
    await client.create(NAMESPACES, {"metadata": {"name": "ns"}})
    await asyncio.sleep(0.1)
    first = await client.get(SERVICE_ACCOUNTS, "default", "ns")
    await client.delete(SERVICE_ACCOUNTS, "default", "ns")
    await asyncio.sleep(0.1)
    second = await client.get(SERVICE_ACCOUNTS, "default", "ns")
    assert first["metadata"]["uid"] != second["metadata"]["uid"]


async def test_other_service_accounts_are_not_recreated(client: Client) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    await client.delete(SERVICE_ACCOUNTS, "robot", "default")
    await asyncio.sleep(0.1)
    assert await names(client, SERVICE_ACCOUNTS, "default") == ["default"]


async def test_a_namespace_that_is_deleted_ends_with_it(client: Client) -> None:
    await client.create(NAMESPACES, {"metadata": {"name": "ns"}})
    await asyncio.sleep(0.1)
    await client.delete(NAMESPACES, "ns")
    await asyncio.sleep(0.1)
    assert "ns" not in await names(client, NAMESPACES, None)
    assert await names(client, SERVICE_ACCOUNTS, "ns") == []


async def test_a_restored_server_makes_none_anew(server: ApiServer, client: Client) -> None:
    await asyncio.sleep(0.1)
    before = await client.get(SERVICE_ACCOUNTS, "default", "default")
    server.restore(server.back_up())
    server.start()
    await asyncio.sleep(0.1)
    assert await client.get(SERVICE_ACCOUNTS, "default", "default") == before


async def test_a_server_without_controllers_makes_none() -> None:
    async with ApiServer(clock=LoopClock(), randomness=random.Random(0), controllers=False) as server:
        await asyncio.sleep(0.1)
        assert await names(Client(server.transport(), clock=LoopClock()), SERVICE_ACCOUNTS, None) == []
