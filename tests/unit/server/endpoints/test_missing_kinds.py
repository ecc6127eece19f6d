"""Kinds that a real cluster has and this server lacks: the answer says which, and what there is."""

from __future__ import annotations

import pytest

from propeller.embedded.server import ApiServer
from tests.unit.server.asking import DEFAULT, ask, send


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/apis/apps/v1/namespaces/default/deployments", "deployments.apps"),
        ("GET", "/apis/batch/v1/cronjobs", "cronjobs.batch"),
        ("DELETE", "/apis/networking.k8s.io/v1/namespaces/default/ingresses/i", "ingresses.networking.k8s.io"),
        ("GET", "/api/v1/namespaces/default/endpoints/s", "endpoints"),
        ("GET", "/api/v1/persistentvolumes", "persistentvolumes"),
    ],
)
async def test_a_kind_that_is_lacked_is_named_with_those_that_are_served(
    server: ApiServer, method: str, path: str, name: str
) -> None:
    answer = await ask(server, method, path)
    assert (answer["code"], answer["reason"]) == (404, "NotFound")
    assert answer["message"].startswith(f"the embedded API server has no {name}; it serves ")
    assert " pods," in answer["message"]


@pytest.mark.parametrize("path", ["/apis/unknown.example.org/v1/things", "/apis/apps", "/apis/apps/v1"])
async def test_an_unknown_kind_is_answered_as_by_kube_apiserver(server: ApiServer, path: str) -> None:
    assert (await send(server, "GET", path)).body == b"404 page not found\n"


@pytest.mark.parametrize("plural", ["services", "limitranges"])
async def test_a_kind_that_clients_list_is_listed_as_empty_and_cannot_be_made(server: ApiServer, plural: str) -> None:
    assert (await ask(server, "GET", f"{DEFAULT}/{plural}"))["items"] == []
    assert (await ask(server, "GET", f"{DEFAULT}/{plural}/x"))["message"] == f'{plural} "x" not found'
    refused = await ask(server, "POST", f"{DEFAULT}/{plural}", {"metadata": {"name": "x"}})
    assert refused["message"].startswith(f"the embedded API server keeps no {plural}: ")


@pytest.mark.parametrize("path", ["pods/p/exec", "pods/p/portforward", "serviceaccounts/default/token"])
async def test_a_subresource_that_is_lacked_is_named(server: ApiServer, path: str) -> None:
    plural, _, subresource = path.split("/")
    refused = await ask(server, "POST", f"{DEFAULT}/{path}")
    assert (refused["code"], refused["message"]) == (404, f"the embedded API server has no {plural}/{subresource}")
