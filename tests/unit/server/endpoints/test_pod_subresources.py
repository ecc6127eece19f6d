"""Bindings and evictions."""

from __future__ import annotations

from propeller.embedded.server import ApiServer
from propeller.kube import PODS, Client
from tests.unit.server.asking import DEFAULT, ask, pod, send


async def test_a_binding_carries_labels_and_annotations_along(server: ApiServer, client: Client) -> None:
    await client.create(PODS, pod("p", labels={"a": "1"}), "default")
    binding = {"metadata": {"name": "p", "labels": {"b": "2"}}, "target": {"kind": "Node", "name": "n1"}}
    assert (await ask(server, "POST", f"{DEFAULT}/pods/p/binding", binding))["status"] == "Success"
    bound = await client.get(PODS, "p", "default")
    assert bound.spec.node_name == "n1"
    assert bound.metadata.labels == {"a": "1", "b": "2"}


async def test_an_eviction_deletes_with_the_options_that_it_carries(server: ApiServer, client: Client) -> None:
    await client.create(PODS, pod("p", node="n1"), "default")
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "p"},
        "deleteOptions": {"gracePeriodSeconds": 7},
    }
    assert (await send(server, "POST", f"{DEFAULT}/pods/p/eviction", eviction)).status == 201
    left = await ask(server, "GET", f"{DEFAULT}/pods/p")
    assert left["metadata"]["deletionGracePeriodSeconds"] == 7
    assert {"DisruptionTarget": "True"}.items() <= {
        one["type"]: one["status"] for one in left["status"]["conditions"]
    }.items()


async def test_a_dry_run_of_a_binding_or_an_eviction_changes_nothing(server: ApiServer, client: Client) -> None:
    await client.create(PODS, pod("p"), "default")
    version = server.resource_version
    binding = {"metadata": {"name": "p"}, "target": {"name": "n1"}}
    await send(server, "POST", f"{DEFAULT}/pods/p/binding", binding, dryRun="All")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    await send(server, "POST", f"{DEFAULT}/pods/p/eviction", eviction, dryRun="All")
    assert server.resource_version == version
