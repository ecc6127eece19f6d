"""Ends pods as a kubelet would, without running anything: each succeeds some seconds after it was seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from propeller.errors import NotFound
from propeller.informers import Change, Informer
from propeller.kube import PODS, Client, KubeObject
from propeller.reconcile import FairPool

AT_ONCE = 64


class Completer:
    """`appeared` and `ended`, by pod name: when it was first seen, and when the write of its end was answered."""

    def __init__(self, client: Client, namespace: str, seconds: Callable[[], float]) -> None:
        self._client = client
        self._namespace = namespace
        self._seconds = seconds
        self._writes: FairPool[str] = FairPool(AT_ONCE)
        self.appeared: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        pods = Informer(self._client, PODS.typed(KubeObject), namespace=self._namespace)
        async with self._writes, pods:
            await pods.synced(30)
            pods.subscribe(self._seen)
            yield

    def node_to_node(self) -> list[float]:
        """Seconds from the end of a chain's pod to the appearance of the next one."""
        found = []
        for name, ended in self.ended.items():
            execution, node, attempt = name.rsplit("-", 2)
            following = f"{execution}-n{int(node[1:]) + 1}-{attempt}"
            if following in self.appeared:
                found.append(self.appeared[following] - ended)
        return sorted(found)

    def _seen(self, change: Change[KubeObject]) -> None:
        if change.new is None or change.new.metadata.name in self.appeared:
            return
        name = change.new.metadata.name
        self.appeared[name] = time.perf_counter()
        delay = self._seconds()
        if delay:
            asyncio.get_running_loop().call_later(delay, self._submit, name)
        else:
            self._submit(name)

    def _submit(self, name: str) -> None:
        self._writes.submit(name, lambda: self._end(name))

    async def _end(self, name: str) -> None:
        try:
            await self._client.patch(
                PODS, name, self._namespace, body={"status": {"phase": "Succeeded"}}, subresource="status"
            )
        except NotFound:
            return  # it was stopped in between
        self.ended[name] = time.perf_counter()
