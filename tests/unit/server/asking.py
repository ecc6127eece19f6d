"""Requests as they are, and objects to send with them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from propeller.embedded.server import ApiServer
from propeller.kube import Client, Event, Raw, Request, Resource, Response

DEFAULT = "/api/v1/namespaces/default"


async def send(
    server: ApiServer,
    method: str,
    path: str,
    body: Any = None,
    *,
    content_type: str = "application/json",
    accept: str = "application/json",
    **query: str,
) -> Response:
    """One exchange; a body that is no bytes goes as JSON."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    request = Request(
        method=method,
        path=path,
        query=query,
        headers={"content-type": content_type, "accept": accept},
        body=content,
    )
    return await server.transport().send(request, deadline=60)


async def ask(server: ApiServer, method: str, path: str, body: Any = None, **options: Any) -> Any:
    """The answer's JSON, whatever its status."""
    return json.loads((await send(server, method, path, body, **options)).body)


def pod(name: str, /, *, node: str = "", **metadata: Any) -> Raw:
    """A pod of one container, bound at birth to `node`."""
    spec: Raw = {"containers": [{"name": "main", "image": "none"}], "restartPolicy": "Never"}
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name, **metadata}, "spec": spec}


def config_map(name: str, /, *, owner: Raw | None = None, block: bool = False, **metadata: Any) -> Raw:
    """An empty config map, owned by another object."""
    if owner is not None:
        metadata["ownerReferences"] = [reference(owner, block=block)]
    return {"metadata": {"name": name, **metadata}}


def reference(owner: Raw, *, block: bool = False) -> Raw:
    """A reference to a config map that owns something."""
    metadata = owner["metadata"]
    own = {"apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"]}
    return {**own, "blockOwnerDeletion": True} if block else own


async def names(client: Client, resource: Resource[Raw], namespace: str | None = "default") -> list[str]:
    """The names of all objects."""
    return [one["metadata"]["name"] for one in (await client.list(resource, namespace)).items]


@asynccontextmanager
async def watching(
    client: Client, resource: Resource[Any], namespace: str | None = None, **options: Any
) -> AsyncIterator[list[Event[Any]]]:
    """Yield the events of a watch as they arrive; the watch is open when the block is entered."""
    seen: list[Event[Any]] = []

    async def read() -> None:
        async for event in client.watch(resource, namespace, **options):
            seen.append(event)  # noqa: PERF401 - as it comes, not when all have come

    task = asyncio.create_task(read())
    await asyncio.sleep(0.001)
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
