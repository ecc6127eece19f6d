"""Empty lists and maps of built-in kinds are as good as absent: Go's types leave them out, and so do we."""

from __future__ import annotations

import pytest

from propeller.embedded.server import ApiServer
from propeller.kube import CONFIG_MAPS, PODS, Client, Raw
from tests.unit.server.asking import DEFAULT, ask, config_map, pod, watching

NOTHING: list[tuple[str, Raw]] = [
    ("pods/p", {"metadata": {"labels": {}, "annotations": {}, "finalizers": [], "ownerReferences": []}}),
    ("pods/p", {"spec": {"imagePullSecrets": [], "nodeSelector": {}, "initContainers": []}}),
    ("pods/p/status", {"status": {"conditions": [], "containerStatuses": [], "podIPs": []}}),
    ("configmaps/c", {"data": {}, "binaryData": {}, "metadata": {"labels": {}}}),
]


@pytest.mark.parametrize(("path", "patch"), NOTHING)
async def test_writing_an_empty_value_over_a_missing_one_changes_nothing(
    server: ApiServer, client: Client, path: str, patch: Raw
) -> None:
    await client.create(PODS, pod("p"), "default")
    await client.create(CONFIG_MAPS, config_map("c"), "default")
    version = server.resource_version
    resource = PODS.typed(dict) if path.startswith("pods") else CONFIG_MAPS
    async with watching(client, resource, "default", resource_version=str(version)) as seen:
        await ask(server, "PATCH", f"{DEFAULT}/{path}", patch, content_type="application/merge-patch+json")
    assert server.resource_version == version
    assert seen == []


async def test_an_empty_struct_stays_for_it_says_something(server: ApiServer) -> None:
    body = pod("p")
    body["spec"]["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    body["spec"]["containers"][0] |= {"args": [], "env": [], "resources": {"limits": {}}, "securityContext": {}}
    made = await ask(server, "POST", f"{DEFAULT}/pods", body)
    assert made["spec"]["volumes"] == [{"name": "scratch", "emptyDir": {}}]
    container = made["spec"]["containers"][0]
    assert container["resources"] == container["securityContext"] == {}
    assert not {"args", "env"} & container.keys()


async def test_a_required_field_may_not_be_empty(server: ApiServer) -> None:
    body = pod("p")
    body["spec"]["containers"] = []
    refused = await ask(server, "POST", f"{DEFAULT}/pods", body)
    assert (refused["code"], refused["details"]["causes"][0]["field"]) == (422, "spec.containers")


async def test_emptying_a_map_removes_it(server: ApiServer, client: Client) -> None:
    await client.create(CONFIG_MAPS, {**config_map("c", labels={"a": "b"}), "data": {"k": "v"}}, "default")
    body = {"metadata": {"name": "c", "labels": {}}, "data": {}}
    replaced = await client.replace(CONFIG_MAPS, body, "c", "default")
    assert "data" not in replaced
    assert "labels" not in replaced["metadata"]
