"""The life of a resource type: created, established, served, removed."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from propeller.controller import FLYTE_WORKFLOWS, workflow_crd
from propeller.errors import Denied, NotFound, Rejected
from propeller.informers import Informer
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client, Raw, Resource
from propeller.testing import ServerUnderTest, eventually, is_deleted
from tests.contract.custom_resources import PLAIN, install, install_flyte_workflows, install_plains
from tests.contract.objects import DEADLINE, version_now, watching


def short_lived(namespace: str) -> tuple[Resource[Raw], Raw]:
    """A type that only this test has, and its definition."""
    group = f"{namespace}.contract.example.org"
    crd = copy.deepcopy(workflow_crd())
    crd["metadata"]["name"] = f"brieves.{group}"
    crd["spec"]["group"] = group
    crd["spec"]["names"] = {"kind": "Brief", "listKind": "BriefList", "plural": "brieves", "singular": "brief"}
    brieves: Resource[Raw] = Resource(
        group=group, version="v1alpha1", kind="Brief", plural="brieves", type=dict[str, Any]
    )
    return brieves, crd


async def test_a_type_is_served_once_it_is_established_and_gone_once_it_is_deleted(server: ServerUnderTest) -> None:
    brieves, crd = short_lived(server.namespace)
    with pytest.raises(NotFound):
        await server.client.list(brieves, server.namespace)
    await install(server.client, crd)
    made = await server.client.create(brieves, {"metadata": {"name": "b"}, "spec": {"x": 1}}, server.namespace)
    assert (made["kind"], made["apiVersion"], made["spec"]) == ("Brief", brieves.api_version, {"x": 1})
    assert await server.client.has_subresource(brieves, "status")
    await server.client.delete(CUSTOM_RESOURCE_DEFINITIONS, crd["metadata"]["name"])
    await eventually(lambda: is_deleted(server.client, brieves, "b", server.namespace))


async def test_a_definition_whose_name_does_not_fit_is_refused(server: ServerUnderTest) -> None:
    _, crd = short_lived(server.namespace)
    crd["metadata"]["name"] = "wrong"
    with pytest.raises(Rejected, match=r'metadata.name: .* must be spec.names.plural\+"."\+spec.group') as refused:
        await server.client.create(CUSTOM_RESOURCE_DEFINITIONS, crd)
    assert refused.value.status == 422


async def test_what_the_schema_does_not_name_is_kept(server: ServerUnderTest) -> None:
    await install_flyte_workflows(server.client)
    body = {
        "metadata": {"name": "w"},
        "spec": {"nodes": {"n": {"id": "n", "deep": [1, 2.5, None, {"é": True}]}}},
        "tasks": {},
        "executionId": {"project": "p"},
    }
    await server.client.create(FLYTE_WORKFLOWS, body, server.namespace)
    read = await server.client.get(FLYTE_WORKFLOWS, "w", server.namespace)
    assert {key: read[key] for key in ("spec", "tasks", "executionId")} == {
        key: body[key] for key in ("spec", "tasks", "executionId")
    }


async def test_a_custom_resource_is_replaced_only_onto_a_version(server: ServerUnderTest) -> None:
    await install_plains(server.client)
    made = await server.client.create(PLAIN, {"metadata": {"name": "p"}}, server.namespace)
    with pytest.raises(Rejected, match=r"metadata.resourceVersion: .* must be specified for an update") as refused:
        await server.client.replace(PLAIN, {"metadata": {"name": "p"}}, "p", server.namespace)
    assert refused.value.status == 422
    after = await server.client.replace(PLAIN, made | {"spec": {"x": 1}}, "p", server.namespace)
    assert after["spec"] == {"x": 1}


async def test_a_merge_patch_of_spec_status_and_labels_is_one_write_without_a_subresource(
    server: ServerUnderTest,
) -> None:
    """How a status is written onto Flyte's own type."""
    await install_plains(server.client)
    await server.client.create(PLAIN, {"metadata": {"name": "p"}, "spec": {"x": 1}}, server.namespace)
    start = await version_now(server.client, PLAIN, server.namespace)
    async with watching(server.client, PLAIN, server.namespace, start) as watched:
        body = {"metadata": {"labels": {"termination-status": "terminated"}}, "status": {"phase": 3}}
        after = await server.client.patch(PLAIN, "p", server.namespace, body=body)
        assert await watched.take(1) == [("MODIFIED", "p")]
    assert (after["spec"], after["status"]) == ({"x": 1}, {"phase": 3})
    assert after["metadata"]["labels"] == {"termination-status": "terminated"}
    assert watched.changes[0].object == after


@pytest.mark.parametrize(("wrong", "status"), [({"kind": "Other"}, 422), ({"apiVersion": "v1"}, 400)], ids=str)
async def test_a_custom_resource_of_another_kind_or_version_is_refused(
    server: ServerUnderTest, wrong: Raw, status: int
) -> None:
    await install_flyte_workflows(server.client)
    with pytest.raises(Rejected) as refused:
        await server.client.create(FLYTE_WORKFLOWS, {"metadata": {"name": "w"}, **wrong}, server.namespace)
    assert refused.value.status == status


async def test_a_custom_resources_name_is_checked(server: ServerUnderTest) -> None:
    await install_flyte_workflows(server.client)
    with pytest.raises(Rejected, match=r"metadata.name: Invalid value") as refused:
        await server.client.create(FLYTE_WORKFLOWS, {"metadata": {"name": "W_1"}}, server.namespace)
    assert refused.value.status == 422


async def test_a_type_that_is_being_deleted_takes_no_new_objects_and_goes_with_the_last_one(
    server: ServerUnderTest,
) -> None:
    """Its objects are deleted; one that a finalizer holds keeps the type."""
    ending, crd = short_lived(server.namespace)
    await install(server.client, crd)
    held = {"metadata": {"name": "held", "finalizers": ["example.org/held"]}}
    await server.client.create(ending, held, server.namespace)
    await server.client.delete(CUSTOM_RESOURCE_DEFINITIONS, crd["metadata"]["name"])
    async with asyncio.timeout(DEADLINE):
        while "deletionTimestamp" not in (await server.client.get(ending, "held", server.namespace))["metadata"]:
            await asyncio.sleep(0.05)
    with pytest.raises(Denied, match="create not allowed while custom resource definition is terminating"):
        await server.client.create(ending, {"metadata": {"name": "late"}}, server.namespace)
    await server.client.patch(ending, "held", server.namespace, body={"metadata": {"finalizers": None}})
    async with asyncio.timeout(DEADLINE):
        while not await is_gone(server.client, crd["metadata"]["name"]):
            await asyncio.sleep(0.05)
    with pytest.raises(NotFound):
        await server.client.list(ending, server.namespace)


@pytest.mark.parametrize("had_status", [True, False], ids=["with a status subresource", "without one"])
async def test_a_type_that_is_deleted_and_made_anew_is_followed_and_written_as_it_is_then(
    server: ServerUnderTest, had_status: bool
) -> None:
    """A status goes to the object itself if the type has no subresource for it: 404 for that subresource, and beside
    one a status of the object itself is dropped.
    """
    brieves, crd = short_lived(server.namespace)
    plain = copy.deepcopy(crd)
    del plain["spec"]["versions"][0]["subresources"]
    before, after = (crd, plain) if had_status else (plain, crd)
    client, namespace = server.client, server.namespace
    await install(client, before)
    await client.create(brieves, {"metadata": {"name": "b"}}, namespace)
    async with Informer(client, brieves, namespace=namespace) as informer:
        await informer.wait_for_sync(DEADLINE)
        await client.delete(CUSTOM_RESOURCE_DEFINITIONS, crd["metadata"]["name"])
        async with asyncio.timeout(DEADLINE):
            while not await is_gone(client, crd["metadata"]["name"]):
                await asyncio.sleep(0.05)
        await install(client, after)
        made = await client.create(brieves, {"metadata": {"name": "b"}}, namespace)
        async with asyncio.timeout(DEADLINE):
            while (found := informer.store.get(f"{namespace}/b")) is None or found["metadata"] != made["metadata"]:
                await asyncio.sleep(0.05)
    body = {"status": {"phase": 1}}
    if had_status:
        with pytest.raises(NotFound):
            await client.patch(brieves, "b", namespace, body=body, subresource="status")
        assert (await client.patch(brieves, "b", namespace, body=body))["status"] == body["status"]
    else:
        unchanged = await client.patch(brieves, "b", namespace, body=body)
        assert unchanged["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        assert "status" not in unchanged
    assert await client.has_subresource(brieves, "status") is not had_status


async def is_gone(client: Client, crd: str) -> bool:
    try:
        await client.get(CUSTOM_RESOURCE_DEFINITIONS, crd)
    except NotFound:
        return True
    return False
