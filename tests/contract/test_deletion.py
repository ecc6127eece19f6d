"""Deletion: preconditions, grace of pods, finalizers."""

from __future__ import annotations

import pytest

from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import AlreadyExists, Conflict, NotFound, Rejected
from propeller.kube import CONFIG_MAPS, PODS, Pod, Raw
from propeller.testing import ServerUnderTest
from tests.contract.custom_resources import install_flyte_workflows
from tests.contract.objects import config_map, pod, version, version_now, watching

HOLD = "example.org/hold"


async def test_a_deleted_object_is_gone_and_its_watchers_see_its_last_state(server: ServerUnderTest) -> None:
    made = await server.client.create(CONFIG_MAPS, config_map("a", k="v"), server.namespace)
    async with watching(server.client, CONFIG_MAPS, server.namespace, made["metadata"]["resourceVersion"]) as watched:
        await server.client.delete(CONFIG_MAPS, "a", server.namespace)
        assert await watched.take(1) == [("DELETED", "a")]
    with pytest.raises(NotFound):
        await server.client.get(CONFIG_MAPS, "a", server.namespace)
    (event,) = watched.changes
    assert event.object["data"] == {"k": "v"}
    assert version(event.object) > version(made)


async def test_a_delete_of_another_incarnation_or_version_is_a_conflict(server: ServerUnderTest) -> None:
    made = await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    uid = made["metadata"]["uid"]
    with pytest.raises(Conflict, match="UID in the precondition"):
        await server.client.delete(CONFIG_MAPS, "a", server.namespace, uid="of-an-earlier-one")
    with pytest.raises(Conflict, match="ResourceVersion in the precondition"):
        await server.client.delete(CONFIG_MAPS, "a", server.namespace, uid=uid, resource_version="1")
    now = made["metadata"]["resourceVersion"]
    await server.client.delete(CONFIG_MAPS, "a", server.namespace, uid=uid, resource_version=now)
    with pytest.raises(NotFound):
        await server.client.get(CONFIG_MAPS, "a", server.namespace)


async def is_gone(server: ServerUnderTest, name: str = "a") -> bool:
    try:
        await server.client.get(PODS, name, server.namespace)
    except NotFound:
        return True
    return False


async def raw_pod(server: ServerUnderTest) -> Raw:
    return await server.client.get(PODS.typed(Raw), "a", server.namespace)


async def test_a_pod_without_a_node_goes_at_once(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a"), server.namespace)
    await server.client.delete(PODS, "a", server.namespace)
    assert await is_gone(server)


async def test_a_bound_pod_waits_for_its_kubelet(server: ServerUnderTest) -> None:
    made = await server.client.create(PODS, pod("a", node="n"), server.namespace)
    async with watching(server.client, PODS, server.namespace, made.metadata.resource_version) as watched:
        await server.client.delete(PODS, "a", server.namespace)
        assert await watched.take(1) == [("MODIFIED", "a")]
        terminating = watched.changes[0].object
        assert terminating.metadata.deletion_timestamp is not None
        assert (await raw_pod(server))["metadata"]["deletionGracePeriodSeconds"] == 30
        await server.client.delete(PODS, "a", server.namespace, grace_seconds=0, uid=made.metadata.uid)
        await watched.until(lambda: str(watched.changes[-1].type) == "DELETED")
    assert await is_gone(server)


async def test_the_grace_is_the_pods_own_or_the_callers(server: ServerUnderTest) -> None:
    body = pod("a", node="n")
    body["spec"]["terminationGracePeriodSeconds"] = 7
    await server.client.create(PODS, body, server.namespace)
    await server.client.delete(PODS, "a", server.namespace)
    assert (await raw_pod(server))["metadata"]["deletionGracePeriodSeconds"] == 7
    await server.client.delete(PODS, "a", server.namespace, grace_seconds=3)
    assert (await raw_pod(server))["metadata"]["deletionGracePeriodSeconds"] == 3


async def test_a_grace_is_never_made_longer(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a", node="n"), server.namespace)
    await server.client.delete(PODS, "a", server.namespace, grace_seconds=5)
    before = await raw_pod(server)
    await server.client.delete(PODS, "a", server.namespace, grace_seconds=60)
    assert await raw_pod(server) == before


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_a_bound_pod_that_has_ended_goes_at_once(server: ServerUnderTest, phase: str) -> None:
    await server.client.create(PODS, pod("a", node="n"), server.namespace)
    await server.client.patch(PODS, "a", server.namespace, body={"status": {"phase": phase}}, subresource="status")
    await server.client.delete(PODS, "a", server.namespace)
    assert await is_gone(server)


async def test_a_terminating_pods_status_can_still_be_reported(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a", node="n"), server.namespace)
    await server.client.delete(PODS, "a", server.namespace)
    body = {"status": {"phase": "Failed"}}
    after = await server.client.patch(PODS, "a", server.namespace, body=body, subresource="status")
    assert after.status.phase == "Failed"
    assert after.metadata.deletion_timestamp is not None


async def test_finalizers_hold_an_object_until_the_last_is_taken_off(server: ServerUnderTest) -> None:
    await install_flyte_workflows(server.client)
    body = {"metadata": {"name": "w", "finalizers": [HOLD, "example.org/other"]}}
    made = await server.client.create(FLYTE_WORKFLOWS, body, server.namespace)
    start = made["metadata"]["resourceVersion"]
    async with watching(server.client, FLYTE_WORKFLOWS, server.namespace, start) as watched:
        await server.client.delete(FLYTE_WORKFLOWS, "w", server.namespace)
        held = await server.client.get(FLYTE_WORKFLOWS, "w", server.namespace)
        assert held["metadata"]["deletionTimestamp"]
        for left in ([HOLD], []):
            body = {"metadata": {"finalizers": left}}
            await server.client.patch(FLYTE_WORKFLOWS, "w", server.namespace, body=body)
        assert await watched.take(3) == [("MODIFIED", "w"), ("MODIFIED", "w"), ("DELETED", "w")]
    with pytest.raises(NotFound):
        await server.client.get(FLYTE_WORKFLOWS, "w", server.namespace)


async def test_a_second_delete_of_a_held_object_changes_nothing(server: ServerUnderTest) -> None:
    body = config_map("a")
    body["metadata"]["finalizers"] = [HOLD]
    await server.client.create(CONFIG_MAPS, body, server.namespace)
    await server.client.delete(CONFIG_MAPS, "a", server.namespace)
    held = await server.client.get(CONFIG_MAPS, "a", server.namespace)
    await server.client.delete(CONFIG_MAPS, "a", server.namespace)
    assert await server.client.get(CONFIG_MAPS, "a", server.namespace) == held


async def test_what_is_being_deleted_takes_no_new_finalizers(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a", finalizers=[HOLD]), server.namespace)
    await server.client.delete(PODS, "a", server.namespace)
    body = {"metadata": {"finalizers": [HOLD, "example.org/new"]}}
    with pytest.raises(Rejected, match="no new finalizers can be added if the object is being deleted") as refused:
        await server.client.patch(PODS, "a", server.namespace, body=body)
    assert refused.value.status == 422


async def test_what_is_being_deleted_can_still_be_written(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a", finalizers=[HOLD]), server.namespace)
    await server.client.delete(PODS, "a", server.namespace)
    after: Pod = await server.client.patch(PODS, "a", server.namespace, body={"metadata": {"labels": {"l": "1"}}})
    assert after.metadata.labels == {"l": "1"}


async def test_the_name_of_a_held_object_is_taken(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a", finalizers=[HOLD]), server.namespace)
    await server.client.delete(PODS, "a", server.namespace)
    with pytest.raises(AlreadyExists, match="object is being deleted"):
        await server.client.create(PODS, pod("a"), server.namespace)


async def test_a_bound_pod_with_a_finalizer_needs_both_to_go(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a", node="n", finalizers=[HOLD]), server.namespace)
    await server.client.delete(PODS, "a", server.namespace, grace_seconds=0)
    assert not await is_gone(server)
    await server.client.patch(PODS, "a", server.namespace, body={"metadata": {"finalizers": []}})
    assert await is_gone(server)


async def test_deleting_with_background_propagation_does_not_wait_for_dependants(server: ServerUnderTest) -> None:
    owner = await server.client.create(CONFIG_MAPS, config_map("owner"), server.namespace)
    dependant = config_map("dependant")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    dependant["metadata"]["ownerReferences"] = [reference]
    await server.client.create(CONFIG_MAPS, dependant, server.namespace)
    await server.client.delete(CONFIG_MAPS, "owner", server.namespace, propagation="Background")
    with pytest.raises(NotFound):
        await server.client.get(CONFIG_MAPS, "owner", server.namespace)


async def test_a_watch_sees_an_object_made_anew_as_deleted_and_added(server: ServerUnderTest) -> None:
    start = await version_now(server.client, CONFIG_MAPS, server.namespace)
    async with watching(server.client, CONFIG_MAPS, server.namespace, start) as watched:
        await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
        await server.client.delete(CONFIG_MAPS, "a", server.namespace)
        await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
        assert await watched.take(3) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]
    versions = [version(event.object) for event in watched.changes]
    assert versions == sorted(set(versions))
