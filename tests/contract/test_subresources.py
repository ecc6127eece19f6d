"""Status and binding: what a write to a subresource may change, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import Conflict, NotFound, Rejected
from propeller.kube import NODES, PODS, Raw
from propeller.testing import ServerUnderTest
from tests.contract.custom_resources import PLAIN, install_flyte_workflows, install_plains
from tests.contract.objects import pod, version


@pytest.fixture
async def workflow(server: ServerUnderTest) -> Raw:
    """A FlyteWorkflow `w`, of a type with a status subresource."""
    await install_flyte_workflows(server.client)
    body = {"metadata": {"name": "w"}, "spec": {"x": 1}, "status": {"phase": 1}}
    return await server.client.create(FLYTE_WORKFLOWS, body, server.namespace)


@pytest.fixture
async def plain(server: ServerUnderTest) -> Raw:
    """A custom resource `p`, of a type without one."""
    await install_plains(server.client)
    return await server.client.create(PLAIN, {"metadata": {"name": "p"}, "spec": {"x": 1}}, server.namespace)


async def patch_workflow(server: ServerUnderTest, body: Raw, subresource: str = "") -> Raw:
    return await server.client.patch(FLYTE_WORKFLOWS, "w", server.namespace, body=body, subresource=subresource)


async def test_a_create_does_not_take_a_status_that_is_a_subresource(server: ServerUnderTest, workflow: Raw) -> None:
    assert "status" not in workflow
    assert workflow["metadata"]["generation"] == 1


async def test_a_write_of_the_resource_leaves_the_status_alone(server: ServerUnderTest, workflow: Raw) -> None:
    after = await patch_workflow(server, {"spec": {"x": 2}, "status": {"phase": 2}})
    assert after["spec"] == {"x": 2}
    assert "status" not in after


async def test_a_write_of_the_status_leaves_the_rest_alone(server: ServerUnderTest, workflow: Raw) -> None:
    body = {"spec": {"x": 9}, "metadata": {"labels": {"l": "1"}}, "status": {"phase": 2}}
    after = await patch_workflow(server, body, "status")
    assert after["spec"] == {"x": 1}
    assert "labels" not in after["metadata"]
    assert after["status"] == {"phase": 2}
    assert version(after) > version(workflow)


async def test_the_generation_counts_changes_of_the_spec_alone(server: ServerUnderTest, workflow: Raw) -> None:
    assert (await patch_workflow(server, {"status": {"phase": 2}}, "status"))["metadata"]["generation"] == 1
    assert (await patch_workflow(server, {"metadata": {"labels": {"l": "1"}}}))["metadata"]["generation"] == 1
    assert (await patch_workflow(server, {"spec": {"x": 2}}))["metadata"]["generation"] == 2


async def test_a_status_is_patched_onto_its_version_only(server: ServerUnderTest, workflow: Raw) -> None:
    old = workflow["metadata"]["resourceVersion"]
    body = {"metadata": {"resourceVersion": old}, "status": {"phase": 2}}
    await patch_workflow(server, body, "status")
    with pytest.raises(Conflict, match="the object has been modified"):
        await patch_workflow(server, body, "status")


async def test_the_version_alone_keeps_a_status_from_another_incarnation(
    server: ServerUnderTest, workflow: Raw
) -> None:
    """A custom resource's status takes no metadata from a patch: a wrong uid does not stop it, an old version does."""
    stranger = {"uid": "of-an-earlier-one"}
    after = await patch_workflow(server, {"metadata": stranger, "status": {"phase": 2}}, "status")
    assert after["metadata"]["uid"] == workflow["metadata"]["uid"]
    await server.client.delete(FLYTE_WORKFLOWS, "w", server.namespace)
    await server.client.create(FLYTE_WORKFLOWS, {"metadata": {"name": "w"}}, server.namespace)
    stranger |= {"resourceVersion": after["metadata"]["resourceVersion"]}
    with pytest.raises(Conflict):
        await patch_workflow(server, {"metadata": stranger, "status": {"phase": 3}}, "status")


async def test_a_status_can_be_replaced(server: ServerUnderTest, workflow: Raw) -> None:
    after = await server.client.replace(
        FLYTE_WORKFLOWS, workflow | {"status": {"phase": 3}}, "w", server.namespace, subresource="status"
    )
    assert after["status"] == {"phase": 3}
    assert after["spec"] == {"x": 1}


async def test_without_a_subresource_the_status_is_a_field_like_others(server: ServerUnderTest, plain: Raw) -> None:
    body = {"status": {"phase": 2}}
    after = await server.client.patch(PLAIN, "p", server.namespace, body=body)
    assert after["status"] == {"phase": 2}
    assert after["metadata"]["generation"] == 2
    with pytest.raises(NotFound):
        await server.client.patch(PLAIN, "p", server.namespace, body=body, subresource="status")


async def test_discovery_tells_which_type_has_a_status_subresource(
    server: ServerUnderTest, workflow: Raw, plain: Raw
) -> None:
    assert await server.client.has_subresource(FLYTE_WORKFLOWS, "status")
    assert not await server.client.has_subresource(PLAIN, "status")
    assert await server.client.has_subresource(PODS, "binding")


async def test_a_pods_status_is_written_by_its_subresource_alone(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a"), server.namespace)
    untouched = await server.client.patch(PODS, "a", server.namespace, body={"status": {"phase": "Running"}})
    assert untouched.status.phase == "Pending"
    body = {"status": {"phase": "Running"}, "spec": {"nodeName": "n"}}
    after = await server.client.patch(PODS, "a", server.namespace, body=body, subresource="status")
    assert (after.status.phase, after.spec.node_name) == ("Running", "")


async def test_container_states_come_back_as_they_were_reported(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a", node="n"), server.namespace)
    ended = {"exitCode": 3, "reason": "Error", "message": "boom", "startedAt": "2026-01-01T00:00:00Z"}
    container = {"name": "main", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    body = {"phase": "Failed", "reason": "Why", "containerStatuses": [container | {"state": {"terminated": ended}}]}
    after = await server.client.patch(PODS, "a", server.namespace, body={"status": body}, subresource="status")
    (status,) = after.status.container_statuses
    assert status.state.terminated is not None
    assert (status.state.terminated.exit_code, status.state.terminated.message) == (3, "boom")
    assert (after.status.phase, after.status.reason) == ("Failed", "Why")


async def test_a_status_patch_that_names_another_pods_uid_changes_nothing(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a"), server.namespace)
    body = {"metadata": {"uid": "of-an-earlier-one"}, "status": {"phase": "Failed"}}
    with pytest.raises(Rejected, match=r"metadata.uid: .* field is immutable") as refused:
        await server.client.patch(PODS, "a", server.namespace, body=body, subresource="status")
    assert refused.value.status == 422
    assert (await server.client.get(PODS, "a", server.namespace)).status.phase == "Pending"


def binding(node: str, **metadata: Any) -> Raw:
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "a", **metadata},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }


async def bind(server: ServerUnderTest, body: Raw) -> None:
    await server.client.create(PODS, body, server.namespace, name="a", subresource="binding")


async def test_a_binding_sets_the_node_and_the_condition(server: ServerUnderTest) -> None:
    made = await server.client.create(PODS, pod("a"), server.namespace)
    await bind(server, binding("n", uid=made.metadata.uid))
    after = await server.client.get(PODS, "a", server.namespace)
    assert after.spec.node_name == "n"
    assert [(condition.type, condition.status) for condition in after.status.conditions] == [("PodScheduled", "True")]


async def test_a_bound_pod_stays_where_it_is(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a"), server.namespace)
    await bind(server, binding("n"))
    with pytest.raises(Conflict, match=r'already assigned to node "n"'):
        await bind(server, binding("m"))


async def test_a_binding_for_another_incarnation_is_a_conflict(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a"), server.namespace)
    with pytest.raises(Conflict, match="UID in precondition"):
        await bind(server, binding("n", uid="of-an-earlier-one"))
    assert (await server.client.get(PODS, "a", server.namespace)).spec.node_name == ""


async def test_a_binding_of_a_pod_that_is_not_there_is_not_found(server: ServerUnderTest) -> None:
    with pytest.raises(NotFound):
        await bind(server, binding("n"))


async def test_a_pod_that_is_being_deleted_is_not_bound(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a", finalizers=["example.org/hold"]), server.namespace)
    await server.client.delete(PODS, "a", server.namespace)
    with pytest.raises(Conflict, match="is being deleted"):
        await bind(server, binding("n"))


async def test_a_node_is_created_and_its_status_patched(server: ServerUnderTest) -> None:
    name = f"node-{server.namespace}"
    await server.client.create(NODES, {"metadata": {"name": name}})
    body = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    after = await server.client.patch(NODES, name, body=body, subresource="status")
    assert after["status"]["conditions"][0]["type"] == "Ready"
    with pytest.raises(NotFound):
        await server.client.patch(NODES, "none", body=body, subresource="status")
