"""The bare client floor: a process that creates the pods of tasks and reads their events, and does nothing else.

`python -m loadtest.floor CLIENT KUBECONFIG NAMESPACE POD PODS` prints the seconds of CPU for one pod. POD is a file
with the controller's pod. CLIENT is `aiohttp`, with orjson and msgspec the smallest that one writes in
asyncio, or `ours`.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import orjson
import uvloop

from propeller.kube import PODS, Client, Pod, connect, load_connection

CONCURRENCY = 32

Create = Callable[[dict[str, Any]], Awaitable[None]]
Read = Callable[[], Coroutine[Any, Any, None]]


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: Pod


async def with_aiohttp(kubeconfig: str, namespace: str, pod: dict[str, Any], pods: int) -> float:
    """Seconds of CPU for a pod."""
    connection = load_connection(kubeconfig)
    context = ssl.create_default_context(cadata=(connection.ca or b"").decode())
    headers = {"authorization": f"Bearer {connection.token}", "content-type": "application/json"}
    url = f"{connection.server}/api/v1/namespaces/{namespace}/pods"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), headers=headers) as session:
        async with session.get(url, params={"limit": "1"}) as answer:
            version = orjson.loads(await answer.read())["metadata"]["resourceVersion"]

        async def create(body: dict[str, Any]) -> None:
            async with session.post(url, data=orjson.dumps(body)) as answer:
                assert answer.status == 201, await answer.text()
                await answer.read()

        async def read() -> None:
            ended = _Ended(pods)
            decoder = msgspec.json.Decoder(_Event)
            query = {"watch": "true", "resourceVersion": version}
            async with session.get(url, params=query, timeout=aiohttp.ClientTimeout(total=None)) as answer:
                async for line in answer.content:
                    if ended.all_after(decoder.decode(line).object):
                        return

        return await _cpu_of_a_pod(create, read, pod, pods)


async def with_ours(kubeconfig: str, namespace: str, pod: dict[str, Any], pods: int) -> float:
    """Seconds of CPU for a pod."""
    async with connect(load_connection(kubeconfig)) as client:
        version = (await client.list(PODS, namespace, limit=1)).resource_version

        async def create(body: dict[str, Any]) -> None:
            await client.create(PODS, body, namespace)

        return await _cpu_of_a_pod(create, lambda: _read(client, namespace, version, pods), pod, pods)


async def _read(client: Client, namespace: str, version: str, pods: int) -> None:
    ended = _Ended(pods)
    while True:
        async for event in client.watch(PODS, namespace, resource_version=version):
            version = event.object.metadata.resource_version or version
            if ended.all_after(event.object):
                return


class _Ended:
    """Which pods have been seen to end."""

    def __init__(self, goal: int) -> None:
        self._names: set[str] = set()
        self._goal = goal

    def all_after(self, pod: Pod) -> bool:
        if pod.status.phase == "Succeeded":
            self._names.add(pod.metadata.name)
        return len(self._names) == self._goal


async def _cpu_of_a_pod(create: Create, read: Read, pod: dict[str, Any], pods: int) -> float:
    left = iter(range(pods))
    began = time.process_time()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        for _ in range(CONCURRENCY):
            group.create_task(_create(create, pod, left))
        await reading
    return (time.process_time() - began) / pods


async def _create(create: Create, pod: dict[str, Any], left: Iterator[int]) -> None:
    for number in left:  # one iterator for all
        await create(pod | {"metadata": pod["metadata"] | {"name": f"floor-n{number}-0"}})


CLIENTS = {"aiohttp": with_aiohttp, "ours": with_ours}


if __name__ == "__main__":
    _, client, kubeconfig, namespace, file, pods = sys.argv
    print(uvloop.run(CLIENTS[client](kubeconfig, namespace, orjson.loads(Path(file).read_bytes()), int(pods))))
