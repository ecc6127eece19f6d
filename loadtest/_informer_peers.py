"""The peers that live in this environment, each in a process of its own: the bare floor, ours, kubernetes-asyncio.

`python -m loadtest._informer_peers PEER KUBECONFIG PODS EVENTS` prints a line (see _informer_usage.Span) when that many
pods are in its store, and one when it has seen so many updates of them. Lists come in pages of 500 everywhere.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import aiohttp
import msgspec
import uvloop

from loadtest._informer_usage import Span
from propeller.informers import Change, Informer
from propeller.kube import PODS, Client, Pod, connect, load_connection

PAGE = 500
DEADLINE = 300.0  # seconds for a list


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct, frozen=True):
    metadata: _ListMeta
    items: list[Pod]


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: Pod


async def floor(kubeconfig: str, pods: int, events: int) -> None:
    """aiohttp, msgspec and a dict: the least that following costs in Python. The fields are those that ours reads."""
    connection = load_connection(kubeconfig)
    context = ssl.create_default_context(cadata=(connection.ca or b"").decode())
    headers = {"authorization": f"Bearer {connection.token}", "accept-encoding": "identity"}
    url = f"{connection.server}/api/v1/pods"
    page_of, event_of = msgspec.json.Decoder(_List), msgspec.json.Decoder(_Event)
    store: dict[str, Pod] = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), headers=headers) as session:
        span = Span()
        query = {"limit": str(PAGE)}
        while True:
            async with session.get(url, params=query) as answer:
                page = page_of.decode(await answer.read())
            store |= {pod.metadata.uid: pod for pod in page.items}
            if not page.metadata.continue_:
                break
            query["continue"] = page.metadata.continue_
        version = page.metadata.resource_version
        del page
        assert len(store) == pods
        span.report()
        seen = 0
        watch = {"watch": "true", "resourceVersion": version}
        async with session.get(url, params=watch, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            async for line in answer.content:
                event = event_of.decode(line)
                store[event.object.metadata.uid] = event.object
                seen += event.type == "MODIFIED"
                if seen == events:
                    break
        span.report()


def shared_informer(client: Client, updates: Counter) -> Informer[Pod]:
    """As the controller has it, with an index and a subscriber: that one counts the updates."""

    def happened(change: Change[Pod]) -> None:
        if change.old is not None and change.new is not None:
            updates.count()

    informer = Informer(client, PODS, indexes={"owner": owners})
    informer.subscribe(happened)
    return informer


async def ours(kubeconfig: str, pods: int, events: int) -> None:
    updates = Counter(events)
    async with connect(load_connection(kubeconfig)) as client:
        span = Span()
        async with shared_informer(client, updates) as informer:
            await informer.wait_for_sync(DEADLINE)
            assert len(informer.store) == pods
            span.report()
            await updates.done.wait()
            span.report()


async def kubernetes_asyncio(kubeconfig: str, pods: int, events: int) -> None:
    """Its models in a dict, and its Watch."""
    from kubernetes_asyncio import client, config, watch

    await config.load_kube_config(kubeconfig)
    store: dict[str, Any] = {}
    async with client.ApiClient() as api:
        core = client.CoreV1Api(api)
        span = Span()
        page = await core.list_pod_for_all_namespaces(limit=PAGE)
        store |= {pod.metadata.uid: pod for pod in page.items}
        while token := page.metadata._continue:
            page = await core.list_pod_for_all_namespaces(limit=PAGE, _continue=token)
            store |= {pod.metadata.uid: pod for pod in page.items}
        version = page.metadata.resource_version
        del page
        assert len(store) == pods
        span.report()
        seen = 0
        stream = watch.Watch().stream(core.list_pod_for_all_namespaces, resource_version=version)
        async for event in cast(AsyncIterator[dict[str, Any]], stream):
            store[event["object"].metadata.uid] = event["object"]
            seen += event["type"] == "MODIFIED"
            if seen == events:
                break
        span.report()
        await stream.close()


class Counter:
    """`done` once it has counted to its goal."""

    def __init__(self, goal: int) -> None:
        self._left = goal
        self.done = asyncio.Event()

    def count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.done.set()


def owners(pod: Pod) -> tuple[str, ...]:
    return tuple(owner.uid for owner in pod.metadata.owner_references)


PEERS: dict[str, Callable[[str, int, int], Awaitable[None]]] = {
    "floor": floor,
    "ours": ours,
    "kubernetes-asyncio": kubernetes_asyncio,
}


async def _main(name: str, kubeconfig: str, pods: int, events: int) -> None:
    await PEERS[name](kubeconfig, pods, events)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
