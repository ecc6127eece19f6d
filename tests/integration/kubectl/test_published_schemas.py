"""The types that the embedded server validates by are those that the real one publishes."""

from __future__ import annotations

import json

from propeller.embedded.server.schema._schema import SCHEMAS_FILE
from propeller.kube import Request, connect
from propeller.testing import KubeApiserver
from tests.integration.kubectl.published_schemas import ROOTS, needed_types, written


async def test_the_schemas_are_the_real_servers(kube_apiserver: KubeApiserver) -> None:
    documents = []
    async with connect(kube_apiserver.connection()) as client:
        for version in ROOTS:
            answer = await client.transport.send(Request(method="GET", path=f"/openapi/v3/{version}"), deadline=30)
            documents.append((version, json.loads(answer.body)))
    assert written(needed_types(documents)) == SCHEMAS_FILE.read_text()
