"""The scale subresource of custom resources: read and written as an autoscaling/v1 Scale."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from propeller.controller import workflow_crd
from propeller.errors import Rejected
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Raw, Request, Resource, Response
from propeller.testing import HttpServerUnderTest
from tests.contract.custom_resources import install
from tests.contract.objects import DEADLINE

FLEETS: Resource[Raw] = Resource(group="scale.example.org", version="v1", kind="Fleet", plural="fleets", type=dict)
PATHS = {"specReplicasPath": ".spec.ships", "statusReplicasPath": ".status.ships", "labelSelectorPath": ".status.match"}
NUMBER = {"type": "integer"}


def definition() -> Raw:
    crd = copy.deepcopy(workflow_crd())
    crd["metadata"]["name"] = f"{FLEETS.plural}.{FLEETS.group}"
    crd["spec"]["group"] = FLEETS.group
    crd["spec"]["names"] = {"kind": "Fleet", "listKind": "FleetList", "plural": "fleets", "singular": "fleet"}
    (served,) = crd["spec"]["versions"]
    spec = {"type": "object", "properties": {"ships": {**NUMBER, "maximum": 50}}}
    status = {"type": "object", "properties": {"ships": NUMBER, "match": {"type": "string"}}}
    schema = {"type": "object", "properties": {"spec": spec, "status": status}}
    served |= {"name": "v1", "schema": {"openAPIV3Schema": schema}, "additionalPrinterColumns": []}
    served["subresources"] = {"status": {}, "scale": PATHS}
    served.pop("selectableFields", None)
    return crd


@pytest.fixture
async def fleet(http_server: HttpServerUnderTest) -> Raw:
    await install(http_server.client, definition())
    body = {"metadata": {"name": "f"}, "spec": {"ships": 2}}
    return await http_server.client.create(FLEETS, body, http_server.namespace)


async def ask(
    server: HttpServerUnderTest, method: str, body: Any = None, content_type: str = "application/json"
) -> Response:
    path = f"/apis/{FLEETS.group}/v1/namespaces/{server.namespace}/fleets/f/scale"
    headers = {"content-type": content_type}
    given = b"" if body is None else orjson.dumps(body)
    request = Request(method=method, path=path, headers=headers, body=given)
    return await server.client.transport.send(request, deadline=DEADLINE)


async def ships(server: HttpServerUnderTest) -> Any:
    return (await server.client.get(FLEETS, "f", server.namespace))["spec"].get("ships")


async def test_a_scale_shows_replicas_selector_and_the_identity_of_its_resource(
    http_server: HttpServerUnderTest, fleet: Raw
) -> None:
    status = {"status": {"ships": 1, "match": "a=b"}}
    now = await http_server.client.patch(FLEETS, "f", http_server.namespace, body=status, subresource="status")
    scale = orjson.loads((await ask(http_server, "GET")).body)
    assert (scale["apiVersion"], scale["kind"]) == ("autoscaling/v1", "Scale")
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 1, "selector": "a=b"}
    assert scale["metadata"]["uid"] == fleet["metadata"]["uid"]
    assert scale["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/merge-patch+json", {"spec": {"replicas": 3}}),
        ("application/json-patch+json", [{"op": "replace", "path": "/spec/replicas", "value": 3}]),
    ],
)
async def test_a_patch_of_the_scale_changes_the_resource(
    http_server: HttpServerUnderTest, fleet: Raw, content_type: str, body: Any
) -> None:
    answer = await ask(http_server, "PATCH", body, content_type)
    assert orjson.loads(answer.body)["spec"] == {"replicas": 3}
    after = await http_server.client.get(FLEETS, "f", http_server.namespace)
    assert after["spec"] == {"ships": 3}
    assert after["metadata"]["generation"] == 2


async def test_a_scale_is_put_onto_its_version_only(http_server: HttpServerUnderTest, fleet: Raw) -> None:
    scale = orjson.loads((await ask(http_server, "GET")).body)
    scale["spec"]["replicas"] = 4
    assert (await ask(http_server, "PUT", scale)).status == 200
    assert await ships(http_server) == 4
    scale["spec"]["replicas"] = 5
    assert (await ask(http_server, "PUT", scale)).status == 409
    assert await ships(http_server) == 4


@pytest.mark.parametrize("replicas", [-1, 51, "many", 1.5])
async def test_a_scale_that_its_resource_cannot_have_is_refused(
    http_server: HttpServerUnderTest, fleet: Raw, replicas: Any
) -> None:
    answer = await ask(http_server, "PATCH", {"spec": {"replicas": replicas}}, "application/merge-patch+json")
    assert answer.status == 422, answer.body
    assert await ships(http_server) == 2


async def test_a_resource_without_the_field_has_no_scale_but_can_be_given_one(
    http_server: HttpServerUnderTest, fleet: Raw
) -> None:
    await http_server.client.patch(FLEETS, "f", http_server.namespace, body={"spec": {"ships": None}})
    answer = await ask(http_server, "GET")
    assert answer.status == 500
    assert b'the spec replicas field \\".spec.ships\\" does not exist' in answer.body
    merge = "application/merge-patch+json"
    assert (await ask(http_server, "PATCH", {"metadata": {"labels": {"a": "b"}}}, merge)).status == 400
    assert (await ask(http_server, "PATCH", {"spec": {"replicas": 1}}, merge)).status == 200
    assert await ships(http_server) == 1


async def test_a_negative_number_is_refused_in_the_resource_itself(
    http_server: HttpServerUnderTest, fleet: Raw
) -> None:
    with pytest.raises(Rejected, match="should be a non-negative integer"):
        await http_server.client.patch(FLEETS, "f", http_server.namespace, body={"spec": {"ships": -1}})


@pytest.mark.parametrize(("name", "path"), [("specReplicasPath", ".status.ships"), ("statusReplicasPath", "")])
async def test_a_definition_whose_paths_lead_elsewhere_is_refused(
    http_server: HttpServerUnderTest, name: str, path: str
) -> None:
    crd = definition()
    crd["metadata"]["name"] = "boats.scale.example.org"
    crd["spec"]["names"] = {"kind": "Boat", "listKind": "BoatList", "plural": "boats", "singular": "boat"}
    crd["spec"]["versions"][0]["subresources"]["scale"] = PATHS | {name: path}
    with pytest.raises(Rejected, match=f"spec.subresources.scale.{name}"):
        await http_server.client.create(CUSTOM_RESOURCE_DEFINITIONS, crd)
