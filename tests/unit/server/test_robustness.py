"""Whatever is sent, the answer is an answer: nothing but a Status or an object comes out."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.clock import LoopClock
from propeller.embedded.server import ApiServer
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client, Request
from propeller.testing import run_virtually
from tests.examples import examples
from tests.unit.server.asking import DEFAULT, ask, pod, send

FIELDS = (
    *("metadata", "spec", "status", "data", "type", "kind", "apiVersion", "name", "labels", "finalizers"),
    *("ownerReferences", "managedFields", "containers", "env", "resources", "limits", "hard", "scopes", "rules"),
    *("preconditions", "gracePeriodSeconds", "target", "involvedObject", "op", "path", "value", "$patch"),
)
WORDS = ("p", "v1", "Pod", "/spec", "add", "replace", "1Gi", "2026-01-01T00:00:00Z", "", "a b")
SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
BODIES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=25,
)
NAMESPACED = ("pods", "configmaps", "secrets", "events", "resourcequotas", "serviceaccounts")
PATHS = (
    *(f"{DEFAULT}/{plural}{rest}" for plural in NAMESPACED for rest in ("", "/p", "/p/status")),
    *(f"{DEFAULT}/pods/p/{subresource}" for subresource in ("binding", "eviction", "log")),
    "/api/v1/namespaces",
    "/api/v1/nodes/p",
    "/apis/coordination.k8s.io/v1/namespaces/default/leases/p",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    "/apis/apidiscovery.k8s.io",
    "/openapi/v3/api/v1",
    "//",
    "/api/v1/namespaces/default/pods/%ff",
)
CONTENT_TYPES = (
    *("application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "text/plain", ""),
    *(f"application/{kind}" for kind in ("merge-patch+json", "json-patch+json", "strategic-merge-patch+json")),
    "application/apply-patch+yaml",
)
OPTIONS = {
    "limit": ("0", "1", "-1", "x"),
    "continue": ("x", "e30"),
    "resourceVersion": ("0", "1", "99999", "x"),
    "resourceVersionMatch": ("Exact", "NotOlderThan", "x"),
    "labelSelector": ("a=b", "a in (b)", "=", "!"),
    "fieldSelector": ("metadata.name=p", "x=y", "="),
    "fieldManager": ("me", ""),
    "force": ("true", "x"),
    "dryRun": ("All", "x"),
    "fieldValidation": ("Strict", "x"),
    "gracePeriodSeconds": ("0", "x"),
    "propagationPolicy": ("Foreground", "x"),
    "timeoutSeconds": ("1",),
    "watch": ("true", "0"),
    "pretty": ("true",),
}
QUERIES = st.lists(st.sampled_from([(name, value) for name, values in OPTIONS.items() for value in values]), max_size=3)


@examples(400)
@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]),
    st.sampled_from(PATHS),
    st.sampled_from(CONTENT_TYPES),
    BODIES.map(lambda body: json.dumps(body).encode()) | st.binary(max_size=20),
    QUERIES.map(dict),
)
def test_no_request_is_answered_by_an_exception_or_by_no_answer(
    method: str, path: str, content_type: str, body: bytes, query: dict[str, str]
) -> None:
    async def run() -> None:
        async with ApiServer(clock=LoopClock(), randomness=random.Random(0)) as server:
            await ask(server, "POST", f"{DEFAULT}/pods", pod("p", node="n"))
            query_in_time = {"timeoutSeconds": "1", **query}
            headers = {"content-type": content_type}
            request = Request(method=method, path=path, query=query_in_time, headers=headers, body=body)
            answer = await server.transport().send(request, deadline=60)
            assert 200 <= answer.status < 600
            if answer.status >= 400 and answer.headers["content-type"] == "application/json":
                status = json.loads(answer.body)
                assert (status["kind"], status["code"]) == ("Status", answer.status)

    run_virtually(run())


def nested(levels: int) -> Any:
    return b"[" * levels + b"]" * levels


DEFINITION = {
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


@pytest.mark.parametrize("levels", [300, 900, 1100, 100_000])
@pytest.mark.parametrize("query", [{}, {"fieldValidation": "Strict"}])
async def test_an_object_that_is_nested_too_deep_is_refused(
    server: ApiServer, client: Client, levels: int, query: dict[str, str]
) -> None:
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, DEFINITION)
    path = "/apis/example.com/v1/namespaces/default/things"
    body = b'{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"%s"},"spec":%s}'
    assert (await send(server, "POST", path, body % (b"t", nested(200)), **query)).status == 201
    assert (await ask(server, "POST", path, body % (b"u", nested(levels)), **query))["code"] == 400
    merge = {"content_type": "application/merge-patch+json", **query}
    assert (await ask(server, "PATCH", f"{path}/t", body % (b"t", nested(levels)), **merge))["code"] == 400
    assert (await send(server, "GET", f"{path}/t")).status == 200
