"""Custom resources by their schema: what is pruned, filled in and refused."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.embedded.server import ApiServer
from propeller.embedded.server.schema._schema import Schema
from propeller.embedded.server.schema._structural import fill_defaults, prune, validate
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client, Raw
from tests.unit.server.asking import ask, send

PATH = "/apis/example.com/v1/namespaces/default/things"


def definition(spec: Raw, **version: Any) -> Raw:
    """Of things, whose spec has a schema."""
    schema = {"type": "object", "properties": {"spec": spec, "status": {"type": "object"}}}
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList", "shortNames": ["th"]}
    served = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}
    return {
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [served]},
    }


async def create(server: ApiServer, spec: Any) -> Any:
    body = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec}
    return await ask(server, "POST", PATH, body)


SPEC = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 9},
        "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string", "default": "y"}}}},
    },
}


async def test_unknown_fields_are_pruned_and_defaults_filled_in(server: ApiServer, client: Client) -> None:
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition(SPEC))
    made = await create(server, {"size": 1, "other": 1, "free": {"any": [1]}, "list": [{"z": 1}, {"x": "1"}]})
    assert made["spec"] == {"size": 1, "mode": "a", "free": {"any": [1]}, "list": [{"x": "y"}, {"x": "1"}]}


async def test_all_errors_are_reported_at_once(server: ApiServer, client: Client) -> None:
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition(SPEC))
    refused = await create(server, {"size": 10, "mode": "c"})
    assert refused["reason"] == "Invalid"
    assert {cause["field"]: cause["message"] for cause in refused["details"]["causes"]} == {
        "spec.size": "Invalid value: 10: spec.size in body should be less than or equal to 9",
        "spec.mode": 'Unsupported value: "c": supported values: "a", "b"',
    }
    refused = await create(server, {"size": "1"})
    assert refused["details"]["causes"][0]["reason"] == "FieldValueTypeInvalid"
    refused = await create(server, {})
    assert refused["details"]["causes"][0] == {
        "reason": "FieldValueRequired",
        "message": "Required value",
        "field": "spec.size",
    }


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "abc"], ["a", "abcd", 1]),
        ({"type": "string", "pattern": "^a+$"}, ["aa"], ["b"]),
        ({"type": "string", "format": "date-time"}, ["2026-01-02T03:04:05Z"], ["yesterday"]),
        ({"type": "number", "exclusiveMinimum": True, "minimum": 0}, [0.1, 1], [0]),
        ({"type": "integer", "multipleOf": 3}, [0, 9], [4]),
        ({"type": "integer"}, [1, 2.0], [1.5, True, "1"]),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2}, [["a"]], [[], ["a"] * 3, [1]]),
        ({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}, [["a", "b"]], [["a", "a"]]),
        ({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "integer"}}, [{"a": 1}], [{"a": "1"}]),
        ({"x-kubernetes-int-or-string": True}, [1, "1"], [True, 1.5, []]),
        ({"type": "string", "nullable": True}, [None, "a"], [1]),
        ({"type": "string"}, ["a"], [None]),
        ({"anyOf": [{"minimum": 5}, {"maximum": 1}]}, [6, 0], [3]),
        ({"oneOf": [{"minimum": 5}, {"maximum": 7}]}, [8, 0], [6]),
        ({"allOf": [{"minimum": 5}, {"maximum": 7}]}, [6], [4, 8]),
        ({"not": {"minimum": 5}}, [4], [6]),
    ],
)
def test_each_keyword_accepts_good_and_refuses_bad_values(schema: Raw, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert list(validate(value, Schema(schema), "f")) == []
    for value in bad:
        assert list(validate(value, Schema(schema), "f")), value


def test_pruning_names_dropped_fields() -> None:
    schema = Schema({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}}}})
    value = {"a": [{"b": 1}, {}], "c": 1}
    unknown: list[str] = []
    prune(value, schema, "", unknown)
    assert (value, unknown) == ({"a": [{}, {}]}, ["a[0].b", "c"])


def test_a_default_is_not_shared_between_objects() -> None:
    schema = Schema({"type": "object", "properties": {"a": {"type": "object", "default": {"l": []}}}})
    one: Raw = {}
    other: Raw = {}
    fill_defaults(one, schema)
    fill_defaults(other, schema)
    one["a"]["l"].append(1)
    assert other == {"a": {"l": []}}


async def test_rules_that_are_not_evaluated_are_warned_of(server: ApiServer) -> None:
    ruled = {**SPEC, "x-kubernetes-validations": [{"rule": "self.size > 0"}]}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    answer = await send(server, "POST", path, definition(ruled))
    assert answer.status == 201
    assert "CEL rules are kept" in answer.headers["warning"]


async def test_a_conversion_by_webhook_is_refused(server: ApiServer) -> None:
    body = definition(SPEC)
    body["spec"]["conversion"] = {"strategy": "Webhook"}
    refused = await ask(server, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
    assert refused["code"] == 422


async def test_versions_that_are_served_share_their_objects(server: ApiServer, client: Client) -> None:
    body = definition(SPEC)
    second = {**body["spec"]["versions"][0], "name": "v1beta1", "storage": False}
    body["spec"]["versions"].append(second)
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, body)
    await create(server, {"size": 1})
    seen = await ask(server, "GET", PATH.replace("/v1/", "/v1beta1/") + "/t")
    assert (seen["apiVersion"], seen["spec"]["size"]) == ("example.com/v1beta1", 1)


async def test_a_definition_that_goes_takes_its_objects_along(server: ApiServer, client: Client) -> None:
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition(SPEC))
    await create(server, {"size": 1})
    await client.delete(CUSTOM_RESOURCE_DEFINITIONS, "things.example.com")
    for _ in range(10):
        await client.list(CUSTOM_RESOURCE_DEFINITIONS)
    assert (await send(server, "GET", PATH)).status == 404
    assert (await client.list(CUSTOM_RESOURCE_DEFINITIONS)).items == ()
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition(SPEC))
    assert (await ask(server, "GET", PATH))["items"] == []


async def test_without_a_schema_for_its_status_a_write_to_it_is_part_of_the_object(
    server: ApiServer, client: Client
) -> None:
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition(SPEC))
    await create(server, {"size": 1})
    assert (await send(server, "GET", f"{PATH}/t/status")).status == 404
    merge = {"content_type": "application/merge-patch+json"}
    changed = await ask(server, "PATCH", f"{PATH}/t", {"status": {}, "spec": {"size": 2}}, **merge)
    assert changed["metadata"]["generation"] == 2
