"""Reports of pods as a kubelet would, without running anything: each succeeds some seconds after it was seen, or when
it is told to.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from propeller.errors import NotFound
from propeller.informers import Change, Informer
from propeller.kube import PODS, Client, KubeObject
from propeller.reconcile import FairPool

MAX_CONCURRENT_WRITES = 64


class Completer:
    """`appeared` and `ended`, by pod name: when it was first seen, and when the write of its end was answered.

    `uids` are of all pods ever seen: more than names, if a pod was created a second time. `seconds` draws how long a
    pod takes; None: until `finish`. With `starts` a pod is reported as running before; `started` has its name then.
    """

    def __init__(
        self, client: Client, namespace: str, seconds: Callable[[], float | None], *, starts: bool = False
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._seconds = seconds
        self._starts = starts
        self._writes: FairPool[str] = FairPool(MAX_CONCURRENT_WRITES)
        self.forget()

    def forget(self) -> None:
        """Count from nothing again."""
        self.appeared: dict[str, float] = {}
        self.started: set[str] = set()
        self.ended: dict[str, float] = {}
        self.uids: set[str] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        pods = Informer(self._client, PODS.typed(KubeObject), namespace=self._namespace)
        async with self._writes, pods:
            await pods.wait_for_sync(30)
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

    def most_at_once(self) -> int:
        """Pods that had appeared and not ended yet, at most."""
        moves = [(moment, 1) for moment in self.appeared.values()] + [(moment, -1) for moment in self.ended.values()]
        return max(itertools.accumulate(step for _, step in sorted(moves)), default=0)

    def finish(self, names: Iterable[str]) -> None:
        """End these pods now."""
        for name in names:
            self._submit(name)

    def _seen(self, change: Change[KubeObject]) -> None:
        if change.new is None:
            return
        name = change.new.metadata.name
        if change.old is not None and change.old.metadata.uid == change.new.metadata.uid:
            return
        self.uids.add(change.new.metadata.uid)
        if name in self.appeared:
            return
        self.appeared[name] = time.perf_counter()
        if self._starts:
            self._writes.submit(name, lambda: self._start(name))
        delay = self._seconds()
        if delay is None:
            return
        if delay:
            asyncio.get_running_loop().call_later(delay, self._submit, name)
        else:
            self._submit(name)

    def _submit(self, name: str) -> None:
        self._writes.submit(name, lambda: self._end(name))

    async def _start(self, name: str) -> None:
        if await self._report(name, "Running"):
            self.started.add(name)

    async def _end(self, name: str) -> None:
        if await self._report(name, "Succeeded"):
            self.ended[name] = time.perf_counter()

    async def _report(self, name: str, phase: str) -> bool:
        try:
            await self._client.patch(
                PODS, name, self._namespace, body={"status": {"phase": phase}}, subresource="status"
            )
        except NotFound:
            return False  # it was stopped in between
        return True
