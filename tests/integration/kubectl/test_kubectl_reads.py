"""kubectl's reading commands against the embedded server."""

from __future__ import annotations

import asyncio
import re

import pytest

from propeller.controller import FLYTE_WORKFLOWS
from propeller.kube import NODES, PODS, Client, Raw
from tests.integration.kubectl.conftest import DEADLINE, Kubectl, pod

pytestmark = pytest.mark.needs("kubectl")


async def run_pod(client: Client, name: str = "p") -> None:
    """A pod that runs on a node, as a kubelet would report it."""
    await client.create(PODS, pod(name, labels={"app": "web"}), "default")
    binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}}
    await client.create(PODS, binding, "default", name=name, subresource="binding")
    status = {
        "phase": "Running",
        "podIP": "127.0.0.1",
        "podIPs": [{"ip": "127.0.0.1"}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {"name": "main", "ready": True, "restartCount": 0, "state": {"running": {}}, "image": "i", "imageID": "i"}
        ],
    }
    await client.patch(PODS, name, "default", body={"status": status}, subresource="status")


async def test_get_shows_pods_with_their_columns(kubectl: Kubectl, client: Client) -> None:
    await run_pod(client)
    header, row = (await kubectl("get", "pods")).splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[:4] == ["p", "1/1", "Running", "0"]
    _, wide = (await kubectl("get", "pods", "-o", "wide")).splitlines()
    assert wide.split()[5:7] == ["127.0.0.1", "n1"]


async def test_get_shows_workflows_with_the_columns_of_their_definition(kubectl: Kubectl, client: Client) -> None:
    await client.create(FLYTE_WORKFLOWS, {"metadata": {"name": "w"}}, "default")
    status = {"state": "running", "counts": {"succeeded": 3, "running": 2}}
    await client.patch(FLYTE_WORKFLOWS, "w", "default", body={"status": status}, subresource="status")
    header, row = (await kubectl("get", "fly")).splitlines()
    assert header.split() == ["NAME", "STATE", "SUCCEEDED", "RUNNING", "AGE"]
    assert row.split()[:4] == ["w", "running", "3", "2"]


async def test_get_shows_two_kinds_at_once(kubectl: Kubectl, client: Client) -> None:
    await run_pod(client)
    await client.create(FLYTE_WORKFLOWS, {"metadata": {"name": "w"}}, "default")
    shown = await kubectl("get", "pods,flyteworkflows")
    assert "pod/p" in shown
    assert "flyteworkflow.flyte.lyft.com/w" in shown


@pytest.mark.parametrize("kind", ["pods", "flyteworkflows"])
async def test_get_watches_and_shows_changes_as_they_come(kubectl: Kubectl, client: Client, kind: str) -> None:
    resource = PODS.typed(Raw) if kind == "pods" else FLYTE_WORKFLOWS
    async with kubectl.following("get", kind, "-w", "--no-headers") as lines, asyncio.timeout(DEADLINE):
        await asyncio.sleep(0.5)
        await client.create(resource, pod("first") if kind == "pods" else {"metadata": {"name": "first"}}, "default")
        assert (await lines.readline()).startswith(b"first")
        await client.create(resource, pod("second") if kind == "pods" else {"metadata": {"name": "second"}}, "default")
        assert (await lines.readline()).startswith(b"second")


async def test_describe_shows_a_pod_with_its_events(kubectl: Kubectl, client: Client) -> None:
    await run_pod(client)
    uid = (await client.get(PODS, "p", "default")).metadata.uid
    await kubectl("create", "-f", "-", given=event("Started", "container main started", uid))
    shown = await kubectl("describe", "pod", "p")
    assert re.search(r"Node: +n1/", shown)
    assert "container main started" in shown


async def test_describe_shows_a_workflow_and_a_node(kubectl: Kubectl, client: Client) -> None:
    await client.create(FLYTE_WORKFLOWS, {"metadata": {"name": "w"}, "spec": {"id": "x"}}, "default")
    await client.create(NODES, {"metadata": {"name": "n1"}, "status": {"capacity": {"cpu": "2"}}})
    assert "API Version:  flyte.lyft.com/v1alpha1" in await kubectl("describe", "flyteworkflow", "w")
    assert "cpu:  2" in await kubectl("describe", "node", "n1")


async def test_get_events_shows_what_happened_to_whom(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", given=event("Failed", "it broke"))
    row = (await kubectl("get", "events")).splitlines()[1].split()
    assert row[1:] == ["Warning", "Failed", "pod/p", "it", "broke"]


async def test_logs_are_read_whole_by_their_end_and_as_they_come(kubectl: Kubectl, client: Client) -> None:
    await run_pod(client)
    assert (await kubectl("logs", "p")).splitlines() == [f"default/p/main line {number}" for number in range(3)]
    assert (await kubectl("logs", "p", "--tail=1")).splitlines() == ["default/p/main line 2"]
    assert len((await kubectl("logs", "p", "-f")).splitlines()) == 3


async def test_objects_are_shown_as_json_yaml_and_by_path(kubectl: Kubectl, client: Client) -> None:
    await run_pod(client)
    assert (await kubectl.json("get", "pod", "p"))["status"]["phase"] == "Running"
    assert (await kubectl.json("get", "pods"))["items"][0]["kind"] == "Pod"
    assert "phase: Running" in await kubectl("get", "pod", "p", "-o", "yaml")
    assert await kubectl("get", "pod", "p", "-o", "jsonpath={.spec.nodeName}") == "n1"


async def test_selectors_select(kubectl: Kubectl, client: Client) -> None:
    await run_pod(client)
    await client.create(PODS, pod("q"), "default")
    assert await kubectl("get", "pods", "-l", "app=web", "-o", "name") == "pod/p\n"
    assert await kubectl("get", "pods", "--field-selector", "spec.nodeName=", "-o", "name") == "pod/q\n"


async def test_a_big_list_comes_in_chunks(kubectl: Kubectl, client: Client) -> None:
    for number in range(25):
        await client.create(PODS, pod(f"p{number:02d}"), "default")
    assert len((await kubectl("get", "pods", "--chunk-size=10", "-o", "name")).splitlines()) == 25


async def test_api_resources_names_what_there_is(kubectl: Kubectl) -> None:
    shown = (await kubectl("api-resources", "-o", "name")).split()
    assert {"pods", "nodes", "leases.coordination.k8s.io", "flyteworkflows.flyte.lyft.com"} <= set(shown)


async def test_explain_knows_the_fields(kubectl: Kubectl) -> None:
    assert "containers\t<[]Container> -required-" in await kubectl("explain", "pod.spec")
    assert "KIND:       FlyteWorkflow" in await kubectl("explain", "flyteworkflow")


async def test_version_health_and_identity_are_told(kubectl: Kubectl) -> None:
    assert "Server Version: v1.37" in await kubectl("version")
    assert await kubectl("get", "--raw", "/readyz") == "ok"
    assert "kubernetes-admin" in await kubectl("auth", "whoami")
    assert await kubectl("auth", "can-i", "create", "pods") == "yes\n"


async def test_wait_waits_for_a_condition_and_for_deletion(kubectl: Kubectl, client: Client) -> None:
    await client.create(PODS, pod(), "default")
    async with asyncio.TaskGroup() as group:
        ready = group.create_task(kubectl("wait", "--for=condition=Ready", "pod/p"))
        await asyncio.sleep(0.5)
        body = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await client.patch(PODS, "p", "default", body=body, subresource="status")
    assert "condition met" in ready.result()
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(kubectl("wait", "--for=delete", "pod/p"))
        await asyncio.sleep(0.5)
        await client.delete(PODS, "p", "default")
    assert "condition met" in gone.result()


def event(reason: str, message: str, uid: str = "") -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"p.{reason.lower()}", "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": "default", "uid": uid},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "count": 1,
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
