"""Discovery: for clients of either form, and in OpenAPI."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.controller import workflow_crd
from propeller.embedded.server import ApiServer
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client
from tests.unit.server.asking import ask, send

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def resources(groups: Any) -> set[str]:
    """Of aggregated discovery, as group/version/resource."""
    return {
        f"{group['metadata'].get('name', '')}/{version['version']}/{resource['resource']}"
        for group in groups["items"]
        for version in group["versions"]
        for resource in version["resources"]
    }


async def test_both_forms_of_discovery_tell_the_same(server: ApiServer, client: Client) -> None:
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
    aggregated = resources(await ask(server, "GET", "/apis", accept=AGGREGATED))
    plain = set()
    for group in (await ask(server, "GET", "/apis"))["groups"]:
        for version in group["versions"]:
            listed = await ask(server, "GET", f"/apis/{version['groupVersion']}")
            plain |= {
                f"{version['groupVersion']}/{one['name']}" for one in listed["resources"] if "/" not in one["name"]
            }
    assert aggregated == plain
    assert "flyte.lyft.com/v1alpha1/flyteworkflows" in plain


async def test_the_core_group_is_discovered_in_both_forms(server: ApiServer) -> None:
    aggregated = resources(await ask(server, "GET", "/api", accept=AGGREGATED))
    plain = await ask(server, "GET", "/api/v1")
    assert aggregated == {f"/v1/{one['name']}" for one in plain["resources"] if "/" not in one["name"]}
    pods = {one["name"]: one for one in plain["resources"]}
    assert pods["pods"]["shortNames"] == ["po"]
    assert {"pods/status", "pods/binding", "pods/eviction", "pods/log"} <= pods.keys()


async def test_a_type_is_no_longer_discovered_once_its_definition_is_gone(server: ApiServer, client: Client) -> None:
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
    await client.delete(CUSTOM_RESOURCE_DEFINITIONS, "flyteworkflows.flyte.lyft.com")
    for _ in range(5):
        await client.list(CUSTOM_RESOURCE_DEFINITIONS)
    assert not any("flyte" in one for one in resources(await ask(server, "GET", "/apis", accept=AGGREGATED)))
    assert "apis/flyte.lyft.com/v1alpha1" not in (await ask(server, "GET", "/openapi/v3"))["paths"]


async def test_every_group_version_has_a_document_whose_references_it_holds(server: ApiServer, client: Client) -> None:
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
    index = (await ask(server, "GET", "/openapi/v3"))["paths"]
    assert {"api/v1", "apis/flyte.lyft.com/v1alpha1", "apis/coordination.k8s.io/v1"} <= index.keys()
    for name, entry in index.items():
        path, _, query = entry["serverRelativeURL"].partition("?")
        document = await ask(server, "GET", path, hash=query.removeprefix("hash="))
        schemas = document["components"]["schemas"]
        assert document["paths"], name
        assert {one.removeprefix("#/components/schemas/") for one in references(schemas)} <= schemas.keys()


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set[str]().union(*map(references, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/readyz/ping"])
async def test_it_is_healthy(server: ApiServer, path: str) -> None:
    assert (await send(server, "GET", path)).body == b"ok"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/version", 200),
        ("/version/", 200),
        ("/api/v2", 404),
        ("/apis/none", 404),
        ("/apis/none/v1", 404),
        ("/apis/coordination.k8s.io", 200),
        ("/apis/coordination.k8s.io/v1", 200),
        ("/apis/coordination.k8s.io/v2", 404),
        ("/api/v1/things", 404),
        ("/api/v1/namespaces/default/pods/p/none", 404),
        ("/api/v1/namespaces/default/nodes", 404),
        ("/api/v1/pods/p", 404),
        ("/openapi/v3/apis/none/v1", 404),
        ("/none", 404),
        ("/api/v1/namespaces/default/pods/", 404),
        ("/api/v1/namespaces/de%66ault/pods", 200),
    ],
)
async def test_a_path_leads_to_something_or_is_not_found(server: ApiServer, path: str, status: int) -> None:
    assert (await send(server, "GET", path)).status == status


async def test_access_reviews_allow_everything_to_everyone(server: ApiServer) -> None:
    attributes = {"verb": "create", "resource": "pods", "namespace": "default"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await ask(server, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    assert answer["status"]["allowed"] is True
    who = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await ask(server, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", who)
    assert answer["status"]["userInfo"]["username"] == "kubernetes-admin"
