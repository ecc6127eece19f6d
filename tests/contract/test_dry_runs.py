"""Dry runs: each write answers as if it had been done, and leaves every object and version as it was."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from propeller.kube import CONFIG_MAPS, PODS, Raw, Request, Response
from propeller.testing import HttpServerUnderTest
from tests.contract.objects import DEADLINE, config_map, pod

DRY: Raw = {"dryRun": "All"}
OPTIONS: Raw = {"dryRun": ["All"]}
APPLIED: Raw = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "there"}}
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"


def eviction(name: str, **options: Any) -> Raw:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    return body | ({"deleteOptions": options} if options else {})


WRITES = [
    pytest.param("POST", "configmaps", config_map("new"), DRY, id="create"),
    pytest.param("PUT", "configmaps/there", config_map("there", a="2"), DRY, id="replace"),
    pytest.param("PATCH", "configmaps/there", {"data": {"a": "2"}}, DRY, id="patch"),
    pytest.param("PATCH", "configmaps/there", APPLIED | {"data": {"b": "2"}}, DRY, id="apply"),
    pytest.param("PATCH", "configmaps/new", APPLIED | {"metadata": {"name": "new"}}, DRY, id="apply of a new one"),
    pytest.param("PATCH", "pods/p/status", {"status": {"phase": "Running"}}, DRY, id="status"),
    pytest.param("DELETE", "configmaps/there", None, DRY, id="delete by query"),
    pytest.param("DELETE", "configmaps/there", OPTIONS, {}, id="delete by options"),
    pytest.param("DELETE", "configmaps/held", OPTIONS, {}, id="delete of what has a finalizer"),
    pytest.param("DELETE", "configmaps", None, DRY, id="delete all by query"),
    pytest.param("DELETE", "configmaps", OPTIONS, {}, id="delete all by options"),
    pytest.param("DELETE", "pods/p", {"gracePeriodSeconds": 0} | OPTIONS, {}, id="delete of a pod"),
    pytest.param("POST", "pods/p/eviction", eviction("p"), DRY, id="evict by query"),
    pytest.param("POST", "pods/p/eviction", eviction("p", dryRun=["All"]), {}, id="evict by options"),
    pytest.param("POST", "pods/p/eviction", eviction("p", dryRun=["All"]), DRY, id="evict by both"),
    pytest.param(
        "POST",
        "pods/p/binding",
        {"kind": "Binding", "apiVersion": "v1", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}},
        DRY,
        id="bind",
    ),
]


async def state(server: HttpServerUnderTest) -> list[tuple[str, str, Any]]:
    """Every object of the namespace that a write here could touch, with its version."""
    found: list[tuple[str, str, Any]] = []
    for resource in (CONFIG_MAPS, PODS):
        listed = await server.client.list(resource.typed(dict), server.namespace)
        found += [
            (one["metadata"]["name"], one["metadata"]["resourceVersion"], one["metadata"].get("deletionTimestamp"))
            for one in listed.items
        ]
    return found


async def write(server: HttpServerUnderTest, method: str, path: str, body: Raw | None, query: Raw) -> Response:
    headers = {"content-type": "application/json"}
    if method == "PATCH":
        applied = body is not None and "kind" in body
        headers = {"content-type": APPLY if applied else MERGE}
        query = query | ({"fieldManager": "t"} if applied else {})
    request = Request(
        method=method,
        path=f"/api/v1/namespaces/{server.namespace}/{path}",
        query=query,
        headers=headers,
        body=b"" if body is None else orjson.dumps(body),
    )
    return await server.client.transport.send(request, deadline=DEADLINE)


@pytest.mark.parametrize(("method", "path", "body", "query"), WRITES)
async def test_a_dry_run_answers_and_changes_nothing(
    http_server: HttpServerUnderTest, method: str, path: str, body: Raw | None, query: Raw
) -> None:
    client, namespace = http_server.client, http_server.namespace
    await client.create(CONFIG_MAPS, config_map("there", a="1"), namespace)
    held = config_map("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await client.create(CONFIG_MAPS, held, namespace)
    await client.create(PODS, pod("p"), namespace)
    before = await state(http_server)
    answer = await write(http_server, method, path, body, query)
    assert answer.status in (200, 201), answer.body
    assert await state(http_server) == before


async def test_an_eviction_whose_options_are_wrong_is_refused_and_the_pod_stays(
    http_server: HttpServerUnderTest,
) -> None:
    await http_server.client.create(PODS, pod("p"), http_server.namespace)
    for options in ({"dryRun": ["Some"]}, {"propagationPolicy": "Sideways"}, {"preconditions": {"uid": "another"}}):
        answer = await write(http_server, "POST", "pods/p/eviction", eviction("p", **options), {})
        assert answer.status in (409, 422), (options, answer.body)
    ((name, _, deleted_at),) = await state(http_server)
    assert (name, deleted_at) == ("p", None)
