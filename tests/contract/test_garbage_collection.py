"""Owner references: what goes with its owner.

A controller manager collects garbage, and a kube-apiserver alone has none: this is asserted on the embedded server
only.
"""

from __future__ import annotations

import asyncio

import pytest

from propeller.controller import FLYTE_WORKFLOWS
from propeller.kube import CONFIG_MAPS, PODS, Raw
from propeller.testing import ServerUnderTest, eventually, is_deleted
from tests.contract.custom_resources import install_flyte_workflows
from tests.contract.objects import DEADLINE, config_map, pod


def reference(owner: Raw, *, block: bool = False) -> Raw:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": block,
    }


@pytest.fixture
async def workflow(embedded_server: ServerUnderTest) -> Raw:
    await install_flyte_workflows(embedded_server.client)
    return await embedded_server.client.create(FLYTE_WORKFLOWS, {"metadata": {"name": "w"}}, embedded_server.namespace)


async def gone(server: ServerUnderTest, name: str) -> None:
    """Wait until the pod is collected."""
    await eventually(lambda: is_deleted(server.client, PODS, name, server.namespace), interval=0.01)


async def test_what_is_owned_goes_with_its_owner(embedded_server: ServerUnderTest, workflow: Raw) -> None:
    server = embedded_server
    for name, owners in (("owned", [reference(workflow)]), ("free", [])):
        await server.client.create(PODS, pod(name, ownerReferences=owners), server.namespace)
    await server.client.delete(FLYTE_WORKFLOWS, "w", server.namespace)
    await gone(server, "owned")
    await server.client.get(PODS, "free", server.namespace)


async def test_what_another_owner_still_wants_stays(embedded_server: ServerUnderTest, workflow: Raw) -> None:
    server = embedded_server
    other = await server.client.create(CONFIG_MAPS, config_map("other"), server.namespace)
    owners = [reference(workflow), reference(other)]
    await server.client.create(PODS, pod("shared", ownerReferences=owners), server.namespace)
    await server.client.create(PODS, pod("owned", ownerReferences=owners[:1]), server.namespace)
    await server.client.delete(FLYTE_WORKFLOWS, "w", server.namespace)
    await gone(server, "owned")
    await server.client.get(PODS, "shared", server.namespace)
    await server.client.delete(CONFIG_MAPS, "other", server.namespace)
    await gone(server, "shared")


async def test_what_is_born_after_its_owners_end_goes_too(embedded_server: ServerUnderTest, workflow: Raw) -> None:
    server = embedded_server
    await server.client.delete(FLYTE_WORKFLOWS, "w", server.namespace)
    await server.client.create(PODS, pod("late", ownerReferences=[reference(workflow)]), server.namespace)
    await gone(server, "late")


async def test_an_owner_of_that_name_but_another_uid_does_not_keep_it(
    embedded_server: ServerUnderTest, workflow: Raw
) -> None:
    server = embedded_server
    await server.client.create(PODS, pod("owned", ownerReferences=[reference(workflow)]), server.namespace)
    await server.client.delete(FLYTE_WORKFLOWS, "w", server.namespace)
    await server.client.create(FLYTE_WORKFLOWS, {"metadata": {"name": "w"}}, server.namespace)
    await gone(server, "owned")


async def test_orphaned_dependants_stay(embedded_server: ServerUnderTest, workflow: Raw) -> None:
    server = embedded_server
    await server.client.create(PODS, pod("owned", ownerReferences=[reference(workflow)]), server.namespace)
    await server.client.delete(FLYTE_WORKFLOWS, "w", server.namespace, propagation="Orphan")
    await asyncio.sleep(0.1)
    await server.client.get(PODS, "owned", server.namespace)


async def test_a_bound_dependant_is_asked_to_end_with_grace(embedded_server: ServerUnderTest, workflow: Raw) -> None:
    server = embedded_server
    owned = pod("owned", node="n", ownerReferences=[reference(workflow)])
    await server.client.create(PODS, owned, server.namespace)
    await server.client.delete(FLYTE_WORKFLOWS, "w", server.namespace)
    async with asyncio.timeout(DEADLINE):
        while (await server.client.get(PODS, "owned", server.namespace)).metadata.deletion_timestamp is None:
            await asyncio.sleep(0.01)
    await server.client.delete(PODS, "owned", server.namespace, grace_seconds=0)
    await gone(server, "owned")
