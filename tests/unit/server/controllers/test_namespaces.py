"""How a namespace ends."""

from __future__ import annotations

import asyncio

import pytest

from propeller.embedded.server import ApiServer
from propeller.errors import Denied, NotFound
from propeller.kube import CONFIG_MAPS, NAMESPACES, PODS, Client
from tests.unit.server.asking import ask, config_map, names, pod


@pytest.fixture(autouse=True)
async def namespace(client: Client) -> None:
    await client.create(NAMESPACES, {"metadata": {"name": "n"}})


async def test_a_namespace_takes_everything_in_it_along(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map("a"), "n")
    await client.create(PODS, pod("p"), "n")
    await client.create(CONFIG_MAPS, config_map("stays"), "default")
    await client.delete(NAMESPACES, "n")
    await asyncio.sleep(0.01)
    assert "n" not in await names(client, NAMESPACES, None)
    assert await names(client, CONFIG_MAPS, None) == ["stays"]
    assert (await client.list(PODS)).items == ()


async def test_a_namespace_that_ends_takes_nothing_new(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map("held", finalizers=["example.com/hold"]), "n")
    await client.delete(NAMESPACES, "n")
    await asyncio.sleep(0.01)
    assert (await client.get(NAMESPACES, "n"))["status"]["phase"] == "Terminating"
    with pytest.raises(Denied, match="because it is being terminated"):
        await client.create(CONFIG_MAPS, config_map("new"), "n")


async def test_a_namespace_says_what_it_waits_for(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map("held", finalizers=["example.com/hold"]), "n")
    await client.delete(NAMESPACES, "n")
    await asyncio.sleep(0.01)
    conditions = {one["type"]: one for one in (await client.get(NAMESPACES, "n"))["status"]["conditions"]}
    assert conditions["NamespaceContentRemaining"]["status"] == "True"
    assert "example.com/hold in 1 resource instances" in conditions["NamespaceFinalizersRemaining"]["message"]


async def test_a_namespace_goes_once_its_last_object_is_released(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map("held", finalizers=["example.com/hold"]), "n")
    await client.delete(NAMESPACES, "n")
    await asyncio.sleep(0.01)
    await client.patch(CONFIG_MAPS, "held", "n", body={"metadata": {"finalizers": None}})
    await asyncio.sleep(30)
    with pytest.raises(NotFound):
        await client.get(NAMESPACES, "n")


async def test_a_bound_pod_keeps_its_namespace_until_its_kubelet_has_ended_it(client: Client) -> None:
    await client.create(PODS, pod("p", node="n1"), "n")
    await client.delete(NAMESPACES, "n")
    await asyncio.sleep(0.01)
    assert (await client.get(PODS, "p", "n")).metadata.deletion_timestamp
    await client.delete(PODS, "p", "n", grace_seconds=0)
    await asyncio.sleep(30)
    assert "n" not in await names(client, NAMESPACES, None)


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_permanent_namespaces_cannot_be_deleted(client: Client, name: str) -> None:
    with pytest.raises(Denied, match="this namespace may not be deleted"):
        await client.delete(NAMESPACES, name)


async def test_another_clients_spec_finalizer_keeps_a_namespace(server: ApiServer, client: Client) -> None:
    namespace = await client.get(NAMESPACES, "n")
    namespace["spec"]["finalizers"].append("example.com/mine")
    await ask(server, "PUT", "/api/v1/namespaces/n/finalize", namespace)
    await client.delete(NAMESPACES, "n")
    await asyncio.sleep(30)
    assert (await client.get(NAMESPACES, "n"))["spec"]["finalizers"] == ["example.com/mine"]
