"""Whatever is asked, the answer is an answer: nothing but objects and Statuses leave the server, and it goes on."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer
from propeller.embedded.server.schema._schema import Schema, Shape, builtin
from propeller.kube import Raw, Request
from propeller.testing import run_virtually
from tests.unit.server.asking import DEFAULT, ask, pod

CORE, JSON_SCHEMA = "io.k8s.api.core.v1", "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
TYPES = {
    **{
        f"{DEFAULT}/{kind.lower()}s": f"{CORE}.{kind}"
        for kind in ("Pod", "ConfigMap", "Secret", "ResourceQuota", "Event")
    },
    "/api/v1/namespaces": f"{CORE}.Namespace",
    "/api/v1/nodes": f"{CORE}.Node",
    "/apis/coordination.k8s.io/v1/namespaces/default/leases": "io.k8s.api.coordination.v1.Lease",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles": "io.k8s.api.rbac.v1.Role",
}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
THINGS = "/apis/example.com/v1/namespaces/default/things"
PATCHES = ("merge-patch+json", "strategic-merge-patch+json", "json-patch+json", "apply-patch+yaml")
TEXTS = (
    *("", "a", "p", "x-y", "é", "a/b", "1", "-1", "1Gi", "100m", "1e9999", "NaN", "true", "a" * 70, ".spec.x", "("),
    *("2020-01-01T00:00:00Z", "2020-01-01T00:00:00.5+02:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"),
    *("Always", "Never", "In", "Exists", "Running", "Failed", "BestEffort", "kubernetes", "object", "array", "string"),
)
NUMBERS = (0, 1, -1, 30, 65536, 2**31, 2**63 - 1, -(2**63))


def value(rng: random.Random, schema: Schema, depth: int = 6) -> Any:
    """Something of the schema's shape, nearly always, that makes no sense, nearly always."""
    if rng.random() < 0.02:
        return rng.choice([None, 1, "x", [], {}, [None], {"a": None}])
    match schema.shape:
        case Shape.OBJECT:
            names = rng.sample(list(schema.fields), min(len(schema.fields), rng.randrange(6))) if depth else ()
            wanted = {**dict.fromkeys(schema.raw.get("required", ())), **dict.fromkeys(names)}
            return {name: value(rng, schema.fields[name], max(depth - 1, 0)) for name in wanted}
        case Shape.MAP:
            return {rng.choice(TEXTS): value(rng, schema.items, max(depth - 1, 0)) for _ in range(rng.randrange(3))}
        case Shape.LIST:
            return [value(rng, schema.items, max(depth - 1, 0)) for _ in range(rng.randrange(3))]
        case Shape.SCALAR:
            return scalar(rng, schema)
        case _:
            return rng.choice([{}, {"type": "object"}, 1, "x", None, [1], {"f:metadata": {}}, {"a": {"b": 1}}])


def scalar(rng: random.Random, schema: Schema) -> Any:
    match schema.type:
        case "integer" | "number":
            return rng.choice(NUMBERS)
        case "boolean":
            return rng.random() < 0.5
        case _ if schema.format == "date-time":
            return rng.choice([text for text in TEXTS if text.endswith(("Z", ":00"))])
        case _:
            return rng.choice(TEXTS)


def definition(rng: random.Random) -> Raw:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": value(rng, builtin(JSON_SCHEMA), 4)}}},
        "additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": rng.choice(TEXTS)}],
    }
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    return {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}


def body(rng: random.Random, path: str) -> Any:
    if path == DEFINITIONS:
        return {"metadata": {"name": "things.example.com"}, "spec": definition(rng)}
    if path == THINGS:
        spec = rng.choice([{}, None, [1], "x", {"x": {"y": [1, {"z": None}]}}])
        return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "p"}, "spec": spec}
    made = value(rng, builtin(TYPES[path]))
    if isinstance(made, dict) and rng.random() < 0.9:
        made = {key: member for key, member in made.items() if key not in ("kind", "apiVersion")}
        made["metadata"] = {"name": "p"}
        if path.endswith("/pods") and isinstance(made.get("spec"), dict):
            made["spec"]["containers"] = pod("p")["spec"]["containers"]
    return made


def request(rng: random.Random) -> Request:
    path = rng.choice([*TYPES, f"{DEFAULT}/pods", DEFINITIONS, THINGS])
    method = rng.choice(["POST", "POST", "POST", "PUT", "PATCH", "PATCH", "DELETE", "GET"])
    name = "things.example.com" if path == DEFINITIONS else "p"
    below = "" if method == "POST" else f"/{name}{rng.choice(['', '', '/status'])}"
    content = rng.choice(PATCHES) if method == "PATCH" else "json"
    headers = {"content-type": f"application/{content}", "accept": rng.choice(["application/json", "application/yaml"])}
    sent = b"" if method in ("GET", "DELETE") else json.dumps(body(rng, path)).encode()
    query = {"fieldManager": "me", "force": "true"} if content.startswith("apply") else {}
    return Request(method=method, path=path + below, query=query, headers=headers, body=sent)


@pytest.mark.parametrize("seed", range(40))
def test_any_request_is_answered_and_does_not_harm_the_server(seed: int) -> None:
    async def scenario() -> None:
        rng = random.Random(seed)
        async with ApiServer(clock=LoopClock(), randomness=random.Random(0)) as server:
            transport = server.transport()
            for _ in range(40):
                asked = request(rng)
                answer = await transport.send(asked, deadline=60)
                assert 200 <= answer.status < 600, asked
            await asyncio.sleep(8000)  # events expire, quotas are worked out, garbage is collected
            for path in [*TYPES, DEFINITIONS]:
                table = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
                shown = await transport.send(Request(method="GET", path=path, headers=table), deadline=60)
                assert shown.status == 200, path

    run_virtually(scenario())


def crd(schema: Any) -> Raw:
    made = definition(random.Random(0))
    made["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = schema
    made["versions"][0]["additionalPrinterColumns"] = []
    return {"metadata": {"name": "things.example.com"}, "spec": made}


@pytest.mark.parametrize(
    ("schema", "code", "why"),
    [
        ({"type": "string", "pattern": {"a": 1}}, 400, "cannot unmarshal object into Go struct field"),
        (
            {"type": "array", "items": {"type": "string", "pattern": 3}},
            400,
            "cannot unmarshal number into Go struct field",
        ),
        ({"type": "array", "items": "x"}, 422, "items: Required value: must be specified"),
        ({"type": "integer", "minimum": "3"}, 400, "cannot unmarshal string into Go struct field"),
        ({"type": "string", "allOf": [{"pattern": "("}]}, 422, "must be a valid regular expression"),
        (
            {"type": "object", "properties": {"a": {"type": "object", "not": {"properties": {"b": {"pattern": "("}}}}}},
            422,
            "valid regular expression",
        ),
        ({"type": "object", "$ref": "#/definitions/x"}, 422, "$ref is not supported"),
    ],
)
async def test_a_schema_that_could_not_be_used_is_refused_with_its_definition(
    server: ApiServer, schema: Any, code: int, why: str
) -> None:
    refused = await ask(server, "POST", DEFINITIONS, crd(schema))
    assert (refused["code"], why in refused["message"]) == (code, True), refused["message"]


async def test_data_that_is_no_base64_nor_even_ascii_is_a_bad_request(server: ApiServer) -> None:
    refused = await ask(server, "POST", f"{DEFAULT}/secrets", {"metadata": {"name": "s"}, "data": {"k": "é"}})
    assert (refused["code"], "illegal base64 data at input byte 0" in refused["message"]) == (400, True)


@pytest.mark.parametrize(
    ("amount", "stored"),
    [
        ("100Ei", str(2**63 - 1)),
        ("1e20", "100e18"),
        ("9.5E", "9500P"),
        ("9" * 25, "9" * 25),
        ("1e-50", "1e-3"),
        ("0." + "1" * 60, "112m"),
    ],
)
async def test_amounts_larger_and_finer_than_anybody_has_are_kept_as_the_real_server_keeps_them(
    server: ApiServer, amount: str, stored: str
) -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": amount}}}
    made = await ask(server, "POST", f"{DEFAULT}/resourcequotas", quota)
    assert made["spec"]["hard"] == {"requests.cpu": stored}


@pytest.mark.parametrize("amount", ["1e9999", "-1e9999", "1e-9999", "1e99999999999999999999", "9" * 5000])
async def test_an_amount_beyond_all_bounds_is_answered(server: ApiServer, amount: str) -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": amount}}}
    assert (await ask(server, "POST", f"{DEFAULT}/resourcequotas", quota)).get("code", 201) in (201, 400, 422)


async def test_a_definition_with_spoiled_conditions_is_still_served(server: ApiServer) -> None:
    await ask(server, "POST", DEFINITIONS, crd({"type": "object"}))
    spoiled = {"status": {"conditions": [{"status": "True"}]}}
    path = f"{DEFINITIONS}/things.example.com/status"
    await ask(server, "PATCH", path, spoiled, content_type="application/merge-patch+json")
    thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}}
    assert (await ask(server, "POST", THINGS, thing))["metadata"]["name"] == "t"


async def test_a_list_is_no_merge_key(server: ApiServer) -> None:
    await ask(server, "POST", f"{DEFAULT}/pods", pod("p"))
    patch = {"spec": {"containers": [{"name": ["main"]}]}}
    kind = "application/strategic-merge-patch+json"
    refused = await ask(server, "PATCH", f"{DEFAULT}/pods/p", patch, content_type=kind)
    assert (refused["kind"], refused["code"] >= 400) == ("Status", True)
