"""Objects as `kubectl get` asks for them."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.embedded.server import ApiServer
from propeller.kube import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, PODS, Client, Raw
from tests.unit.server.asking import DEFAULT, ask, config_map, pod

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def definition(*columns: Raw) -> Raw:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": list(columns),
    }
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    return {
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def column(type_: str, path: str = ".spec.value") -> Raw:
    return {"name": "Value", "type": type_, "jsonPath": path}


async def cell_of(server: ApiServer, client: Client, type_: str, value: Any) -> Any:
    """Cells of a custom resource's values, by the column's type."""
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition(column(type_)))
    path = "/apis/example.com/v1/namespaces/default/things"
    body = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"value": value}}
    await ask(server, "POST", path, body)
    table = await ask(server, "GET", path, accept=TABLE)
    return table["rows"][0]["cells"][1]


@pytest.mark.parametrize(
    ("type_", "value", "shown"),
    [
        ("string", "text", "text"),
        ("string", {"a": 1}, '{"a":1}'),
        ("integer", 3, 3),
        ("integer", 3.7, 3),
        ("integer", "3", None),
        ("integer", True, None),
        ("number", 1.5, 1.5),
        ("boolean", False, False),
        ("boolean", "yes", None),
        ("date", "no date", "<invalid>"),
        ("date", 7, None),
    ],
)
async def test_a_column_shows_values_of_its_type(
    server: ApiServer, client: Client, type_: str, value: Any, shown: Any
) -> None:
    assert await cell_of(server, client, type_, value) == shown


@pytest.mark.parametrize(
    ("include", "kind"), [("None", None), ("Metadata", "PartialObjectMetadata"), ("Object", "Pod")]
)
async def test_a_row_carries_as_much_of_its_object_as_is_asked_for(
    server: ApiServer, client: Client, include: str, kind: str | None
) -> None:
    await client.create(PODS, pod("p"), "default")
    table = await ask(server, "GET", f"{DEFAULT}/pods", accept=TABLE, includeObject=include)
    carried = table["rows"][0]["object"]
    assert (carried and carried["kind"]) == kind


async def test_a_table_is_paged_like_a_list_of_objects(server: ApiServer, client: Client) -> None:
    for name in ("a", "b", "c"):
        await client.create(CONFIG_MAPS, config_map(name), "default")
    first = await ask(server, "GET", f"{DEFAULT}/configmaps", accept=TABLE, limit="2")
    options = {"limit": "2", "continue": first["metadata"]["continue"]}
    second = await ask(server, "GET", f"{DEFAULT}/configmaps", accept=TABLE, **options)
    assert [[row["cells"][0] for row in page["rows"]] for page in (first, second)] == [["a", "b"], ["c"]]


async def test_a_deletion_of_many_that_asks_for_a_table_deletes_all_the_same(server: ApiServer, client: Client) -> None:
    for name in ("a", "b", "c"):
        await client.create(CONFIG_MAPS, config_map(name), "default")
    await ask(server, "DELETE", f"{DEFAULT}/configmaps", accept=TABLE, limit="2")
    assert [one["metadata"]["name"] for one in (await client.list(CONFIG_MAPS, "default")).items] == ["c"]
